"""``penstock pause`` and ``penstock resume``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from penstock.cli.commands import single
from penstock.cli.output import Output
from penstock.cli.session import Session, run
from penstock.pauses import Pauses

Names = Annotated[
    list[str], typer.Argument(metavar="NAME...", help="lane:bulk, tenant:acme or task:summarize", show_default=False)
]
MaybeNames = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME...]", help="lane:bulk, tenant:acme or task:summarize; none: list")
]


def pause(ctx: typer.Context, names: MaybeNames = None) -> None:
    """Let the jobs of lanes, tenants or tasks wait, for all workers. Without a name: what is paused.

    What runs goes on, what is enqueued is accepted; nothing is lost, and no attempt is charged.
    """

    async def work(session: Session) -> None:
        pauses = Pauses(session.producer)
        if names:
            _print(session.out, "paused", names, await pauses.pause(names))
        elif found := await pauses.names():
            _list(session.out, found)
        else:
            session.out.talk("nothing is paused")

    run(ctx, work)


def resume(ctx: typer.Context, names: Names) -> None:
    """Let what was paused go on, within about two seconds."""

    async def work(session: Session) -> None:
        _print(session.out, "resumed", names, await Pauses(session.producer).resume(names))

    run(ctx, work)


def _list(out: Output, names: Sequence[str]) -> None:
    for name in names:
        if out.as_json:
            out.json({"name": name, "state": "paused"})
        else:
            out.line(name)


def _print(out: Output, verb: str, names: Sequence[str], changed: Sequence[str]) -> None:
    for name in names:
        if out.as_json:
            out.json({"name": name, "state": verb, "changed": name in changed})
        else:
            out.line(name if name in changed else f"{name}\twas {verb} already")


pause_app = single(pause, "penstock pause lane:bulk", "penstock pause tenant:acme task:summarize", "penstock pause")
resume_app = single(resume, "penstock resume lane:bulk")
