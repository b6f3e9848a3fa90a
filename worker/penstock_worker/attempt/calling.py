"""One provider call, so that it is never lost and never made twice for nothing.

1. If the journal has this step already, its end is taken from there, and nothing is sent.
2. The most it can cost is worked out; what does not fit the job's own limit is not sent.
3. The intent is written down, if what guards the target lets the call through. Without that nothing is sent.
4. The call is made, under the target's limits and the job's deadline.
5. What it came to is written down before anybody looks at it: answer, tokens, cost, or that this is unknown; and
   the guards of the target hear of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from penstock_schemas.results import BUCKETS, Usage
from penstock_store.batcher import Encodable
from penstock_worker import crash_points
from penstock_worker.attempt.attempt import Attempt
from penstock_worker.attempt.journal import (
    CallEntry,
    EndKind,
    Step,
    answer_from_json,
    answer_to_json,
    error_from_json,
    error_to_json,
)
from penstock_worker.attempt.store import AttemptStore, Intended
from penstock_worker.llm.errors import CallError
from penstock_worker.llm.port import Answer, CallRequest, ModelClient, Target
from penstock_worker.money.budgets import Budgets, Hold
from penstock_worker.money.costing import Costing
from penstock_worker.money.usage import token_bound
from penstock_worker.routing.closed import Ask, Closed, TargetClosed
from penstock_worker.routing.report import ABORTED, Report, report_of

Purpose = Literal["ask", "reask", "larger_cap", "weaker_schema_mode"]


BYTES_PER_TOKEN = 4
"""Of English text, roughly: for what a call counts with against a limit of tokens, until its usage is known."""

SAVED = ("saved_tokens", "saved_nanousd")
"""Of a stream that was cut because it said nothing any more: what the cap allowed beyond, about."""

REPORT_GRACE_S = 30.0
"""How long after its time limit a call's end may still be told, before its slot is given to another."""


class NotCalled(Exception):
    """A call was not made."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
        """``lost``, ``cancelled``, ``envelope_spent``, ``over_budget`` or ``unknown_price``."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Makes provider calls for attempts."""

    store: AttemptStore
    client: ModelClient
    prices: Costing
    budgets: Budgets = field(default_factory=lambda: Budgets({}))

    async def call(
        self,
        attempt: Attempt,
        target: Target,
        request: CallRequest,
        purpose: Purpose,
        on_delta: Callable[[str, str], None] | None = None,
        step: Step | None = None,
    ) -> tuple[CallEntry, Answer | CallError]:
        """Make the next call of *step*, or take its end from the journal. *on_delta* gets the call's id and a piece.

        Raises why it was not made: NotCalled, TargetClosed, BudgetSpent.
        """
        while (past := attempt.journal.next_past(step)) is not None:
            if past.kind is None:
                await self._settle_unknown(attempt, past)
            if past.kind != "unknown":
                attempt.made.append(past)
                return past, await self._replayed(attempt, past)
        async with attempt.intending:
            entry, ask = await self._intend(attempt, target, request, purpose, step)
        told = partial(on_delta, entry.id) if on_delta else None
        try:
            answer = await self.client.call(target, request, deadline=attempt.deadline, on_delta=told)
        except CallError as error:
            await self._settle_error(attempt, target, entry, ask, error)
            return entry, error
        except asyncio.CancelledError:
            await self._settle_unknown(attempt, entry)
            raise
        cost = self.prices.cost(target, answer)
        end = answer_to_json(answer)
        await self._settle(attempt, entry, "answered", end, report_of(answer), ask.tokens, cost=cost, uncertain=0)
        return entry, answer

    async def kept(self, attempt: Attempt, step: Step) -> tuple[CallEntry, Answer] | None:
        """What *step* was answered last in an earlier attempt of the run, good or not; None when it was not."""
        entry = attempt.journal.kept(step)
        if entry is None:
            return None
        await self._put_back(attempt, entry)
        return entry, answer_from_json(entry.end)

    async def _replayed(self, attempt: Attempt, past: CallEntry) -> Answer | CallError:
        if past.kind != "answered":
            return error_from_json(past.end)
        await self._put_back(attempt, past)
        return answer_from_json(past.end)

    async def _put_back(self, attempt: Attempt, past: CallEntry) -> None:
        if "text" not in past.end:
            past.end["text"] = await self.store.text_apart(attempt.lease, past.id)

    async def _intend(
        self, attempt: Attempt, target: Target, request: CallRequest, purpose: Purpose, step: Step | None
    ) -> tuple[CallEntry, Ask]:
        size = _size(request)
        input_bound = token_bound(size)
        held = self.prices.worst_case(target, input_bound, request.max_output_tokens)
        _check_limit(attempt, held)
        ask = Ask(size // BYTES_PER_TOKEN + request.max_output_tokens, target.limits.whole_call_s + REPORT_GRACE_S)
        entry = CallEntry(attempt.journal.next_id(), _intent(attempt, target, purpose, held))
        if step is not None:
            entry.intent |= {"step": step.name, "asked": step.asked, "prompt": step.prompt}
        crash_points.reach("intent.pre")
        hold = Hold(self._scopes(attempt, entry), held or 0, input_bound + request.max_output_tokens)
        entry.intent["held_tokens"] = hold.tokens
        allowed = await self.store.intend(attempt.lease, entry.id, entry.intent, attempt.max_calls, ask, hold)
        if isinstance(allowed, Closed):
            raise TargetClosed(target.name, ask.tokens, allowed)
        entry.probe = allowed is Intended.PROBE
        if allowed is not Intended.YES and not entry.probe:
            raise NotCalled(allowed.name.lower())
        crash_points.reach("intent.post")
        attempt.journal.add(entry)
        attempt.made.append(entry)
        return entry, ask

    def _scopes(self, attempt: Attempt, entry: CallEntry) -> bytes:
        request = attempt.request
        return self.budgets.scopes(tenant=request.tenant, task=request.task, prompt=entry.intent["prompt"])

    async def _settle_error(
        self, attempt: Attempt, target: Target, entry: CallEntry, ask: Ask, error: CallError
    ) -> None:
        end, said = error_to_json(error), (report_of(error), ask.tokens)
        if error.saved_tokens:
            saved = self.prices.cost_of(target, Usage(output_tokens=error.saved_tokens))
            end |= {"saved_tokens": error.saved_tokens, "saved_nanousd": saved}
        if error.billed == "no":
            await self._settle(attempt, entry, "failed", end, *said, cost=0, uncertain=0)
        elif error.billed == "yes" and error.usage is not None:
            cost = self.prices.cost_of(target, error.usage)
            await self._settle(attempt, entry, "failed", end, *said, cost=cost, uncertain=0)
        else:
            await self._settle(attempt, entry, "failed", end, *said, **_unknown(entry.intent["held_nanousd"]))

    async def _settle_unknown(self, attempt: Attempt, entry: CallEntry) -> None:
        """A call that was sent, perhaps, and whose end nobody saw: the most it can have cost stays on the books.

        Unless its worker, thought to be dead, has told the end meanwhile: then it is that.
        """
        end = {"error": "interrupted", "billed": "unknown"}
        await self._settle(attempt, entry, "unknown", end, ABORTED, 0, **_unknown(entry.intent.get("held_nanousd")))

    async def _settle(
        self,
        attempt: Attempt,
        entry: CallEntry,
        kind: EndKind,
        end: dict[str, Any],
        report: Report,
        counted_tokens: int,
        *,
        cost: int | None,
        uncertain: int,
    ) -> None:
        entry.kind = kind
        entry.end = {**end, "cost_nanousd": cost, "uncertain_nanousd": uncertain}
        crash_points.reach("settle.pre")
        before = await self.store.settle(
            attempt.lease,
            entry.id,
            kind,
            entry.end_to_keep(),
            cost_nanousd=cost,
            uncertain_nanousd=uncertain,
            ledger=_ledger(attempt, entry, self.prices.version),
            report=report,
            counted_tokens=counted_tokens,
            tokens=(entry.usage.total_tokens or 0) if entry.usage else 0,
            uncertain_tokens=entry.intent.get("held_tokens", 0) if uncertain else 0,
            apart=entry.text_apart or "",
        )
        crash_points.reach("settle.post")
        if before is not None:
            entry.ended(before)


def _size(request: CallRequest) -> int:
    """Bytes of all that is sent."""
    parts = [request.system, request.user, *(turn.text for turn in request.turns)]
    return sum(len(part.encode("utf-8", "replace")) for part in parts) + len(str(request.schema or ""))


def _unknown(held: int | None) -> dict[str, Any]:
    """Cost and uncertainty of a call that may have been billed; both are unknown where the price is."""
    return {"cost": 0 if held is not None else None, "uncertain": held or 0}


def _check_limit(attempt: Attempt, held: int | None) -> None:
    """Keep a job with a limit of its own within it, whatever the next call may come to."""
    limit = attempt.request.max_cost_nanousd
    if limit is None:
        return
    if held is None:
        raise NotCalled("unknown_price")
    if attempt.spent_nanousd() + held > limit:
        raise NotCalled("over_budget")


def _intent(attempt: Attempt, target: Target, purpose: Purpose, held: int | None) -> dict[str, Any]:
    prompt = attempt.route.prompt or attempt.task.prompt
    return {
        "stage": "calling",
        "attempt": attempt.number,
        "target": target.name,
        "prompt": prompt.name,
        "purpose": purpose,
        "held_nanousd": held,
        "at_ms": attempt.now_ms(),
    }


def _ledger(attempt: Attempt, entry: CallEntry, price_version: str) -> Mapping[str, Encodable]:
    """The ledger's fields; an absent one is unknown."""
    end, usage, prompt = entry.end, entry.usage, attempt.route.prompt or attempt.task.prompt
    fields: dict[str, Any] = {
        "tenant": attempt.request.tenant,
        "task": attempt.request.task,
        "target": entry.intent["target"],
        "prompt": entry.intent["prompt"],
        "prompt_digest": prompt.short_digest if prompt.name == entry.intent["prompt"] else None,
        "purpose": entry.intent["purpose"],
        "held_nanousd": entry.intent["held_nanousd"],
        "sent_at_ms": entry.intent["at_ms"],
        "prices": price_version,
        "billed": end.get("billed", "yes"),
        **{
            name: end.get(name)
            for name in ("model", "request_id", "error", "service_tier", "first_content_ms", "took_ms", *SAVED)
        },
        **({name: getattr(usage, name) for name in BUCKETS} if usage else {}),
        "suspect": int(usage.suspect) if usage else None,
    }
    return {name: value for name, value in fields.items() if value is not None}
