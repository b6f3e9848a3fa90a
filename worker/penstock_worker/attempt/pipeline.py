"""One attempt, from a claimed record to an outcome.

    for each target of the route:  ask ─► call ─► judge ─┬─► succeeded
                                    ▲                    │
                                    └── one remedy ◄─────┤
                                                         └─► trouble ─► next target
    no target left:  retry later, or the task's fallback, or dead

Nothing here writes the outcome: that is :mod:`.writing`'s.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from penstock_schemas.results import JobFailure, MadeBy
from penstock_worker.attempt.attempt import Attempt
from penstock_worker.attempt.backoff import backoff_s
from penstock_worker.attempt.calling import Caller, NotCalled, Purpose
from penstock_worker.attempt.deltas import Deltas
from penstock_worker.attempt.judging import Accepted, Rejected, judge
from penstock_worker.attempt.outcome import Cancelled, Dead, Degraded, Lost, Outcome, Retry, Succeeded
from penstock_worker.attempt.reading import Reader
from penstock_worker.attempt.store import Parked
from penstock_worker.llm.errors import CallError, SchemaUnsupportedError, ThrottledError
from penstock_worker.llm.port import Answer, CallRequest, SchemaMode, Target, Turn
from penstock_worker.money.budgets import BudgetSpent
from penstock_worker.routing.closed import MESSAGES, TargetClosed

log = structlog.get_logger("penstock.attempt")

EXCERPT_CHARS = 1_000
"""How much of a rejected answer is shown to the model again; a prompt never grows with its failures."""

TURN_SPREAD_S = 5.0
"""Over how long the jobs that waited for a budget are spread when its window turns."""

LARGER_CAP = 2
"""By how much the output cap grows, once, after a cut-off."""


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
    """Set when it was not asked at all."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The steps of an attempt and what they need; one for all attempts of a process."""

    caller: Caller
    reader: Reader
    luck: random.Random = field(default_factory=random.SystemRandom)

    async def run(self, attempt: Attempt) -> Outcome:
        """Work the attempt out. Raises only what cancels it."""
        troubles: list[Trouble] = []
        try:
            for target in attempt.route.targets:
                if attempt.late_by():
                    break
                got = await self._try(attempt, target)
                if isinstance(got, Succeeded):
                    return got
                troubles.append(got)
                if not got.next_target:
                    break
        except NotCalled as stop:
            return await self._not_called(attempt, stop, troubles)
        except BudgetSpent as spent:
            return await self._over_budget(attempt, spent)
        decided = decide(attempt, troubles, self.luck.random())
        if isinstance(decided, JobFailure):
            return await give_up(attempt, decided)
        first = opens_first(troubles)
        return decided if first is None else await self._park(attempt, decided, first)

    async def _park(self, attempt: Attempt, retry: Retry, closed: TargetClosed) -> Outcome:
        """Wait for the target that opens first, in its line."""
        store, deadline_at_ms = self.caller.store, attempt.deadline_at_ms
        parked, wait_s = await store.park(attempt.lease, closed.target, closed.tokens, deadline_at_ms)
        if parked is Parked.LOST:
            return Lost()
        if parked is Parked.TOO_LATE:
            why = closed.closed.why
            return await give_up(attempt, JobFailure(code="deadline_exceeded", message=_LATE, last_error=why))
        return replace(retry, delay_s=wait_s, reason=closed.closed.why)

    async def _over_budget(self, attempt: Attempt, spent: BudgetSpent) -> Outcome:
        """Wait until the budget's window turns, or do without a model, as the budget's policy says."""
        failure = JobFailure(code="budget_exceeded", message=f"The budget {spent.scope} has no room for the next call.")
        if self.caller.budgets.when_spent(spent.scope) == "degrade" or attempt.late_by(spent.wait_s):
            return await give_up(attempt, failure)
        return Retry(spent.wait_s + self.luck.random() * TURN_SPREAD_S, failure.code, charged=False)

    async def _not_called(self, attempt: Attempt, stop: NotCalled, troubles: list[Trouble]) -> Outcome:
        if stop.why == "lost":
            return Lost()
        if stop.why == "cancelled":
            return Cancelled()
        last = troubles[-1].code if troubles else attempt.journal.last_error
        return await give_up(attempt, JobFailure(code=stop.why, message=_REFUSED[stop.why], last_error=last))

    async def _try(self, attempt: Attempt, target: Target) -> Succeeded | Trouble:
        """Ask one target: once, and once more when there is a remedy for what was wrong."""
        request = first_request(attempt)
        purpose: Purpose = "ask"
        remedies: set[str] = set()
        while True:
            try:
                answer = await self._call(attempt, target, request, purpose)
            except TargetClosed as closed:
                return _trouble_closed(closed)
            except SchemaUnsupportedError as error:
                if "weaker_schema_mode" in remedies:
                    return _trouble_of(error, probe=False)
                remedies.add("weaker_schema_mode")
                request, purpose = replace(request, schema_mode=SchemaMode.PROMPT), "weaker_schema_mode"
                continue
            except CallError as error:
                return _trouble_of(error, probe=attempt.made[-1].probe)
            verdict = await judge(attempt, answer, request_schema(request), self.reader)
            if isinstance(verdict, Accepted):
                return Succeeded(verdict.output, _made_by(attempt, answer), verdict.quality, verdict.reasons)
            if verdict.remedy is None or remedies & {"reask", "larger_cap"}:
                return Trouble(verdict.code, _REJECTED, verdict.retry, verdict.next_target)
            remedies.add(verdict.remedy)
            request, purpose = remedied(request, verdict, answer), verdict.remedy

    async def _call(self, attempt: Attempt, target: Target, request: CallRequest, purpose: Purpose) -> Answer:
        if not request.stream:
            return await self.caller.call(attempt, target, request, purpose)
        async with Deltas(self.caller.store, attempt) as deltas:
            return await self.caller.call(attempt, target, request, purpose, deltas.add)


def first_request(attempt: Attempt) -> CallRequest:
    """What a target is asked first."""
    prompt = attempt.route.prompt or attempt.task.prompt
    task, asked = attempt.task, attempt.asked
    return CallRequest(
        system=prompt.system,
        user=prompt.render(task.text(asked), task.variables(asked)),
        max_output_tokens=attempt.route.max_output_tokens,
        schema=task.schema(asked),
        schema_name=task.name,
        temperature=attempt.route.temperature,
        stream=attempt.request.stream,
        attempt_id=f"{attempt.job_id}:{attempt.journal.next_id()}",
    )


def request_schema(request: CallRequest) -> dict[str, Any]:
    """The schema that an answer to *request* must satisfy."""
    return dict(request.schema or {})


def remedied(request: CallRequest, verdict: Rejected, answer: Answer) -> CallRequest:
    """The same request, changed in the one way that may help."""
    if verdict.remedy == "larger_cap":
        return replace(request, max_output_tokens=request.max_output_tokens * LARGER_CAP)
    hint = f"That answer cannot be used: {verdict.hint} Answer again, with the JSON object alone."
    return replace(request, turns=(Turn("assistant", answer.text[:EXCERPT_CHARS]), Turn("user", hint)))


def decide(attempt: Attempt, troubles: list[Trouble], luck: float) -> Retry | JobFailure:
    """What to do when no target gave a result: start again later, or give up. Pure."""
    if not troubles or attempt.late_by():
        return JobFailure(code="deadline_exceeded", message=_LATE, last_error=troubles[-1].code if troubles else None)
    last = troubles[-1]
    if not any(trouble.retry for trouble in troubles):
        return JobFailure(code=last.code, message=last.message, last_error=last.code)
    charged = any(trouble.charged for trouble in troubles)
    if charged and attempt.last:
        message = f"All {attempt.number} attempts failed. The last: {last.message}"
        return JobFailure(code="attempts_exhausted", message=message, last_error=last.code)
    delay_s = _delay_s(attempt, troubles, luck)
    if attempt.late_by(delay_s):
        return JobFailure(code="deadline_exceeded", message=_LATE, last_error=last.code)
    return Retry(delay_s, last.code, charged)


def _delay_s(attempt: Attempt, troubles: list[Trouble], luck: float) -> float:
    if (first := opens_first(troubles)) is not None:
        return first.closed.wait_s
    waits = [each.retry_after_s for each in troubles if each.retry_after_s is not None and each.closed is None]
    throttles = sum(call.end.get("error") == ThrottledError.code for call in attempt.journal.of_run())
    return max(backoff_s(max(attempt.number, throttles), luck), min(waits, default=0.0))


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


def _made_by(attempt: Attempt, answer: Answer) -> MadeBy:
    intent = attempt.made[-1].intent
    return MadeBy(kind="model", name=intent["target"], model=answer.model, prompt=intent["prompt"])


def _trouble_of(error: CallError, *, probe: bool) -> Trouble:
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


def _trouble_closed(closed: TargetClosed) -> Trouble:
    why, wait_s = closed.closed.why, closed.closed.wait_s
    return Trouble(why, MESSAGES[why], retry=True, next_target=True, charged=False, retry_after_s=wait_s, closed=closed)


_LATE = "The deadline came before a model could answer."
_REJECTED = "The model's answer could not be used."
_REFUSED = {
    "envelope_spent": "The run has made as many provider calls as it may.",
    "over_budget": "The next call might cost more than the job's limit leaves.",
    "unknown_price": "The job has a cost limit, and the price of the model is unknown.",
}
