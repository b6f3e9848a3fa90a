"""What the engine calls for each claimed job: an attempt, and every way it can be cut short."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from penstock_schemas.errors import CorruptRecordError
from penstock_schemas.jobs import RECORD_VERSION
from penstock_schemas.results import JobFailure
from penstock_store.scripts import load_include
from penstock_worker import crash_points
from penstock_worker.attempt.attempt import Attempt, NewerVersionError, read_attempt
from penstock_worker.attempt.outcome import Cancelled, Dead, HandBack, Lost, Outcome, Retry
from penstock_worker.attempt.store import AttemptStore
from penstock_worker.attempt.writing import bury, end, write
from penstock_worker.engine.lease import POISON_DEATHS, Lease
from penstock_worker.logs import bind
from penstock_worker.routing.routes import Routes
from penstock_worker.tasks.definition import Task

log = structlog.get_logger("penstock.attempt")

LEAVE_S = 10.0
"""How long a job that only a newer worker can read is left alone before it is looked at again."""

_POISON = JobFailure(
    code="poison", message="It was being worked on, alone, each time a worker died. It is not run again."
)
_CORRUPT = JobFailure(code="corrupt_record", message="What Redis held of the job could not be read.")
_BUG = JobFailure(code="internal_error", message="The worker failed in a way it should not; its log says more.")


def start_lua(tasks: Mapping[str, Task[Any]]) -> str:
    """The claim's include for a worker that knows *tasks*."""
    known = ", ".join(f"{name} = true" for name in sorted(tasks))
    return f"local TASKS = {{{known}}}\nlocal RECORD_VERSION = {RECORD_VERSION}\n" + load_include(
        "penstock_worker.attempt", "start"
    )


@dataclass(frozen=True, slots=True)
class Attempts:
    """Runs attempts: the handler of the engine's fair queues."""

    store: AttemptStore
    run: Callable[[Attempt], Awaitable[Outcome]]
    """Works an attempt out; raises only what cancels it."""
    tasks: dict[str, Task[Any]]
    routes: Routes
    keep_dead_s: float
    output_cap: Callable[[str, str | None], int | None] = lambda tenant, user: None
    """The cap of an answer by tenant and user; None: none of their own."""

    async def __call__(self, ctx: Mapping[Any, Any], lease: Lease) -> None:
        """Work on one claimed job until its lease is released."""
        bind(job_id=lease.job_id, tenant=lease.tenant, lane=lease.lane)
        if lease.corrupt:
            await self._bury_corrupt(lease, lease.corrupt)
        elif lease.deaths >= POISON_DEATHS:
            await bury(self.store, lease, _POISON)
            log.error("job_buried", code="poison", deaths=lease.deaths)
        else:
            await self._start(lease)

    async def _start(self, lease: Lease) -> None:
        case = lease.payload[0]
        if case == b"cancel":
            await end(self.store, lease, "cancelled")
        elif case == b"expire":
            await end(self.store, lease, "expired")
        else:
            await self._attempt(lease)

    async def _attempt(self, lease: Lease) -> None:
        try:
            attempt = read_attempt(lease, self.tasks, self.routes, self.output_cap)
        except CorruptRecordError as error:
            await self._bury_corrupt(lease, str(error))
            return
        except NewerVersionError:
            await self.store.reschedule(lease, delay_s=LEAVE_S, charged=False, attempt=None, reason="newer_version")
            return
        bind(task=attempt.request.task, run=attempt.run, attempt=attempt.number)
        log.debug("attempt_started", deaths=lease.deaths)
        crash_points.reach("claim.post")
        outcome = await self._outcome(attempt)
        verb = "retry" if isinstance(outcome, Retry | HandBack) else "finish"
        crash_points.reach(f"{verb}.pre")
        written = await write(self.store, attempt, outcome)
        crash_points.reach(f"{verb}.post")
        _log_outcome(attempt, outcome, written)

    async def _outcome(self, attempt: Attempt) -> Outcome:
        """The attempt's outcome, also when the engine cancels it or our own code fails."""
        work = asyncio.current_task()
        assert work is not None
        try:
            return await self.run(attempt)
        except asyncio.CancelledError:
            work.uncancel()
            return _cut_short(attempt.lease)
        except CorruptRecordError as error:
            log.error("record_unreadable", what=str(error)[:200])
            return Dead(_CORRUPT)
        except Exception:
            log.exception("attempt_crashed")
            return Dead(_BUG) if attempt.last else Retry(delay_s=5.0, reason=_BUG.code, charged=True)

    async def _bury_corrupt(self, lease: Lease, what: str) -> None:
        await self.store.bury_corrupt(lease, _CORRUPT, self.keep_dead_s)
        log.error("job_buried", code="corrupt_record", what=what[:200])


def _cut_short(lease: Lease) -> Outcome:
    match lease.cancel_reason:
        case "abort":
            return Cancelled()
        case "lost":
            return Lost()
        case _:
            return HandBack()


def _log_outcome(attempt: Attempt, outcome: Outcome, written: bool) -> None:
    log.info(
        "attempt_ended" if written else "attempt_discarded",
        outcome=type(outcome).__name__.lower(),
        reason=getattr(outcome, "reason", None) or getattr(getattr(outcome, "failure", None), "code", None),
        delay_s=getattr(outcome, "delay_s", None),
        calls=len(attempt.made),
        **({} if written else _spent(attempt)),
        took_ms=attempt.now_ms() - attempt.started_at_ms,
    )


def _spent(attempt: Attempt) -> dict[str, int]:
    """What an attempt cost that came to nothing: in the ledger too, unless that is lost."""
    return {
        "cost_nanousd": sum(call.cost_nanousd or 0 for call in attempt.made),
        "uncertain_nanousd": sum(call.uncertain_nanousd for call in attempt.made),
    }
