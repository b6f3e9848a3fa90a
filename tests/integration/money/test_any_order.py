"""Budgets under the real scripts of producers and workers, in any order, with workers that die anywhere."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis.asyncio import Redis

from penstock import BudgetExceededError, JobHandle, Producer, Summarize
from penstock_schemas import keys
from penstock_schemas.budgets import Budget, Limit
from penstock_schemas.results import JobFailure, usd
from penstock_worker.attempt.store import Intended
from penstock_worker.engine.lease import Lease
from penstock_worker.money.budgets import BudgetSpent, Hold
from tests.support.jobs import HandWorker, lapse

LIMITS = {
    "tenant:acme": Budget({"month": Limit(nanousd=100)}, "refuse"),
    "user:acme/*": Budget({"month": Limit(nanousd=130)}, "refuse"),
    "global": Budget({"month": Limit(nanousd=150)}),
}
ABOUT = {"tenant": "acme", "task": "summarize", "target": "openai/gpt-4o-mini", "prompt": "summarize@1"}
INTENT = {**ABOUT, "route": "default", "purpose": "ask", "at_ms": 7, "held_tokens": 9}
FAILURE = JobFailure(code="corrupt_record", message="Unreadable.")


@dataclass
class Call:
    """A call, and what the books should say of it."""

    lease: Lease
    """Of the worker that made it."""
    id: str
    held: int
    kind: str | None = None
    cost: int = 0
    uncertain: int = 0

    def told(self, kind: str, cost: int, uncertain: int) -> None:
        """Its end, or a better one."""
        self.kind, self.cost, self.uncertain = kind, cost, uncertain

    @property
    def overrun(self) -> int:
        return max(0, self.cost + self.uncertain - self.held) if self.kind else 0


class Machine(RuleBasedStateMachine):
    """Producers and workers that do what they like, one step at a time; beside them, the sums as they should be."""

    url: str
    runner: asyncio.Runner

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    @initialize()
    def start(self) -> None:
        self.redis: Any = Redis.from_url(self.url)
        self.producer = Producer(self.url, tenant="acme", user="ann@example.com")
        self.worker = HandWorker(self.redis, lease_s=3_600)
        self.jobs: dict[str, JobHandle[Any]] = {}
        """Those that are open, oldest first, as in all that follow."""
        self.leases: dict[str, Lease] = {}
        """Job -> the lease that is good."""
        self.calls: list[Call] = []
        self.do(self._set_up())

    async def _set_up(self) -> None:
        await self.redis.flushdb()
        for scope, budget in LIMITS.items():
            await self.redis.hset(keys.BUDGETS, scope, budget.to_json("command"))

    def teardown(self) -> None:
        if hasattr(self, "redis"):
            self.do(self._end_all())

    async def _end_all(self) -> None:
        """When every job has ended, nothing is held."""
        while leases := [*self.leases.values(), *await self.worker.claim(99)]:
            for lease in leases:
                await self.worker.store.finish(lease, "dead", attempt={}, event={})
            self.leases.clear()
        for scope in LIMITS:
            assert (await self._row(scope)).get("held", 0) == 0
        await self.producer.aclose()
        await self.redis.aclose()

    async def _row(self, scope: str) -> dict[str, int]:
        counted = scope.replace("*", "ann@example.com")
        rows = [await self.redis.hgetall(name) async for name in self.redis.scan_iter(match=keys.budget(counted, "*"))]
        return {name.decode(): int(value) for row in rows for name, value in row.items()}

    @rule(bound=st.integers(0, 60))
    def enqueue(self, bound: int) -> None:
        try:
            job = self.do(self.producer.enqueue(Summarize(text="A mail."), max_cost_usd=usd(bound)))
        except BudgetExceededError:
            return
        self.jobs[job.id] = job

    @precondition(lambda self: self.jobs.keys() - self.leases.keys())
    @rule()
    def claim(self) -> None:
        for lease in self.do(self.worker.claim(1)):
            self.leases[lease.job_id] = lease

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), amount=st.integers(0, 80))
    def intend(self, data: st.DataObject, amount: int) -> None:
        lease = self._draw(data)
        call = Call(lease, f"1.1.{len(self.calls) + 1}", amount)
        intent = {**INTENT, "held_nanousd": amount}
        try:
            code = self.do(self.worker.store.intend(lease, call.id, intent, 99, hold=Hold(amount, 9)))
        except BudgetSpent:
            return
        if code is Intended.YES:
            self.calls.append(call)

    def _draw(self, data: st.DataObject) -> Lease:
        leases = list(self.leases.values())
        return leases[data.draw(st.integers(0, len(leases) - 1))]

    def _draw_call(self, data: st.DataObject) -> Call:
        told = [call for call in self.calls if call.kind in (None, "unknown")]
        return told[data.draw(st.integers(0, len(told) - 1))]

    @precondition(lambda self: any(call.kind in (None, "unknown") for call in self.calls))
    @rule(data=st.data(), cost=st.integers(0, 120), cut=st.booleans())
    def tell(self, data: st.DataObject, cost: int, cut: bool) -> None:
        """Its worker tells what a call came to, twice; also when it was taken for dead."""
        call = self._draw_call(data)
        kind, amounts = ("failed", (0, call.held)) if cut else ("answered", (cost, 0))
        for _ in range(2):
            self.do(self._settle(call.lease, call, kind, *amounts))
        call.told(kind, *amounts)

    @precondition(lambda self: any(call.kind is None for call in self.calls))
    @rule(data=st.data())
    def give_up_for_lost(self, data: st.DataObject) -> None:
        """The worker that has the job now does not know what an earlier one's call came to."""
        open_calls = [call for call in self.calls if call.kind is None]
        call = open_calls[data.draw(st.integers(0, len(open_calls) - 1))]
        if (lease := self.leases.get(call.lease.job_id)) is not None:
            self.do(self._settle(lease, call, "unknown", 0, call.held))
            call.told("unknown", 0, call.held)

    async def _settle(self, lease: Lease, call: Call, kind: str, cost: int, uncertain: int) -> None:
        await self.worker.store.settle(
            lease,
            call.id,
            kind,
            {"cost_nanousd": cost, "uncertain_nanousd": uncertain},
            cost_nanousd=cost,
            uncertain_nanousd=uncertain,
            ledger={"estimated": 0, **ABOUT},
            uncertain_tokens=9 if uncertain or kind == "unknown" else 0,
        )

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        """A worker is gone: its lease runs out, and the job can be claimed again."""
        self.do(lapse(self.redis, self.leases.pop(self._draw(data).job_id)))

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), how=st.sampled_from(["finish", "give back", "cancel", "bury"]))
    def leave(self, data: st.DataObject, how: str) -> None:
        lease = self._draw(data)
        self.do(self._leave(lease, how))
        del self.leases[lease.job_id]
        if how != "give back":
            del self.jobs[lease.job_id]
        for call in self.calls:  # who leaves the job settles what nobody has told the end of
            if call.lease.job_id == lease.job_id and call.kind is None:
                call.told("unknown", 0, call.held)

    async def _leave(self, lease: Lease, how: str) -> None:
        store = self.worker.store
        if how == "bury":
            assert await store.bury_corrupt(lease, FAILURE, 60.0)
        elif how == "give back":
            assert await store.reschedule(lease, delay_s=0, charged=False, attempt=None, reason="drain")
        else:
            if how == "cancel":
                await self.jobs[lease.job_id].cancel()
            assert await store.finish(lease, "cancelled" if how == "cancel" else "dead", attempt={}, event={})

    @invariant()
    def never_beyond_the_limit(self) -> None:
        if not hasattr(self, "redis"):
            return
        spent, uncertain = sum(call.cost for call in self.calls), sum(call.uncertain for call in self.calls)
        overrun = sum(call.overrun for call in self.calls)
        for scope, budget in LIMITS.items():
            row, limit = self.do(self._row(scope)), budget.limits["month"].nanousd or 0
            assert (row.get("spent", 0), row.get("uncertain", 0)) == (spent, uncertain), scope
            assert row.get("overrun", 0) >= overrun
            open_calls = sum(call.held for call in self.calls if call.kind is None)
            assert row.get("held", 0) >= open_calls
            assert spent + uncertain + row.get("held", 0) <= limit + row.get("overrun", 0)


def test_no_order_of_jobs_calls_and_deaths_breaks_a_budget(redis_url: str) -> None:
    """Spent and uncertain are what the calls came to; with what is held they are never beyond any limit."""
    with asyncio.Runner() as runner:
        machine = type("Any", (Machine,), {"url": redis_url, "runner": runner})
        run_state_machine_as_test(machine, settings=settings(max_examples=40, stateful_step_count=30, deadline=None))
