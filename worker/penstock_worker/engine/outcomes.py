"""What a run of an arq function can come to, as values, and how a finished one is stored."""

from __future__ import annotations

import logging
import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import arq.constants
from arq.cron import CronJob
from arq.utils import timestamp_ms, to_ms
from arq.worker import Function

from penstock_worker.engine.endings import Ending
from penstock_worker.engine.lease import Lease

if TYPE_CHECKING:
    from penstock_worker.engine.worker import Worker

logger = logging.getLogger("arq.worker")

TICKED_MS = 3_600_000
"""How long a cron tick that was run is remembered, so that a worker whose clock is late cannot run it again."""

_LOST_OUTPUT_CHARS = 4096


@dataclass(slots=True)
class Call:
    """A job that was read: what to call with what."""

    name: str = "<unknown>"
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] | None = None
    enqueued_ms: int = 0
    function: Function | CronJob | None = None
    ref: str = ""
    started_ms: int = 0


@dataclass(slots=True, frozen=True)
class Finished:
    """The job is done: with a value, or with the exception that ended it."""

    value: Any
    success: bool


@dataclass(slots=True, frozen=True)
class Again:
    """The job is to run again after a wait; its try is charged."""

    wait_ms: int


@dataclass(slots=True, frozen=True)
class HandedBack:
    """The worker goes; the job is to run at once elsewhere, uncharged."""


@dataclass(slots=True, frozen=True)
class Lost:
    """The lease is someone else's; there is nothing to write."""


Outcome = Finished | Again | HandedBack | Lost


def result_ending(worker: Worker, lease: Lease, call: Call, finished: Finished) -> Ending:
    function = call.function
    forever, keep_s = worker.keep_result_forever, worker.keep_result_s
    if function is not None:
        forever = forever if function.keep_result_forever is None else function.keep_result_forever
        keep_s = keep_s if function.keep_result_s is None else function.keep_result_s
    ending = Ending(lease)
    if isinstance(function, CronJob):
        ending.mark = _cron_mark(function)
    if forever or (keep_s or 0) > 0:
        ending.result = _encode(worker, lease, call, finished)
        ending.keep_ms = 0 if forever else to_ms(keep_s) or 1
    return ending


def _cron_mark(function: CronJob) -> str:
    """A tick's id is its own and never comes again; an id chosen by the user is held back for a minute, as in arq."""
    if function.job_id is None:
        return f"ticked {TICKED_MS}"
    return f"1 {to_ms(arq.constants.keep_cronjob_progress)}"


def _encode(worker: Worker, lease: Lease, call: Call, finished: Finished) -> bytes:
    """The result as arq stores it. One that cannot be serialized is a failure, and what it was is kept as text."""
    data = {
        "t": lease.job_try,
        "f": call.name,
        "a": call.args,
        "k": call.kwargs or {},
        "et": call.enqueued_ms,
        "s": finished.success,
        "r": finished.value,
        "st": call.started_ms,
        "ft": timestamp_ms(),
        "q": lease.queue,
        "id": lease.job_id,
    }
    serialize = worker.job_serializer or pickle.dumps
    try:
        return serialize(data)
    except Exception:
        logger.warning("error serializing result of %s", call.ref, exc_info=True)
    if finished.success:
        worker.jobs_complete -= 1
        worker.jobs_failed += 1
    text = repr(finished.value)[:_LOST_OUTPUT_CHARS]
    data.update(r=f"unable to serialize result: {text}", s=False)
    try:
        return serialize(data)
    except Exception:
        logger.critical("error serializing result of %s even as text", call.ref, exc_info=True)
        return b""
