"""One question, taken along a route until a target gives an answer that is good enough.

    for each entry:  is it its turn? ─► does the input fit? ─► ask ─┬─► good enough ─► that is it
                                                                    ├─► good, and the entry wants better ─► in hand
                                                                    └─► trouble ─► next entry

1. An entry is passed over when its target was asked before in this attempt, when its condition does not hold, or
   when what came before ends the chain. After a refusal, a filtered or a rejected request only an entry that names
   this in its ``after`` is asked.
2. Time is looked at before each entry, money by the call itself: what a target might cost too much is left to a
   cheaper one.
3. An input that does not fit a model's window is not sent to it, and then to larger windows only.
4. With no better one the best of the answers in hand counts, with its quality as it is.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from penstock_schemas.results import Quality, TriedTarget
from penstock_worker.attempt.asking import Asker
from penstock_worker.attempt.attempt import Attempt
from penstock_worker.attempt.calling import NotCalled
from penstock_worker.attempt.deciding import Trouble
from penstock_worker.attempt.outcome import Succeeded
from penstock_worker.llm.port import CallRequest, Target
from penstock_worker.money.budgets import BudgetSpent
from penstock_worker.routing.closed import Closed, TargetClosed, Why
from penstock_worker.routing.conditions import BELOW_GATE, GROUPS, RANK, TOO_LONG, Case, Condition
from penstock_worker.routing.routes import Entry
from penstock_worker.routing.tokens import TokenEstimates

LOW_CONFIDENCE = "low_confidence"
"""Why an answer is suspect that was taken though it did not reach its entry's confidence."""

_ACCESS: Mapping[str, Why] = {
    "auth_failed": "account_closed",
    "quota_exhausted": "account_closed",
    "model_not_found": "breaker_open",
}
_NO_MONEY = {
    "over_budget": "The next call might take more than the job's own limit leaves.",
    "unknown_price": "The price of the model is unknown, and the job or its route demands one.",
}


@dataclass(slots=True)
class Walk:
    """How far one question has come."""

    attempt: Attempt
    request: CallRequest
    troubles: list[Trouble] = field(default_factory=list)
    """What each target that gave no result came to, in order."""
    asked: set[str] = field(default_factory=set)
    """Targets that have had their turn."""
    in_hand: Succeeded | None = None
    """The best answer that was below its entry's gate."""
    too_long_for: int | None = None
    """The largest window that the input was too long for; 0 when that is not known."""

    def next_request(self) -> CallRequest:
        """The question, under the id of the next call."""
        if not self.asked:
            return self.request
        return replace(self.request, attempt_id=f"{self.attempt.job_id}:{self.attempt.journal.next_id()}")

    @property
    def last(self) -> Trouble | None:
        """What the target before came to."""
        return self.troubles[-1] if self.troubles else None

    def note(self, target: Target, trouble: Trouble) -> None:
        """Take in what a target came to."""
        self.troubles.append(trouble)
        tried = TriedTarget(target=target.name, code=trouble.code)
        if tried not in self.attempt.tried:
            self.attempt.tried.append(tried)
        if trouble.code in GROUPS["too_long"]:
            self.too_long_for = max(self.too_long_for or 0, target.context_window or 0)


@dataclass(frozen=True, slots=True)
class Walker:
    """Takes questions along routes; one for all attempts of a process."""

    asker: Asker
    access_refused: Literal["wait", "fail"] = "fail"
    """``wait``: who meets a refused key or an empty account waits until it is mended; ``fail``: it is a failure."""
    access_open_s: float = 30.0
    """How long that takes at least."""

    @property
    def tokens(self) -> TokenEstimates:
        """How many tokens texts are."""
        return self.asker.caller.tokens

    async def run(self, walk: Walk) -> Succeeded | None:
        """Ask one target after the other; None when none gave an answer, and ``walk.troubles`` says why.

        Raises NotCalled when no target may be asked any more: ``lost``, ``cancelled``, ``envelope_spent``.
        """
        entries = walk.attempt.route.entries
        for place, entry in enumerate(entries):
            if walk.attempt.late_by():
                break
            if not self._has_turn(walk, entry, entries[place + 1 :]):
                continue
            got = await self._ask(walk, entry)
            walk.asked.add(entry.target.name)
            if isinstance(got, Trouble):
                walk.note(entry.target, got)
            elif entry.gate is None:
                return _better(walk.in_hand, got)
            elif (below := _below(walk.attempt, entry, got)) is None:
                return got
            else:
                walk.in_hand = _better(walk.in_hand, below)
                walk.note(entry.target, Trouble(BELOW_GATE, "A better answer was wanted.", False, True, charged=False))
        return walk.in_hand

    def _has_turn(self, walk: Walk, entry: Entry, later: tuple[Entry, ...]) -> bool:
        if entry.target.name in walk.asked:
            return False
        past = walk.attempt.journal.next_target(walk.attempt.step)
        if past is not None and past != entry.target.name and any(past == one.target.name for one in later):
            return False  # this attempt has been here before its worker died, and passed it over
        if walk.too_long_for is not None and (entry.target.context_window or _ANY_WINDOW) <= walk.too_long_for:
            return False
        if walk.last is not None and not walk.last.next_target and not _names(entry.when, walk.last.code):
            return False
        return entry.when is None or entry.when.holds(self._case(walk, entry))

    def _case(self, walk: Walk, entry: Entry) -> Case:
        attempt, request = walk.attempt, walk.attempt.request
        return Case(
            task=request.task,
            tenant=request.tenant,
            lane=request.lane,
            metadata=request.metadata,
            fields=request.input,
            input_tokens=self.tokens.of_request(entry.target, walk.request),
            time_left_s=None if attempt.deadline is None else attempt.deadline - time.monotonic(),
            trouble=walk.last.code if walk.last else None,
        )

    async def _ask(self, walk: Walk, entry: Entry) -> Succeeded | Trouble:
        attempt, target = walk.attempt, entry.target
        if not self.tokens.fits(target, walk.request):
            return Trouble(TOO_LONG, "The input does not fit the model's window.", False, True, charged=False)
        try:
            got = await self.asker.ask(attempt, target, walk.next_request())
        except NotCalled as stop:
            if stop.why == "envelope_spent" and walk.in_hand is not None:
                return Trouble(stop.why, "The run has made as many calls as it may.", False, False, charged=False)
            if stop.why not in _NO_MONEY:
                raise
            return Trouble(stop.why, _NO_MONEY[stop.why], False, True, charged=False)
        except BudgetSpent as spent:
            message = f"The budget {spent.scope} has no room for the next call."
            return Trouble(spent.code, message, False, True, charged=False, spent=spent)
        if isinstance(got, Succeeded):
            return got
        if got.code == "context_too_long":
            self.tokens.learn_too_long(target, walk.request)
        return self._access(target, got)

    def _access(self, target: Target, trouble: Trouble) -> Trouble:
        """What a refused key, an empty account or an unknown model is to the job: a wait, or a failure."""
        why = _ACCESS.get(trouble.code)
        if why is not None and self.access_refused == "wait":
            closed = TargetClosed(target.name, 0, Closed(why, self.access_open_s))
            return replace(trouble, retry=True, charged=False, closed=closed)
        if trouble.code == "account_closed" and self.access_refused == "fail":
            return replace(trouble, retry=False, closed=None)
        return trouble


_ANY_WINDOW = 2**62
"""Of a model whose window is not known: it may be asked."""


def _names(when: Condition | None, code: str) -> bool:
    return when is not None and when.after is not None and code in when.after


def _below(attempt: Attempt, entry: Entry, got: Succeeded) -> Succeeded | None:
    """The answer as it is worth when its entry's gate does not let it through; None when it does."""
    gate = entry.gate
    assert gate is not None
    confidence = None if gate.min_confidence is None else attempt.task.confidence(attempt.asked, got.output)
    if gate.passes(got.quality, confidence):
        return None
    if RANK[got.quality] > RANK[gate.quality]:
        return got
    return replace(got, quality=Quality.SUSPECT, reasons=(*got.reasons, LOW_CONFIDENCE))


def _better(in_hand: Succeeded | None, got: Succeeded) -> Succeeded:
    """The one of better quality; of equal ones the later, whose target is the stronger."""
    return got if in_hand is None or RANK[got.quality] <= RANK[in_hand.quality] else in_hand
