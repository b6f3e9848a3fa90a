"""``penstock worker``, which the command finds by its entry point."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from penstock_store.command import CommandOptions

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(
    epilog="Examples:\n\n\b\n  penstock worker\n  penstock worker --config production.toml --check\n"
    "  penstock worker --burst --concurrency 20",
    context_settings={"help_option_names": ["--help", "-h"]},
)
def worker(
    ctx: typer.Context,
    config: Annotated[
        str | None,
        typer.Option("--config", metavar="FILE", help="the configuration (PENSTOCK_CONFIG; else penstock.toml here)"),
    ] = None,
    burst: Annotated[bool, typer.Option("--burst", help="end when nothing is left to do")] = False,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", metavar="N", help="jobs in flight, instead of worker.concurrency")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="check the configuration, and end")] = False,
) -> None:
    """Run a worker until SIGTERM or Ctrl-C, which let it finish its jobs first.

    Logs go to standard error: columns on a terminal, else one JSON object a line. Ends with 0 after a drain, 3 for
    a wrong or unsafe configuration, before anything is claimed, and 4 when Redis is not there to begin with.
    """
    from penstock_worker.settings import config_file, load_settings

    options: CommandOptions = ctx.obj or CommandOptions()
    given = config or options.config
    settings = load_settings(given, **_overrides(options, concurrency))
    file = config_file(given)
    folder = file.parent if file is not None else Path()
    _warn_of_exposed_password(file, settings)
    if check:
        _check(settings, folder)
    else:
        _run(settings, folder, burst=burst)


def _overrides(options: CommandOptions, concurrency: int | None) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    if options.redis_url is not None:
        overrides["redis"] = {"url": options.redis_url}
    if concurrency is not None:
        overrides["worker"] = {"concurrency": concurrency}
    return overrides


def _warn_of_exposed_password(file: Path | None, settings: Any) -> None:
    from penstock_store.settings import exposed_password

    if exposed_password(file, settings):
        sys.stderr.write(f"penstock: warning: {file} holds a password and others may read it. Fix: chmod 600 {file}\n")


def _check(settings: Any, folder: Path) -> None:
    from penstock_worker.assembly import load_tasks, make_routes

    tasks = load_tasks(settings)
    make_routes(settings, folder)
    sys.stdout.write(f"the configuration is sound; tasks with a route: {', '.join(sorted(tasks)) or 'none'}\n")


def _run(settings: Any, folder: Path, *, burst: bool) -> None:
    import asyncio

    from penstock_store.connection import translated
    from penstock_worker.logs import configure_logs
    from penstock_worker.run import run_worker

    configure_logs()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner, translated():
        runner.run(run_worker(settings, folder, burst=burst))


def _loop_factory() -> Any:
    """uvloop's event loop where it is installed (it is not on Windows), else the standard one."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
