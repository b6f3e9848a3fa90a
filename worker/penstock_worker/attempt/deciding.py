"""What becomes of an attempt in which no target gave a result: a value, computed from what each of them said."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import structlog

from penstock_schemas.results import JobFailure, MadeBy
from penstock_worker.attempt.attempt import Attempt
from penstock_worker.attempt.backoff import LONG_CAP_S, backoff_s
from penstock_worker.attempt.outcome import Dead, Degraded, Retry
from penstock_worker.llm.errors import CallError, ThrottledError
from penstock_worker.money.budgets import BudgetSpent
from penstock_worker.routing.closed import MESSAGES, TargetClosed

log = structlog.get_logger("penstock.attempt")

LATE = "The deadline came before a model could answer."
NO_TARGET = "No target of the route is for this job."

TURNED_AWAY = frozenset({"throttled", "auth_failed", "quota_exhausted", "model_not_found"})
"""Codes of calls that a provider did not look at; they cost nothing."""

_NOT_ASKED = frozenset({"over_budget", "unknown_price", "budget_exceeded", "cost_breaker_open", "input_too_long"})
_PROBES = 20


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a target gave no result."""

    code: str
    message: str
    retry: bool
    """A later attempt may go better."""
    next_target: bool
    charged: bool = True
    """Whether the attempt counts as failed for it; a throttle, a closed target or a failed probe does not."""
    retry_after_s: float | None = None
    closed: TargetClosed | None = None
    """Set when it is closed, and so was not asked at all, or will not be until it is mended."""
    spent: BudgetSpent | None = None
    """Set when a budget has no room for it."""


def trouble_of(error: CallError, *, probe: bool) -> Trouble:
    """A probe is made on behalf of all who wait: that it failed is no failure of the job that made it."""
    excused = probe and error.trips_breaker
    return Trouble(
        error.code,
        error.message,
        retry=error.retry or excused,
        next_target=error.next_target,
        charged=not (isinstance(error, ThrottledError) or excused),
        retry_after_s=error.retry_after_s,
    )


def trouble_closed(closed: TargetClosed) -> Trouble:
    why, wait_s = closed.closed.why, closed.closed.wait_s
    return Trouble(why, MESSAGES[why], retry=True, next_target=True, charged=False, retry_after_s=wait_s, closed=closed)


def decide(attempt: Attempt, troubles: list[Trouble], luck: float) -> Retry | JobFailure:
    """What to do when no target gave a result: start again later, or give up. Pure."""
    if attempt.late_by():
        return JobFailure(code="deadline_exceeded", message=LATE, last_error=troubles[-1].code if troubles else None)
    if not troubles:
        return JobFailure(code="no_target", message=NO_TARGET, last_error=attempt.journal.last_error)
    last = troubles[-1]
    if not any(trouble.retry for trouble in troubles):
        return JobFailure(code=last.code, message=last.message, last_error=_last_error(attempt, troubles))
    charged = any(trouble.charged for trouble in troubles)
    if charged and attempt.last:
        message = f"All {attempt.number} attempts failed. The last: {last.message}"
        return JobFailure(code="attempts_exhausted", message=message, last_error=last.code)
    delay_s = _delay_s(attempt, troubles, luck)
    if attempt.late_by(delay_s):
        return JobFailure(code="deadline_exceeded", message=LATE, last_error=last.code)
    return Retry(delay_s, last.code, charged)


def _last_error(attempt: Attempt, troubles: list[Trouble]) -> str | None:
    """The last that a model came to: what was not asked for want of money says nothing of one."""
    if troubles[-1].code not in _NOT_ASKED:
        return troubles[-1].code
    return next((each.code for each in reversed(troubles) if each.code not in _NOT_ASKED), attempt.journal.last_error)


def _delay_s(attempt: Attempt, troubles: list[Trouble], luck: float) -> float:
    if (first := opens_first(troubles)) is not None:
        return first.closed.wait_s
    waits = [each.retry_after_s for each in troubles if each.retry_after_s is not None and each.closed is None]
    return max(backoff_s(attempt.number, luck), own_wait_s(attempt, luck), min(waits, default=0.0))


def own_wait_s(attempt: Attempt, luck: float) -> float:
    """How long a job waits at least that was turned away again and again: so its calls stay few, however long it lasts.

    Full jitter over what doubles with each call that was turned away, up to ten minutes; calls that failed otherwise
    and cost nothing (probes, most of them) count from the twentieth on.
    """
    failed = [call for call in attempt.journal.of_run() if call.kind == "failed"]
    turned_away = sum(call.end.get("error") in TURNED_AWAY for call in failed)
    count = max(turned_away, sum(call.cost_nanousd == 0 for call in failed) - _PROBES)
    return backoff_s(count, luck, cap_s=LONG_CAP_S) if count > 0 else 0.0


def in_the_way(troubles: list[Trouble]) -> BudgetSpent | None:
    """The budget to wait for, the one whose window turns first, when nothing but budgets is in the way; else None."""
    spent = [trouble.spent for trouble in troubles if trouble.spent is not None]
    if not spent or any(trouble.retry for trouble in troubles):
        return None
    return min(spent, key=lambda each: each.wait_s)


def opens_first(troubles: list[Trouble]) -> TargetClosed | None:
    """The target to wait for when all that may yet give a result are closed; None when one is not."""
    closed = [trouble.closed for trouble in troubles if trouble.retry]
    shut = [each for each in closed if each is not None]
    return min(shut, key=lambda each: each.closed.wait_s) if shut and len(shut) == len(closed) else None


async def give_up(attempt: Attempt, failure: JobFailure) -> Degraded | Dead:
    """The task's fallback, where the job and the route allow it and it has something to say; else dead."""
    task = attempt.task
    if attempt.request.on_failure == "degrade" and attempt.route.fallback and task.fallback_name:
        output = await asyncio.to_thread(_fallback, attempt)
        if output is not None:
            return Degraded(output, MadeBy(kind="fallback", name=task.fallback_name), failure)
    return Dead(failure)


def _fallback(attempt: Attempt) -> Any | None:
    """The fallback's answer; None too when it fails, since to try everything again would not mend it."""
    try:
        return attempt.task.fallback(attempt.asked)
    except Exception:
        log.exception("fallback_failed")
        return None
