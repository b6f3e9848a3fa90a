"""``penstock worker``, which the command finds by its entry point."""

from __future__ import annotations

import gc
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock_store.command import CommandOptions

if TYPE_CHECKING:
    from penstock_worker.settings import Settings

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the command was asked to run."""

    config: str | None
    redis_url: str | None
    burst: bool
    concurrency: int | None
    processes: int | None
    application: str | None
    index: int
    """Which of the processes of one parent this is."""

    def overrides(self) -> dict[str, Any]:
        """Sections that win over file and variables."""
        counts = {"concurrency": self.concurrency, "processes": self.processes}
        worker = {name: count for name, count in counts.items() if count is not None}
        redis = {} if self.redis_url is None else {"url": self.redis_url}
        return {name: section for name, section in (("worker", worker), ("redis", redis)) if section}

    def child(self, index: int) -> list[str]:
        """The command of one process of several. Nothing in it is secret: a URL with a password is refused before."""
        front = [("--config", self.config), ("--redis", self.redis_url)]
        behind = [("--concurrency", self.concurrency), ("--arq", self.application), ("--index", index)]
        words = [sys.executable, "-m", "penstock", *_words(front), "worker", *_words(behind)]
        return [*words, "--burst"] if self.burst else words


@app.command(
    epilog="Examples:\n\n\b\n  penstock worker\n  penstock worker --config production.toml --check\n"
    "  penstock worker --processes 4 --concurrency 100\n  penstock worker --arq myapp.worker.WorkerSettings",
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
    processes: Annotated[
        int | None, typer.Option("--processes", metavar="N", min=1, max=256, help="instead of worker.processes")
    ] = None,
    arq: Annotated[
        str | None, typer.Option("--arq", metavar="MODULE.CLASS", help="run an existing arq application on this engine")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="check the configuration, and end")] = False,
    index: Annotated[int | None, typer.Option("--index", hidden=True)] = None,
) -> None:
    """Run a worker until SIGTERM or Ctrl-C, which let it finish its jobs first.

    Logs go to standard error: columns on a terminal, else one JSON object a line. Ends with 0 after a drain, 3 for
    a wrong or unsafe configuration, before anything is claimed, and 4 when Redis is not there to begin with.
    Several processes have a parent that starts again what dies, and passes signals on.
    """
    from penstock_worker.settings import config_file, load_settings

    options: CommandOptions = ctx.obj or CommandOptions()
    asked = _Asked(config or options.config, options.redis_url, burst, concurrency, processes, arq, index or 0)
    settings = load_settings(asked.config, **asked.overrides())
    file = config_file(asked.config)
    folder = file.parent if file is not None else Path()
    if index is None:
        _warn_of_exposed_password(file, settings)
    if check:
        _check(settings, folder)
    elif index is None and settings.worker.processes > 1:
        raise typer.Exit(_supervise(asked, settings.worker.processes))
    elif arq is not None:
        _run(_arq_worker(asked, arq, settings))
    else:
        _run(_worker(asked, settings, folder))


def _words(options: list[tuple[str, Any]]) -> list[str]:
    return [word for name, value in options if value is not None for word in (name, str(value))]


def _warn_of_exposed_password(file: Path | None, settings: Settings) -> None:
    from penstock_store.settings import exposed_password

    if exposed_password(file, settings):
        sys.stderr.write(f"penstock: warning: {file} holds a password and others may read it. Fix: chmod 600 {file}\n")


def _check(settings: Settings, folder: Path) -> None:
    from penstock_worker.assembly import load_tasks, make_routes

    tasks = load_tasks(settings)
    make_routes(settings, folder)
    sys.stdout.write(f"the configuration is sound; tasks with a route: {', '.join(sorted(tasks)) or 'none'}\n")


def _supervise(asked: _Asked, processes: int) -> int:
    """Run so many processes until a signal, or until all are done; the worst of their exit codes."""
    import structlog

    from penstock_worker.logs import configure_logs
    from penstock_worker.supervisor import Supervisor

    configure_logs()
    log = structlog.get_logger("penstock.worker")
    return Supervisor(asked.child, processes, lambda event, fields: log.info(event, **fields)).run()


async def _worker(asked: _Asked, settings: Settings, folder: Path) -> None:
    from penstock_worker.logs import configure_logs
    from penstock_worker.run import run_worker

    configure_logs()
    _calm_collector()
    await run_worker(settings, folder, burst=asked.burst, index=asked.index)


def _calm_collector() -> None:
    """Let the collector of cycles look seldom: a job leaves none behind, and to look costs a sixth of all CPU time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def _arq_worker(asked: _Asked, application: str, settings: Settings) -> None:
    from penstock_worker.arq_command import ArqOptions, run_arq_worker
    from penstock_worker.settings import health_port

    port, url = health_port(settings.worker, asked.index), settings.redis.url
    options = ArqOptions(application, asked.redis_url, url, asked.burst, asked.concurrency, port)
    await run_arq_worker(options)


def _run(work: Coroutine[Any, Any, None]) -> None:
    import asyncio

    from penstock_store.connection import translated

    with asyncio.Runner(loop_factory=_loop_factory()) as runner, translated():
        runner.run(work)


def _loop_factory() -> Any:
    """uvloop's event loop where it is installed (it is not on Windows), else the standard one."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
