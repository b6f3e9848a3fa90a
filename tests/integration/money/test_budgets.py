"""Budgets: all scopes or none, settled once, never beyond the limit whatever the order."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from redis import Redis

from tests.support.budgets import BudgetScripts

NOON_MS = int(datetime(2026, 11, 21, 12, 30, tzinfo=UTC).timestamp() * 1000)
DAY = "day:2026-11-21"
ACME = ("tenant:acme", "day", 100, -1)
WHOLE = ("global", "month", 150, 1_000)


@pytest.fixture
def server(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def budgets(server: Redis) -> BudgetScripts:
    return BudgetScripts(server)


def test_a_hold_takes_from_every_scope(budgets: BudgetScripts) -> None:
    """What may be spent is held in each scope that applies."""
    assert budgets.hold("1.1.1", [ACME, WHOLE], 60, tokens=300, now_ms=NOON_MS) is None
    assert budgets.read("tenant:acme", DAY)["held"] == 60
    assert budgets.read("global", "month:2026-11")["held"] == 60
    assert budgets.read("global", "month:2026-11")["tokens_held"] == 300


def test_a_hold_that_does_not_fit_everywhere_touches_nothing(budgets: BudgetScripts) -> None:
    """The narrowest scope decides, and says when its window turns."""
    assert budgets.hold("1.1.1", [ACME, WHOLE], 60, now_ms=NOON_MS) is None
    ends_ms = int(datetime(2026, 11, 22, tzinfo=UTC).timestamp() * 1000)
    assert budgets.hold("1.1.2", [WHOLE, ACME], 60, now_ms=NOON_MS) == ("tenant:acme", ends_ms)
    assert budgets.read("global", "month:2026-11")["held"] == 60
    assert budgets.read("global", "month:2026-11")["calls"] == 1


def test_tokens_are_limited_apart_from_money(budgets: BudgetScripts) -> None:
    """A call that costs nothing still has tokens."""
    refused = budgets.hold("1.1.1", [WHOLE], 0, tokens=1_001, now_ms=NOON_MS)
    assert refused is not None
    assert refused[0] == "global"


def test_a_settled_call_frees_what_it_did_not_need(budgets: BudgetScripts) -> None:
    """Held becomes spent; the rest is free again."""
    budgets.hold("1.1.1", [ACME], 90, now_ms=NOON_MS)
    budgets.settle("1.1.1", 20)
    assert budgets.read("tenant:acme", DAY) | {"calls": 0} == dict.fromkeys(budgets.read("x", DAY), 0) | {"spent": 20}
    assert budgets.hold("1.1.2", [ACME], 80, now_ms=NOON_MS) is None


def test_what_is_unknown_stays_uncertain_until_it_is_told(budgets: BudgetScripts) -> None:
    """A call without an end keeps its hold's amount off the budget; its late end replaces it."""
    budgets.hold("1.1.1", [ACME], 90, now_ms=NOON_MS)
    budgets.settle("1.1.1", 0, uncertain=90)
    assert budgets.hold("1.1.2", [ACME], 11, now_ms=NOON_MS) is not None
    budgets.settle("1.1.1", 30)
    row = budgets.read("tenant:acme", DAY)
    assert (row["spent"], row["uncertain"], row["held"]) == (30, 0, 0)


def test_a_cost_above_the_hold_is_an_overrun(budgets: BudgetScripts) -> None:
    """It is spent in full, and the part that was not held is flagged."""
    budgets.hold("1.1.1", [ACME], 90, now_ms=NOON_MS)
    budgets.settle("1.1.1", 130)
    row = budgets.read("tenant:acme", DAY)
    assert (row["spent"], row["overrun"]) == (130, 40)


def test_a_hold_is_settled_into_the_window_it_was_made_in(budgets: BudgetScripts) -> None:
    """A call over midnight counts for the day it was sent."""
    before_midnight = int(datetime(2026, 11, 21, 23, 59, 59, tzinfo=UTC).timestamp() * 1000)
    budgets.hold("1.1.1", [ACME], 90, now_ms=before_midnight)
    assert budgets.hold("1.1.2", [ACME], 90, now_ms=before_midnight + 2_000) is None
    budgets.settle("1.1.1", 10)
    assert budgets.read("tenant:acme", DAY)["spent"] == 10
    assert budgets.read("tenant:acme", "day:2026-11-22")["spent"] == 0


@given(moment=st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - of the strategy
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_windows_are_those_of_the_calendar(budgets: BudgetScripts, moment: datetime) -> None:
    """Hour, day and month by UTC, named by their start."""
    now_ms = int(moment.timestamp()) * 1000
    following = datetime(moment.year + moment.month // 12, moment.month % 12 + 1, 1, tzinfo=UTC)
    assert budgets.window("month", now_ms) == (f"month:{moment:%Y-%m}", int(following.timestamp()) * 1000)
    assert budgets.window("day", now_ms) == (f"day:{moment:%Y-%m-%d}", (now_ms // 86_400_000 + 1) * 86_400_000)
    assert budgets.window("hour", now_ms) == (f"hour:{moment:%Y-%m-%dT%H}", (now_ms // 3_600_000 + 1) * 3_600_000)


class BudgetMachine(RuleBasedStateMachine):
    """Holds, settlements and late ends in any order, beside a model in plain Python."""

    client: Redis

    @initialize()
    def start(self) -> None:
        self.client.flushdb()
        self.scripts = BudgetScripts(self.client)
        self.model = {"spent": 0, "uncertain": 0, "overrun": 0}
        self.held: dict[str, int] = {}
        self.unknown: dict[str, int] = {}
        self.made = 0

    @rule(amount=st.integers(0, 120))
    def hold(self, amount: int) -> None:
        self.made += 1
        call_id = f"1.1.{self.made}"
        taken = self.model["spent"] + self.model["uncertain"] + sum(self.held.values())
        refused = self.scripts.hold(call_id, [ACME, WHOLE], amount, now_ms=NOON_MS)
        assert (refused is None) == (taken + amount <= 100)
        if refused is None:
            self.held[call_id] = amount

    @rule(data=st.data(), cost=st.integers(0, 150))
    def settle(self, data: st.DataObject, cost: int) -> None:
        if self.held:
            call_id = data.draw(st.sampled_from(sorted(self.held)))
            self.scripts.settle(call_id, cost)
            self.model["overrun"] += max(0, cost - self.held.pop(call_id))
            self.model["spent"] += cost

    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        if self.held:
            call_id = data.draw(st.sampled_from(sorted(self.held)))
            amount = self.unknown[call_id] = self.held.pop(call_id)
            self.scripts.settle(call_id, 0, uncertain=amount)
            self.model["uncertain"] += amount

    @rule(data=st.data(), cost=st.integers(0, 150))
    def tell_late(self, data: st.DataObject, cost: int) -> None:
        if self.unknown:
            call_id = data.draw(st.sampled_from(sorted(self.unknown)))
            amount = self.unknown.pop(call_id)
            self.scripts.settle(call_id, cost)
            self.model["uncertain"] -= amount
            self.model["spent"] += cost
            self.model["overrun"] += max(0, cost - amount)

    @invariant()
    def adds_up(self) -> None:
        for scope, window, limit in (("tenant:acme", DAY, 100), ("global", "month:2026-11", 150)):
            row = self.scripts.read(scope, window)
            assert {name: row[name] for name in self.model} == self.model
            assert row["held"] == sum(self.held.values())
            assert row["spent"] + row["uncertain"] + row["held"] <= limit + row["overrun"]


def test_no_order_of_holds_and_settlements_breaks_a_budget(server: Redis) -> None:
    """The real script agrees with a plain model after every step."""
    machine = type("Machine", (BudgetMachine,), {"client": server})
    run_state_machine_as_test(machine, settings=settings(max_examples=60, stateful_step_count=30, deadline=None))
