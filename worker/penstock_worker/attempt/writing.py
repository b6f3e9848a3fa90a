"""The one place that writes down what an attempt came to."""

from __future__ import annotations

from functools import reduce
from typing import Any

from penstock_schemas.results import JobFailure, JobResult, Quality, Usage, moment
from penstock_worker.attempt.attempt import Attempt
from penstock_worker.attempt.outcome import (
    Cancelled,
    Dead,
    Degraded,
    Expired,
    HandBack,
    Lost,
    Outcome,
    Retry,
    Succeeded,
)
from penstock_worker.attempt.store import AttemptStore
from penstock_worker.engine.lease import Lease


async def write(store: AttemptStore, attempt: Attempt, outcome: Outcome) -> bool:
    """Write *outcome*; False when the lease was lost and so nothing is written. A repeat writes nothing more."""
    lease = attempt.lease
    match outcome:
        case Succeeded(quality=quality):
            result = result_of(attempt, outcome)
            event = {"quality": quality.value, "made_by": outcome.made_by.name, **_arm(attempt)}
            return await _finish(store, attempt, result.state, result, event)
        case Degraded(failure=failure):
            result = result_of(attempt, outcome)
            event = {"code": failure.code, "made_by": outcome.made_by.name, **_arm(attempt)}
            return await _finish(store, attempt, result.state, result, event, failure)
        case Dead(failure=failure):
            return await bury(store, lease, failure, attempt_summary(attempt, failure.code))
        case Retry():
            summary = attempt_summary(attempt, outcome.reason)
            return await store.reschedule(
                lease,
                delay_s=outcome.delay_s,
                charged=outcome.charged,
                attempt=summary,
                reason=outcome.reason,
                due_at_ms=outcome.due_at_ms,
            )
        case HandBack():
            return await store.reschedule(lease, delay_s=0, charged=False, attempt=None, reason="drain")
        case Cancelled():
            return await end(store, lease, "cancelled")
        case Expired():
            return await end(store, lease, "expired")
        case Lost():
            return False


async def bury(store: AttemptStore, lease: Lease, failure: JobFailure, attempt: dict[str, Any] | None = None) -> bool:
    """End a job as a dead letter."""
    return await store.finish(
        lease,
        "dead",
        field="failure",
        body=failure.model_dump_json().encode(),
        attempt=attempt or {"error": failure.code},
        event={"code": failure.code},
    )


async def end(store: AttemptStore, lease: Lease, state: str) -> bool:
    """End a job that has neither a result nor a failure: ``cancelled`` or ``expired``."""
    return await store.finish(lease, state, attempt={"error": state}, event={})


async def _finish(
    store: AttemptStore,
    attempt: Attempt,
    state: str,
    result: JobResult[Any],
    event: dict[str, Any],
    failure: JobFailure | None = None,
) -> bool:
    body = result.model_dump_json().encode()
    summary = attempt_summary(attempt, failure.code if failure else None)
    return await store.finish(attempt.lease, state, field="result", body=body, attempt=summary, event=event)


def _arm(attempt: Attempt) -> dict[str, str]:
    return {"arm": attempt.route.arm} if attempt.route.arm else {}


def result_of(attempt: Attempt, outcome: Succeeded | Degraded) -> JobResult[Any]:
    """The result as its contract has it; calls, tokens and cost are of the whole run."""
    calls = attempt.journal.of_run()
    usages = [usage for call in calls if (usage := call.usage) is not None]
    costs = [call.cost_nanousd for call in calls]
    succeeded = isinstance(outcome, Succeeded)
    reused = outcome.reused if isinstance(outcome, Succeeded) else None
    return JobResult[Any].model_construct(
        version=1,
        job_id=attempt.job_id,
        task=attempt.request.task,
        tenant=attempt.request.tenant,
        run=attempt.run,
        state="succeeded" if succeeded else "degraded",
        quality=outcome.quality if isinstance(outcome, Succeeded) else Quality.SUSPECT,
        reasons=outcome.reasons if isinstance(outcome, Succeeded) else ("degraded",),
        failure=None if isinstance(outcome, Succeeded) else outcome.failure,
        output=outcome.output,
        made_by=outcome.made_by,
        tried=tuple(attempt.tried),
        arm=attempt.route.arm,
        chunks=outcome.chunks if isinstance(outcome, Succeeded) else 1,
        attempts=attempt.number,
        calls=len(calls),
        usage=reduce(Usage.__add__, usages) if usages else Usage(),
        cost_nanousd=None if None in costs else sum(cost for cost in costs if cost is not None),
        uncertain_nanousd=sum(call.uncertain_nanousd for call in calls),
        cache_hit=reused is not None,
        reused=reused,
        created_at=moment(attempt.created_at_ms),
        started_at=moment(attempt.started_at_ms),
        ended_at=moment(attempt.now_ms()),
    )


def attempt_summary(attempt: Attempt, error: str | None) -> dict[str, Any]:
    """What the journal keeps of an attempt, for whoever looks at a dead letter."""
    return {
        "error": error,
        "calls": [call.id for call in attempt.made],
        "last_call": attempt.journal.last_number,
        "started_at_ms": attempt.started_at_ms,
        "ended_at_ms": attempt.now_ms(),
    }
