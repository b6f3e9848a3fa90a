"""One provider call, so that it is never lost and never made twice for nothing.

1. If the journal has this step already, its end is taken from there, and nothing is sent. If it has the id under which
   the provider goes on with a call of which nobody saw the end, that is waited for, and nothing is begun anew.
2. The most it can cost is worked out; what does not fit the job's own limit is not sent.
3. The intent is written down, if what guards the target lets the call through. Without that nothing is sent.
4. The call is made, under the target's limits and the job's deadline.
5. What it came to is written down before anybody looks at it: answer, tokens, cost, or that this is unknown; and
   the guards of the target hear of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import orjson

from penstock_schemas.results import Usage
from penstock_worker import crash_points
from penstock_worker.attempt.attempt import Attempt
from penstock_worker.attempt.journal import (
    CallEntry,
    EndKind,
    answer_from_json,
    answer_to_json,
    error_from_json,
    error_to_json,
)
from penstock_worker.attempt.ledger import ledger_fields
from penstock_worker.attempt.store import AttemptStore, Intended
from penstock_worker.llm.errors import CallError, ResponseGoneError
from penstock_worker.llm.port import Answer, CallRequest, KeptId, ModelClient, Target
from penstock_worker.money.budgets import Hold
from penstock_worker.money.costing import Charge, Costing
from penstock_worker.routing.closed import Ask, Closed, TargetClosed
from penstock_worker.routing.report import ABORTED, Report, report_of
from penstock_worker.routing.tokens import TokenEstimates, request_extent

Purpose = Literal["ask", "reask", "larger_cap", "weaker_schema_mode", "tool_results"]


BYTES_PER_TOKEN = 4
"""Of English text, roughly: for what a call counts with against a limit of tokens, until its usage is known."""

REPORT_GRACE_S = 30.0
"""How long after its time limit a call's end may still be told, before its slot is given to another."""


class NotCalled(Exception):
    """A call was not made."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
        """``lost``, ``cancelled``, ``envelope_spent``, ``over_budget``, ``unknown_price`` or ``leaving``."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Makes provider calls for attempts."""

    store: AttemptStore
    client: ModelClient
    prices: Costing
    tokens: TokenEstimates = field(default_factory=TokenEstimates)

    async def call(
        self,
        attempt: Attempt,
        target: Target,
        request: CallRequest,
        purpose: Purpose,
        on_delta: Callable[[str, str], None] | None = None,
    ) -> tuple[CallEntry, Answer | CallError]:
        """Make the attempt's next call, or take its end from the journal. *on_delta* gets the call's id and a piece.

        Raises why it was not made: NotCalled, TargetClosed, BudgetSpent.
        """
        while (past := attempt.journal.next_past(attempt.step)) is not None:
            if past.kind in (None, "unknown"):
                end = await self._found_again(attempt, target, request, past, on_delta)
                if end is not None:
                    return past, end
            if past.kind is None:
                await self._settle_unknown(attempt, past)
            if past.kind != "unknown":
                attempt.made.append(past)
                return past, await self._replayed(attempt, past)
        async with attempt.intending:
            entry, ask = await self._intend(attempt, target, request, purpose)
        kept = self._kept_id(attempt, target, entry)
        return entry, await self._send(attempt, target, request, entry, ask.tokens, kept, on_delta)

    async def _send(
        self,
        attempt: Attempt,
        target: Target,
        request: CallRequest,
        entry: CallEntry,
        counted_tokens: int,
        kept: KeptId | None,
        on_delta: Callable[[str, str], None] | None,
    ) -> Answer | CallError:
        """Send a call that is written down, or go on with one, and settle what it comes to."""
        told = partial(on_delta, entry.id) if on_delta else None
        request = replace(request, attempt_id=f"{attempt.job_id}:{entry.id}")
        options = {} if kept is None else {"kept": kept}
        try:
            answer = await self.client.call(target, request, deadline=attempt.deadline, on_delta=told, **options)
        except CallError as error:
            await self._settle_error(attempt, target, entry, counted_tokens, error)
            return error
        except asyncio.CancelledError:
            if kept is None or kept.id is None or attempt.lease.cancel_reason == "abort":
                await self._withdraw(attempt, target, entry, kept)
            raise  # else the provider goes on, and the next worker finds it again
        charge = self.prices.charge(target, answer)
        self.tokens.learn(target, request, answer.usage)
        end = answer_to_json(answer)
        await self._settle(attempt, entry, "answered", end, report_of(answer), counted_tokens, charge)
        return answer

    async def _withdraw(self, attempt: Attempt, target: Target, entry: CallEntry, kept: KeptId | None) -> None:
        if kept is not None and kept.id is not None:
            await self.client.withdraw(target, kept.id)
        await self._settle_unknown(attempt, entry)

    async def _found_again(
        self,
        attempt: Attempt,
        target: Target,
        request: CallRequest,
        past: CallEntry,
        on_delta: Callable[[str, str], None] | None,
    ) -> Answer | CallError | None:
        """The end of a call that nobody saw, if its provider went on with it; None when nobody can know it.

        It may have been settled as unknown meanwhile, when the job was handed back: that is amended then.
        """
        kept = self._kept_id(attempt, target, past)
        if kept is None or kept.id is None or past.intent["target"] != target.name:
            return None
        attempt.made.append(past)
        counted_tokens = request_extent(request).bytes // BYTES_PER_TOKEN + request.max_output_tokens
        end = await self._send(attempt, target, request, past, counted_tokens, kept, on_delta)
        return None if past.kind == "unknown" else end

    def _kept_id(self, attempt: Attempt, target: Target, entry: CallEntry) -> KeptId | None:
        """Where the id is kept under which a provider goes on with a call; None for a target that does not."""
        if not target.options.get("background"):
            return None
        name = f"{entry.id}:response"

        async def note(id: str) -> None:
            await self.store.note(attempt.lease, attempt.run, name, {"id": id})
            crash_points.reach("attach.post")

        fact = attempt.journal.facts.get(name)
        return KeptId(orjson.loads(fact)["id"] if fact else None, note)

    async def kept(self, attempt: Attempt) -> tuple[CallEntry, Answer] | None:
        """What its step was answered last in an earlier attempt of the run, good or not; None when it was not."""
        entry = attempt.journal.kept(attempt.step) if attempt.step else None
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
        self, attempt: Attempt, target: Target, request: CallRequest, purpose: Purpose
    ) -> tuple[CallEntry, Ask]:
        sent = request_extent(request)
        input_bound = self.tokens.of_extent(target, sent, strict=attempt.request.bounded)
        bound = self.prices.bound(target, input_bound, request.max_output_tokens)
        held = bound.nanousd
        held_tokens = input_bound + request.max_output_tokens
        _check_limits(attempt, held, held_tokens)
        ask = Ask(
            sent.bytes // BYTES_PER_TOKEN + request.max_output_tokens, target.limits.whole_call_s + REPORT_GRACE_S
        )
        entry = CallEntry(attempt.journal.next_id(), _intent(attempt, target, purpose, held))
        if (step := attempt.step) is not None:
            entry.intent |= {"step": step.name, "asked": step.asked}
        crash_points.reach("intent.pre")
        hold = Hold(held, held_tokens)
        entry.intent |= {"held_tokens": hold.tokens, "cap_tokens": request.max_output_tokens, "price": bound.price}
        entry.intent["until_ms"] = entry.intent["at_ms"] + round(ask.lease_s * 1000)
        self.store.prices.note(bound.row)
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

    async def _settle_error(
        self, attempt: Attempt, target: Target, entry: CallEntry, counted_tokens: int, error: CallError
    ) -> None:
        if isinstance(error, ResponseGoneError):
            await self._settle_unknown(attempt, entry)
            return
        end, said = error_to_json(error), (report_of(error), counted_tokens)
        if error.saved_tokens:
            saved = self.prices.cost_of(target, Usage(input_tokens=0, output_tokens=error.saved_tokens))
            end |= {"saved_tokens": error.saved_tokens, "saved_nanousd": saved}
        if error.billed == "no":
            await self._settle(attempt, entry, "failed", end, *said, Charge(0))
        elif error.billed == "yes" and error.usage is not None:
            await self._settle(attempt, entry, "failed", end, *said, self.prices.charge_of(target, error.usage))
        else:
            await self._settle(attempt, entry, "failed", end, *said)

    async def _settle_unknown(self, attempt: Attempt, entry: CallEntry) -> None:
        """A call that was sent, perhaps, and whose end nobody saw: the most it can have cost stays on the books.

        Unless its worker, thought to be dead, has told the end meanwhile: then it is that.
        """
        end = {"error": "interrupted", "billed": "unknown"}
        await self._settle(attempt, entry, "unknown", end, ABORTED, 0)

    async def _settle(
        self,
        attempt: Attempt,
        entry: CallEntry,
        kind: EndKind,
        end: dict[str, Any],
        report: Report,
        counted_tokens: int,
        charge: Charge | None = None,
    ) -> None:
        """*charge* None: it may have been billed, nobody knows; the most that was held for it stays uncertain."""
        held = entry.intent.get("held_nanousd")
        cost, uncertain = (0 if held is not None else None, held or 0) if charge is None else (charge.nanousd, 0)
        if charge is not None and cost is None:
            uncertain = held or 0
        price = entry.intent.get("price") if charge is None else charge.price
        entry.kind = kind
        entry.end = {**end, "cost_nanousd": cost, "uncertain_nanousd": uncertain, "price": price}
        self.store.prices.note(charge.row if charge else None)
        crash_points.reach("settle.pre")
        before = await self.store.settle(
            attempt.lease,
            entry.id,
            kind,
            entry.end_to_keep(),
            cost_nanousd=cost,
            uncertain_nanousd=uncertain,
            ledger=ledger_fields(attempt, entry, self.prices.version),
            report=report,
            counted_tokens=counted_tokens,
            tokens=(entry.usage.total_tokens or 0) if entry.usage else 0,
            uncertain_tokens=0 if entry.usage or charge else entry.intent.get("held_tokens", 0),
            apart=entry.text_apart or "",
        )
        crash_points.reach("settle.post")
        if before is not None:
            entry.ended(before)


def _check_limits(attempt: Attempt, held: int | None, held_tokens: int) -> None:
    """Keep a job with limits of its own within them, whatever the next call may come to.

    Who holds the lease makes all calls of the job, one intent after the other, and knows what those before may have
    come to: so this needs no script.
    """
    most, most_tokens = attempt.request.max_cost_nanousd, attempt.request.max_total_tokens
    if held is None and (most is not None or attempt.route.unknown_price == "refuse"):
        raise NotCalled("unknown_price")
    if most is not None and attempt.spent_nanousd() + (held or 0) > most:
        raise NotCalled("over_budget")
    if most_tokens is not None and attempt.taken_tokens() + held_tokens > most_tokens:
        raise NotCalled("over_budget")


def _intent(attempt: Attempt, target: Target, purpose: Purpose, held: int | None) -> dict[str, Any]:
    prompt = attempt.route.prompt or attempt.task.prompt
    return {
        "stage": "calling",
        "attempt": attempt.number,
        "target": target.name,
        "prompt": prompt.name,
        "purpose": purpose,
        "route": attempt.route.name,
        "user": attempt.request.user,
        "held_nanousd": held,
        "at_ms": attempt.now_ms(),
        **({"arm": attempt.route.arm} if attempt.route.arm else {}),
    }
