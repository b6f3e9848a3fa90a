"""Which subcommands there are, so that the help screen and a typing error need none of them loaded."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from penstock_store.command import ENTRY_POINTS


@dataclass(frozen=True, slots=True)
class Listed:
    """A subcommand as the help screen shows it."""

    name: str
    summary: str
    module: str | None = None
    """Where it is here, ``module:attribute``; None for one that another part brings by an entry point."""
    extra: str | None = None
    """What has to be installed for it: ``pip install 'penstock[<extra>]'``."""


SECTIONS: dict[str, tuple[Listed, ...]] = {
    "Try it": (
        Listed("demo", "Run real text through all three tasks, then clean up", extra="simulator"),
        Listed("doctor", "Check Redis, its settings, clocks and queues; say what to fix", "penstock.cli.doctor:app"),
    ),
    "Jobs": (
        Listed("run", "Enqueue one job and print its answer", "penstock.cli.run:app"),
        Listed("enqueue", "Enqueue files, or JSON Lines from standard input", "penstock.cli.enqueue:app"),
        Listed("status", "Where a job is", "penstock.cli.jobs:status_app"),
        Listed("result", "Its answer", "penstock.cli.jobs:result_app"),
        Listed("events", "Follow what happens to it", "penstock.cli.jobs:events_app"),
        Listed("cancel", "Stop it, wherever it is", "penstock.cli.jobs:cancel_app"),
    ),
    "Mending": (
        Listed("dead", "list | show | replay | purge   jobs that failed for good", "penstock.cli.letters:dead_app"),
        Listed("degraded", "list | show | replay | purge   answers no model gave", "penstock.cli.letters:degraded_app"),
    ),
    "Money": (
        Listed("costs", "What was spent, why, and whether a bill agrees", "penstock.cli.costs:app"),
        Listed("budget", "show | set | unset | reset   what may be spent, and what is", "penstock.cli.budgets:app"),
    ),
    "Running": (
        Listed("worker", "Run a worker, or several processes of it", extra="worker"),
        Listed("prompts", "check | lock   prompts do not change once they are released", extra="worker"),
        Listed("workers", "Those that live", "penstock.cli.workers:app"),
        Listed("health", "Ask a worker on this machine whether it is well", "penstock.cli.health:app"),
        Listed("pause", "Let a lane, a tenant or a task wait; or list what is paused", "penstock.cli.pauses:pause_app"),
        Listed("resume", "Let it go on", "penstock.cli.pauses:resume_app"),
        Listed("simulator", "A provider on this machine that fails on command", extra="simulator"),
        Listed("redis", "A Redis for development", extra="simulator"),
    ),
}

HELP = Listed("help", "exit-codes | environment | formatting", "penstock.cli.help:app")

LISTED = {entry.name: entry for entries in SECTIONS.values() for entry in (*entries,)} | {HELP.name: HELP}


class MissingPart(Exception):
    """A subcommand belongs to a part that is not installed."""

    def __init__(self, name: str, extra: str | None) -> None:
        super().__init__(f"`penstock {name}` is not installed here. Run: pip install 'penstock[{extra}]'")


def load(name: str) -> Any:
    """The ``typer.Typer`` of a subcommand; None when there is none of this name. Raises MissingPart."""
    entry = LISTED.get(name)
    if entry is not None and entry.module is not None:
        module, _, attribute = entry.module.partition(":")
        return getattr(import_module(module), attribute)
    for point in _entry_points():
        if point.name == name:
            try:
                return point.load()
            except ModuleNotFoundError as error:
                raise missing_part(name, error) or error from None
    if entry is not None:
        raise MissingPart(name, entry.extra)
    return None


def missing_part(name: str, error: ModuleNotFoundError) -> MissingPart | None:
    """What a module that is missing says of a subcommand; None when it is no library of an extra."""
    entry = LISTED.get(name)
    return MissingPart(name, entry.extra) if entry is not None and entry.extra and error.name else None


def summary(name: str) -> str:
    """What the help screen says of a subcommand; empty for one of another package."""
    return LISTED[name].summary if name in LISTED else ""


def names() -> list[str]:
    """All subcommands, those of other packages included."""
    return [*LISTED, *others()]


def others() -> list[str]:
    """Subcommands that other packages bring."""
    return sorted({point.name for point in _entry_points()} - LISTED.keys())


def _entry_points() -> Any:
    from importlib.metadata import entry_points  # takes 25 ms, and most subcommands do without

    return entry_points(group=ENTRY_POINTS)
