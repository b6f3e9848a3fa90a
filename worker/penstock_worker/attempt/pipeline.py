"""One attempt, from a claimed record to an outcome.

    for each target of the route:  ask ─► call ─► judge ─┬─► succeeded
                                    ▲                    │
                                    └── one remedy ◄─────┤
                                                         └─► trouble ─► next target
    no target left:  retry later, or the task's fallback, or dead

One target is :mod:`.asking`'s, one call :mod:`.calling`'s; what becomes of troubles is decided in :mod:`.deciding`.
Nothing here writes the outcome: that is :mod:`.writing`'s.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from penstock_schemas.results import JobFailure
from penstock_worker.attempt.asking import Asker, first_request
from penstock_worker.attempt.attempt import Attempt
from penstock_worker.attempt.calling import Caller, NotCalled
from penstock_worker.attempt.deciding import LATE, Trouble, decide, give_up, opens_first
from penstock_worker.attempt.outcome import Cancelled, Lost, Outcome, Retry, Succeeded
from penstock_worker.attempt.store import Parked
from penstock_worker.money.budgets import BudgetSpent
from penstock_worker.routing.closed import TargetClosed

TURN_SPREAD_S = 5.0
"""Over how long the jobs that waited for a budget are spread when its window turns."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The steps of an attempt and what they need; one for all attempts of a process."""

    asker: Asker
    luck: random.Random = field(default_factory=random.SystemRandom)

    async def run(self, attempt: Attempt) -> Outcome:
        """Work the attempt out. Raises only what cancels it."""
        troubles: list[Trouble] = []
        try:
            for target in attempt.route.targets:
                if attempt.late_by():
                    break
                got = await self.asker.ask(attempt, target, first_request(attempt))
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
        store, deadline_at_ms = self._caller.store, attempt.deadline_at_ms
        parked, wait_s = await store.park(attempt.lease, closed.target, closed.tokens, deadline_at_ms)
        if parked is Parked.LOST:
            return Lost()
        if parked is Parked.TOO_LATE:
            why = closed.closed.why
            return await give_up(attempt, JobFailure(code="deadline_exceeded", message=LATE, last_error=why))
        return replace(retry, delay_s=wait_s, reason=closed.closed.why)

    async def _over_budget(self, attempt: Attempt, spent: BudgetSpent) -> Outcome:
        """Wait until the budget's window turns, or do without a model, as the budget's policy says."""
        failure = JobFailure(code="budget_exceeded", message=f"The budget {spent.scope} has no room for the next call.")
        if self._caller.budgets.when_spent(spent.scope) == "degrade" or attempt.late_by(spent.wait_s):
            return await give_up(attempt, failure)
        return Retry(spent.wait_s + self.luck.random() * TURN_SPREAD_S, failure.code, charged=False)

    async def _not_called(self, attempt: Attempt, stop: NotCalled, troubles: list[Trouble]) -> Outcome:
        if stop.why == "lost":
            return Lost()
        if stop.why == "cancelled":
            return Cancelled()
        last = troubles[-1].code if troubles else attempt.journal.last_error
        return await give_up(attempt, JobFailure(code=stop.why, message=_REFUSED[stop.why], last_error=last))

    @property
    def _caller(self) -> Caller:
        return self.asker.caller


_REFUSED = {
    "envelope_spent": "The run has made as many provider calls as it may.",
    "over_budget": "The next call might cost more than the job's limit leaves.",
    "unknown_price": "The job has a cost limit, and the price of the model is unknown.",
}
