"""Runs one job of an arq queue as arq does: read it, run its function, decide how it ended, write that down.

The order is arq's: payload, abort, function, tries; ``on_job_start``, the function under its time-out,
``on_job_end``, the write, ``after_job_end``. Reading and judging are pure; the write is in ``endings``.
"""

from __future__ import annotations

import asyncio
import logging
import reprlib
from collections.abc import Awaitable, Callable
from typing import Any

from arq.cron import CronJob
from arq.jobs import SerializationError, deserialize_job_raw
from arq.utils import ms_to_datetime, timestamp_ms, truncate
from arq.worker import JobExecutionFailed, Retry, RetryJob

from penstock_worker.engine.core import Core
from penstock_worker.engine.endings import Ending, result_ending
from penstock_worker.engine.lease import POISON_DEATHS, Again, Call, Finished, HandedBack, Lease, Lost, Outcome, about

logger = logging.getLogger("arq.worker")

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 80
_short.maxlist = _short.maxtuple = _short.maxdict = _short.maxset = _short.maxfrozenset = _short.maxdeque = 80


async def run_function(worker: Core, lease: Lease) -> None:
    """Run the arq function that *lease* is for and write its outcome."""
    call = Call(started_ms=timestamp_ms(), ref=lease.job_id)
    refusal = read(worker, lease, call)
    if refusal is not None:
        worker.jobs_failed += 1
        worker.free_slot(lease)
        await conclude(worker, lease, call, Finished(refusal, success=False))
        return
    assert call.function is not None
    ctx = {
        **worker.ctx,
        "job_id": lease.job_id,
        "job_try": lease.job_try,
        "enqueue_time": ms_to_datetime(call.enqueued_ms),
        "score": lease.score_ms,
        "lease": lease,
    }
    outcome = await perform(worker, lease, call, ctx)
    if worker.on_job_end is not None:
        await hook(worker.on_job_end, ctx)
    worker.free_slot(lease)
    await conclude(worker, lease, call, outcome)
    if worker.after_job_end is not None:
        await hook(worker.after_job_end, ctx)


def read(worker: Core, lease: Lease, call: Call) -> BaseException | None:
    """Fill *call* from the lease's payload; the exception that ends the job instead, when it cannot be run."""
    job_id = lease.job_id
    if lease.corrupt:
        logger.error("job %s: corrupt_record: %s", job_id, lease.corrupt, extra=about("corrupt_record", lease))
        return JobExecutionFailed(f"corrupt_record: {lease.corrupt}")
    if not lease.payload:
        logger.warning("job %s expired", job_id, extra=about("job_expired", lease))
        return JobExecutionFailed("job expired")
    try:
        call.name, call.args, call.kwargs, first_try, call.enqueued_ms = deserialize_job_raw(
            lease.payload, deserializer=worker.job_deserializer
        )
    except SerializationError as error:
        logger.exception("deserializing job %s failed", job_id, extra=about("payload_unreadable", lease))
        return error
    call.ref = f"{job_id}:{call.name}"
    if worker.allow_abort_jobs and lease.abort_asked_ms >= call.enqueued_ms > 0:
        logger.info("%6.2fs ⊘ %s aborted before start", _age_s(call), call.ref)
        return asyncio.CancelledError()
    call.function = worker.functions.get(call.name)
    if call.function is None:
        logger.warning("job %s, function %r not found", job_id, call.name, extra=about("function_unknown", lease))
        return JobExecutionFailed(f"function {call.name!r} not found")
    if isinstance(call.function, CronJob):
        call.ref = call.name
    lease.job_try = max(lease.job_try, first_try or 0)
    return _over_the_limit(worker, lease, call)


def _over_the_limit(worker: Core, lease: Lease, call: Call) -> BaseException | None:
    assert call.function is not None
    most = worker.max_tries if call.function.max_tries is None else call.function.max_tries
    if lease.deaths >= POISON_DEATHS:
        what = "job %s is poison: %d workers died with it, the last ones alone"
        logger.error(what, call.ref, lease.deaths, extra=about("job_poison", lease, deaths=lease.deaths))
        return JobExecutionFailed(f"poison: {lease.deaths} workers died with this job")
    if lease.job_try > most:
        extra = about("tries_exhausted", lease)
        logger.warning("%6.2fs ! %s max retries %d exceeded", _age_s(call), call.ref, most, extra=extra)
        return JobExecutionFailed(f"max {most} retries exceeded")
    return None


async def perform(worker: Core, lease: Lease, call: Call, ctx: dict[Any, Any]) -> Outcome:
    """Run the function under its time-out and judge how it ended."""
    function = call.function
    assert function is not None
    timeout_s = worker.job_timeout_s if function.timeout_s is None else function.timeout_s
    timer = None if timeout_s is None else worker.loop.call_later(timeout_s, lease.cancel, "timeout")
    call.started_ms = timestamp_ms()
    error: BaseException
    try:
        if worker.on_job_start is not None:
            await worker.on_job_start(ctx)
            call.started_ms = timestamp_ms()
        if logger.isEnabledFor(logging.INFO):
            _log_start(lease, call)
        value = await function.coroutine(ctx, *call.args, **(call.kwargs or {}))
        shown = _shown(worker, value)
    except (Exception, asyncio.CancelledError) as raised:
        error = raised
    else:
        worker.jobs_complete += 1
        if logger.isEnabledFor(logging.INFO):
            logger.info("%6.2fs ← %s ● %s", _ran_s(call), call.ref, shown)
        return Finished(value, success=True)
    finally:
        lease.concluded = True
        if timer is not None:
            timer.cancel()
    return judge(worker, lease, call, error)


def judge(worker: Core, lease: Lease, call: Call, error: BaseException) -> Outcome:
    """What an exception of the function means. Only ``Retry``, ``RetryJob`` and a cancellation run a job again."""
    cancelled = isinstance(error, asyncio.CancelledError)
    if cancelled:
        _uncancel()
    if cancelled and lease.cancel_reason == "lost":
        worker.jobs_lost += 1
        extra = about("lease_lost", lease)
        logger.warning("%6.2fs ✂ %s cancelled, its lease was lost", _ran_s(call), call.ref, extra=extra)
        return Lost()
    if worker.retry_jobs and isinstance(error, Retry):
        wait_ms = error.defer_score or 0
        logger.info("%6.2fs ↻ %s retrying job in %0.2fs", _ran_s(call), call.ref, wait_ms / 1000)
        worker.jobs_retried += 1
        return Again(wait_ms)
    if cancelled and lease.cancel_reason == "abort":
        logger.info("%6.2fs ⊘ %s aborted", _ran_s(call), call.ref)
        worker.jobs_failed += 1
        return Finished(error, success=False)
    if cancelled and lease.cancel_reason == "timeout":
        error = TimeoutError()
    elif worker.retry_jobs and (cancelled or isinstance(error, RetryJob)):
        logger.info("%6.2fs ↻ %s cancelled, will be run again", _ran_s(call), call.ref)
        worker.jobs_retried += 1
        return HandedBack() if cancelled and worker.stopping else Again(0)
    given = getattr(error, "extra", None)
    logger.error(
        "%6.2fs ! %s failed, %s: %s",
        _ran_s(call),
        call.ref,
        type(error).__name__,
        error,
        exc_info=error,
        extra=about("job_failed", lease, extra=given() if callable(given) else given),
    )
    worker.jobs_failed += 1
    return Finished(error, success=False)


async def conclude(worker: Core, lease: Lease, call: Call, outcome: Outcome) -> None:
    """Write *outcome*. Waits for the answer only where someone waits for what comes after."""
    match outcome:
        case Finished():
            ending = result_ending(worker, lease, call, outcome)
        case Again(wait_ms):
            ending = Ending(lease, retry_wait_ms=wait_ms)
        case HandedBack():
            await worker.hand_back(lease)
            return
        case Lost():
            worker.forget(lease)
            return
    if worker.after_job_end is None:
        worker.endings.post(ending)
    else:
        await worker.endings.write(ending)


async def hook(run: Callable[[dict[Any, Any]], Awaitable[None]], ctx: dict[Any, Any]) -> None:
    """Run a hook of the user's. What it raises, or its cancellation, ends neither the worker nor the job's write."""
    try:
        await run(ctx)
    except (Exception, asyncio.CancelledError):
        _uncancel()
        logger.exception("job %s: a hook failed", ctx["job_id"], extra=about("hook_failed", ctx["job_id"]))


def _uncancel() -> None:
    task = asyncio.current_task()
    while task is not None and task.uncancel():
        pass


def _log_start(lease: Lease, call: Call) -> None:
    parts = [_short.repr(arg) for arg in call.args]
    parts += [f"{name}={_short.repr(value)}" for name, value in sorted((call.kwargs or {}).items())]
    extra = f" try={lease.job_try}" if lease.job_try > 1 else ""
    if call.started_ms - lease.score_ms > 1200:
        extra += f" delayed={(call.started_ms - lease.score_ms) / 1000:0.2f}s"
    logger.info("%6.2fs → %s(%s)%s", _age_s(call), call.ref, truncate(", ".join(parts)), extra)


def _shown(worker: Core, value: Any) -> str:
    if value is None or not worker.log_results or not logger.isEnabledFor(logging.INFO):
        return ""
    return truncate(_short.repr(value))


def _age_s(call: Call) -> float:
    return (call.started_ms - call.enqueued_ms) / 1000


def _ran_s(call: Call) -> float:
    return (timestamp_ms() - call.started_ms) / 1000
