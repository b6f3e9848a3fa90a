"""One attempt, from a claimed record to an outcome.

    for each target of the route:  ask ─► call ─► judge ─┬─► succeeded
                                    ▲                    │
                                    └── one remedy ◄─────┤
                                                         └─► trouble ─► next target
    no target left:  retry later, or the task's fallback, or dead
    too long for every target:  in parts, each of them a walk like this one

The way along the route is :mod:`.walking`'s, work in parts :mod:`.parting`'s, one target :mod:`.asking`'s, one call
:mod:`.calling`'s; what becomes of troubles is decided in :mod:`.deciding`. Nothing here writes the outcome: that is
:mod:`.writing`'s.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from penstock_schemas.results import JobFailure
from penstock_worker.attempt.asking import first_request
from penstock_worker.attempt.attempt import Attempt
from penstock_worker.attempt.calling import Caller, NotCalled
from penstock_worker.attempt.deciding import (
    LATE,
    decide,
    give_up,
    in_the_way,
    opens_first,
    own_wait_s,
)
from penstock_worker.attempt.outcome import Cancelled, HandBack, Lost, Outcome, Retry, Succeeded
from penstock_worker.attempt.parting import Parting, begun_in_parts, wants_parts
from penstock_worker.attempt.store import Parked
from penstock_worker.attempt.walking import Walk, Walker
from penstock_worker.money.budgets import BudgetSpent
from penstock_worker.routing.closed import TargetClosed
from penstock_worker.routing.conditions import TOO_LONG

LOOK_AGAIN_S = 600.0
"""After how long a job that waits for a budget looks again at the soonest, unless the window turns before."""

TURN_SPREAD_S = 5.0
"""Over how long the jobs that waited for a budget are spread when its window turns."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The steps of an attempt and what they need; one for all attempts of a process."""

    walker: Walker
    luck: random.Random = field(default_factory=random.SystemRandom)

    async def run(self, attempt: Attempt) -> Outcome:
        """Work the attempt out. Raises only what cancels it."""
        walk = Walk(attempt, first_request(attempt))
        try:
            got = None if begun_in_parts(attempt) else await self.walker.run(walk)
            if got is None and wants_parts(walk):
                return await self._in_parts(walk)
        except NotCalled as stop:
            return await self._not_called(attempt, stop, walk)
        return got or await self.without(walk)

    async def _in_parts(self, walk: Walk) -> Outcome:
        got = await Parting(self.walker).answer(walk.attempt)
        if isinstance(got, Succeeded):
            return got
        if isinstance(got, JobFailure) and not (got.code == TOO_LONG and walk.troubles):
            return await give_up(walk.attempt, got)
        if not isinstance(got, JobFailure):
            walk.troubles = got
        return await self.without(walk)

    async def without(self, walk: Walk) -> Outcome:
        """What becomes of an attempt whose walk gave no answer."""
        attempt = walk.attempt
        if (spent := in_the_way(walk.troubles)) is not None:
            return await self._over_budget(attempt, spent)
        decided = decide(attempt, walk.troubles, self.luck.random())
        if isinstance(decided, JobFailure):
            return await give_up(attempt, decided)
        first = opens_first(walk.troubles)
        return decided if first is None else await self._park(attempt, decided, first)

    async def _park(self, attempt: Attempt, retry: Retry, closed: TargetClosed) -> Outcome:
        """Wait for the target that opens first, in its line."""
        store, deadline_at_ms = self._caller.store, attempt.deadline_at_ms
        parked, due_at_ms = await store.park(attempt.lease, closed.target, closed.tokens, deadline_at_ms)
        if parked is Parked.LOST:
            return Lost()
        if parked is Parked.TOO_LATE:
            why = closed.closed.why
            return await give_up(attempt, JobFailure(code="deadline_exceeded", message=LATE, last_error=why))
        wait_s, own_s = (due_at_ms - attempt.now_ms()) / 1000, own_wait_s(attempt, self.luck.random())
        why = closed.closed.why
        if own_s > wait_s:
            return replace(retry, delay_s=own_s, reason=why)
        return replace(retry, delay_s=max(0.0, wait_s), reason=why, due_at_ms=due_at_ms)

    async def _over_budget(self, attempt: Attempt, spent: BudgetSpent) -> Outcome:
        """Wait until the budget's window turns, or do without a model, as the budget's policy says."""
        failure = JobFailure(code=spent.code, message=_SPENT[spent.code].format(scope=spent.scope))
        if spent.when_spent == "degrade" or attempt.late_by(spent.wait_s):
            return await give_up(attempt, failure)
        return Retry(looks_again_s(attempt, spent.wait_s, self.luck.random()), failure.code, charged=False)

    async def _not_called(self, attempt: Attempt, stop: NotCalled, walk: Walk) -> Outcome:
        if stop.why == "lost":
            return Lost()
        if stop.why == "cancelled":
            return Cancelled()
        if stop.why == "leaving":
            return HandBack()
        last = walk.last.code if walk.last else attempt.journal.last_error
        return await give_up(attempt, JobFailure(code=stop.why, message=_REFUSED[stop.why], last_error=last))

    @property
    def _caller(self) -> Caller:
        return self.walker.asker.caller


def looks_again_s(attempt: Attempt, wait_s: float, luck: float) -> float:
    """How long to wait for a window that turns in *wait_s*: a little beyond, or less, since its limit may be raised.

    Not before ten minutes and half the job's age: some twenty looks in a month.
    """
    age_s = (attempt.now_ms() - attempt.created_at_ms) / 1000
    look_s = max(LOOK_AGAIN_S, age_s / 2) * (1 - 0.2 * luck)
    return min(look_s, wait_s + luck * TURN_SPREAD_S)


_SPENT = {
    "budget_exceeded": "The budget {scope} has no room for the next call.",
    "cost_breaker_open": "Calls of {scope} cost far more than usual, and are stopped until its window turns.",
}
_REFUSED = {"envelope_spent": "The run has made as many provider calls as it may."}
