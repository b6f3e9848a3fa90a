"""Workers that run inside a test: as `penstock worker` runs them, against a simulated provider."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from penstock_worker.run import run_worker
from penstock_worker.settings import Settings, load_settings

TARGET = "openai/gpt-4o-mini"


def worker_settings(
    redis_url: str,
    base_url: str,
    *,
    targets: Sequence[str] = (TARGET,),
    limits: Mapping[str, float] | None = None,
    route: Mapping[str, Any] | None = None,
    routes: Mapping[str, Any] | None = None,
    budgets: Mapping[str, Any] | None = None,
    quotas: Mapping[str, Any] | None = None,
    **worker: Any,
) -> Settings:
    """A configuration with one provider, ``openai``, at *base_url*, and one route for all tasks."""
    provider = {"kind": "openai", "base_url": base_url, "allow_private": True, "limits": dict(limits or {})}
    return load_settings(
        redis={"url": redis_url, "allow_volatile": True},
        providers={"openai": provider},
        routes={"default": {"targets": list(targets), **(route or {})}, **(routes or {})},
        worker={"concurrency": 50, **worker},
        budgets=dict(budgets or {}),
        quotas=dict(quotas or {}),
    )


@asynccontextmanager
async def working(settings: Settings, folder: Path = Path()) -> AsyncIterator[asyncio.Task[None]]:
    """A worker that runs for the block, in this event loop; what it fails with fails the block."""
    worker = asyncio.create_task(run_worker(settings, folder))
    try:
        yield worker
    finally:
        worker.cancel()
        done = await asyncio.gather(worker, return_exceptions=True)
        if isinstance(done[0], Exception):
            raise done[0]


async def work_off(settings: Settings, folder: Path = Path()) -> None:
    """Run a worker until nothing is left to do, retries that wait included."""
    await run_worker(settings, folder, burst=True)


class LoopWatch:
    """Measures for how long the event loop was silent at most, while its block runs."""

    def __init__(self) -> None:
        self.worst_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def reset(self) -> None:
        """Begin to measure anew."""
        self.worst_s = 0.0

    def __enter__(self) -> Self:
        self._look(asyncio.get_running_loop().time())
        return self

    def __exit__(self, *_: object) -> None:
        assert self._timer is not None
        self._timer.cancel()

    def _look(self, due_at: float) -> None:
        loop = asyncio.get_running_loop()
        self.worst_s = max(self.worst_s, loop.time() - due_at)
        self._timer = loop.call_later(0.01, self._look, loop.time() + 0.01)
