"""A job in the hands of a worker: the lease on it, what a claim brings, and what a run can come to."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from arq.cron import CronJob
from arq.worker import Function

CancelReason = Literal["abort", "drain", "lost", "timeout"]

SUSPECT_DEATHS = 2
"""A job whose holders vanished this often in a row runs alone from then on. Not from the first death on: with that,
one killed worker of 200 slots would make 200 jobs queue up for an idle worker each; two deaths in a row single out
the culprit and whoever had bad luck twice."""

POISON_DEATHS = SUSPECT_DEATHS + 3
"""A job that then took three more holders with it, alone each time, is poison and is not run again."""


@dataclass(slots=True, eq=False)
class Lease:
    """A job that this worker may run and end until it is released, handed back or lost."""

    job_id: str
    token: str
    """Random proof of holding the lease; every script that ends or renews it compares it."""
    queue: str
    """Key of the sorted set the job waits in; its score there is the lease's end."""
    job_try: int
    """From 1; counts failures of the job only, never deaths, drains, lost leases or throttles."""
    deaths: int
    """How many holders of this job vanished in a row before this one."""
    score_ms: int
    """The time from which the job was due."""
    payload: Any
    """What the source's ``start`` returned: an arq payload, or a job's record."""
    trusted_until: float
    """By ``time.monotonic``: after this moment the lease may be someone else's; start nothing after it."""
    raw_id: bytes = b""
    """The job id as Redis has it; ``job_id`` may hold escapes for bytes that are not UTF-8."""
    lane: str = ""
    tenant: str = ""
    flow: str = ""
    """``<lane>:<tenant>``, between which slots are shared; empty for a job of an arq queue."""
    abort_asked_ms: int = 0
    """When an abort was asked for before the start, by the asker's clock; 0 when none was."""
    corrupt: str = ""
    """Why the job cannot be read; empty when it can."""
    leaving: bool = False
    """Whether its worker was told to stop: what takes many steps begins no more of them, and is handed back."""
    cancel_reason: CancelReason | None = None
    released: bool = False
    """Set by whoever ended the lease in Redis; until then a worker that goes leaves the job to be taken over."""
    task: asyncio.Task[None] | None = field(default=None, repr=False)
    slot_free: bool = False
    """Its slot has been given up."""
    concluded: bool = False
    """The job has done its part and nothing cancels it any more; only its end has to be written."""

    @property
    def trusted(self) -> bool:
        """Whether new work may still be started under this lease."""
        return not self.released and time.monotonic() < self.trusted_until

    def cancel(self, reason: CancelReason) -> None:
        """Cancel the job's task; only the first reason counts. Nothing happens once it no longer runs."""
        if self.task is not None and self.cancel_reason is None and not self.concluded:
            self.cancel_reason = reason
            self.task.cancel()


@dataclass(slots=True, frozen=True)
class Claim:
    """The answer to one claim."""

    leases: list[Lease]
    next_due_s: float | None
    """In how many seconds the next job of the source is due; None when there is none. 0: there is more work now."""
    left: int
    """More than 0 while there is any work: queued, running or deferred (an arq queue); due (tenants' queues)."""
    suspect: tuple[str, str | bytes] | None
    """Queue and id of a job this worker shall make room for, so as to run it alone."""
    alone: bool
    """The one job of this claim must be the only one in the process."""
    kept: bool = False
    """Due jobs were left, since the slots that are still free are kept for others."""


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


def about(event: str, job: Lease | str | None = None, **fields: Any) -> dict[str, Any]:
    """The ``extra`` of a log record of the engine: the event's fixed name, which job it is about, and numbers.

    Where logs are events and not texts, these are what is shown.
    """
    job_id = job.job_id if isinstance(job, Lease) else job
    return {"event": event, **({} if job_id is None else {"job_id": job_id}), **fields}
