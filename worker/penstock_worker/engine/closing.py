"""How a worker ends: drain, hand back, settle, close; and the health key it keeps until then."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
import time
from datetime import datetime
from signal import Signals

from redis.exceptions import RedisError

from penstock_worker.engine.core import Core
from penstock_worker.engine.lease import about
from penstock_worker.engine.server import sentinels

logger = logging.getLogger("arq.worker")

CANCEL_GRACE_S = 5.0
"""How long a cancelled job may take to return; one that does not is left to run out of its lease."""

_WHO = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def mark_drained(worker: Core) -> None:
    """From here on a cancellation means: hand back, uncharged."""
    worker.stopping = True
    for lease in worker.held.values():
        if lease.cancel_reason is None and not lease.concluded:
            lease.cancel_reason = "drain"


def cancel_jobs(worker: Core) -> None:
    """Cancel what runs, to be handed back."""
    mark_drained(worker)
    for task in list(worker.tasks.values()):
        task.cancel()


async def drain(worker: Core, signum: Signals) -> None:
    """Let running jobs go on for the drain window, then cancel the rest and the main task."""
    if worker.tasks:
        await asyncio.wait(list(worker.tasks.values()), timeout=worker._job_completion_wait)
    logger.info(
        "shutdown on %s, wait complete ◆ %d jobs complete ◆ %d failed ◆ %d retries ◆ %d ongoing to cancel",
        signum.name,
        worker.jobs_complete,
        worker.jobs_failed,
        worker.jobs_retried,
        len(worker.tasks),
    )
    cancel_jobs(worker)
    if worker.main_task is not None:
        worker.main_task.cancel()
    if worker.on_stop is not None:
        worker.on_stop(signum)


async def settle(worker: Core) -> None:
    """Wait until every job has ended and every end is written; not longer than makes sense."""
    while worker.tasks:
        timeout_s = CANCEL_GRACE_S if worker.stopping else None
        _, pending = await asyncio.wait(list(worker.tasks.values()), timeout=timeout_s)
        if pending:
            logger.error(
                "%d jobs do not end when cancelled: %s",
                len(pending),
                ", ".join(worker.tasks),
                extra=about("jobs_stuck", count=len(pending)),
            )
            break
    try:
        async with asyncio.timeout(worker.lease_s):
            await worker.endings.written()
    except TimeoutError:
        what = "%d job ends could not be written, Redis is away; the jobs will run again"
        logger.error(what, len(worker.held), extra=about("ends_lost", held=len(worker.held)))


async def close(worker: Core) -> None:
    """Cancel what still runs, hand it back, and close the pool. With Redis away, what it needs is left out."""
    if not worker._handle_signals:
        worker.handle_sig(signal.SIGUSR1)
    if worker.serving is not None and worker.serving is not asyncio.current_task():
        worker.serving.cancel()
        await asyncio.wait([worker.serving])
    if worker._pool is None:
        return
    await settle(worker)
    try:
        await forget_health(worker)
    except (RedisError, OSError) as error:
        logger.warning("the health key was left to expire: %s", error, extra=about("health_key_left"))
    if worker.on_shutdown:
        await worker.on_shutdown(worker.ctx)
    for client in (worker.pool, *sentinels(worker.pool)):
        await client.aclose(close_connection_pool=True)


async def record_health(worker: Core) -> None:
    """Keep arq's health key, with this worker's name in it, so that it deletes no other's when it goes."""
    now = time.time()
    if now - worker._last_health_check < worker.health_check_interval:
        return
    worker._last_health_check = now
    counts = (
        f"j_complete={worker.jobs_complete} j_failed={worker.jobs_failed} j_retried={worker.jobs_retried} "
        f"j_ongoing={len(worker.tasks)} queued={await worker.pool.zcard(worker.queue_name)}"
    )
    info = f"{datetime.now().astimezone():%b-%d %H:%M:%S} {counts} worker={_WHO}"
    worker.health_written = info.encode()
    await worker.pool.set(
        worker.health_check_key, worker.health_written, px=int((worker.health_check_interval + 1) * 1000)
    )
    if worker._last_health_check_log is not None and counts != worker._last_health_check_log:
        logger.info("recording health: %s", info)
    worker._last_health_check_log = counts


async def forget_health(worker: Core) -> None:
    """Delete the health key unless another worker of the queue has written it since."""
    if worker.health_written and await worker.pool.get(worker.health_check_key) == worker.health_written:
        await worker.pool.delete(worker.health_check_key)
