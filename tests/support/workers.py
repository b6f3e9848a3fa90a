"""Workers that run inside a test: as `penstock worker` runs them, against a simulated provider."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

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
    **worker: Any,
) -> Settings:
    """A configuration with one provider, ``openai``, at *base_url*, and one route for all tasks."""
    provider = {"kind": "openai", "base_url": base_url, "allow_private": True, "limits": dict(limits or {})}
    return load_settings(
        redis={"url": redis_url},
        providers={"openai": provider},
        routes={"default": {"targets": list(targets), **(route or {})}, **(routes or {})},
        worker={"concurrency": 50, **worker},
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
