"""Budgets: all scopes or none, settled once, never beyond the limit whatever the order."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from penstock_schemas import keys
from penstock_schemas.budgets import Budget, Limit
from tests.support.budgets import BudgetScripts

NOON_MS = int(datetime(2026, 11, 21, 12, 30, tzinfo=UTC).timestamp() * 1000)
MIDNIGHT_MS = int(datetime(2026, 11, 22, tzinfo=UTC).timestamp() * 1000)
DAY, MONTH = "day:2026-11-21", "month:2026-11"
LIMITS = {
    "tenant:acme": Budget({"day": Limit(nanousd=100)}),
    "global": Budget({"month": Limit(nanousd=150, tokens=1_000)}, "degrade"),
}
REFUSING = {"tenant:acme": Budget({"day": Limit(nanousd=100)}, "refuse")}


@pytest.fixture
def server(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def budgets(server: Redis) -> BudgetScripts:
    return BudgetScripts(server, LIMITS)


def test_a_hold_takes_from_every_scope(budgets: BudgetScripts) -> None:
    """What may be spent is held in each scope that applies."""
    assert budgets.hold("1.1.1", 60, tokens=300, now_ms=NOON_MS) is None
    assert budgets.read("tenant:acme", DAY)["held"] == 60
    assert budgets.read("global", MONTH)["held"] == 60
    assert budgets.read("global", MONTH)["tokens_held"] == 300


def test_a_hold_that_does_not_fit_everywhere_touches_nothing(budgets: BudgetScripts) -> None:
    """The narrowest scope decides, and says when its window turns."""
    assert budgets.hold("1.1.1", 60, now_ms=NOON_MS) is None
    assert budgets.hold("1.1.2", 60, now_ms=NOON_MS) == ("tenant:acme", MIDNIGHT_MS, "wait")
    assert budgets.read("global", MONTH)["held"] == 60
    assert budgets.read("global", MONTH)["calls"] == 1


def test_tokens_are_limited_apart_from_money(budgets: BudgetScripts) -> None:
    """A call that costs nothing still has tokens."""
    refused = budgets.hold("1.1.1", 0, tokens=1_001, now_ms=NOON_MS)
    assert refused is not None
    assert (refused[0], refused[2]) == ("global", "degrade")


def test_a_settled_call_frees_what_it_did_not_need(budgets: BudgetScripts) -> None:
    """Held becomes spent; the rest is free again."""
    budgets.hold("1.1.1", 90, now_ms=NOON_MS)
    budgets.settle("1.1.1", 20)
    assert budgets.read("tenant:acme", DAY) | {"calls": 0} == dict.fromkeys(budgets.read("x", DAY), 0) | {"spent": 20}
    assert budgets.hold("1.1.2", 80, now_ms=NOON_MS) is None


def test_what_is_unknown_stays_uncertain_until_it_is_told(budgets: BudgetScripts) -> None:
    """A call without an end keeps its hold's amount off the budget; its late end replaces it."""
    budgets.hold("1.1.1", 90, now_ms=NOON_MS)
    budgets.settle("1.1.1", 0, uncertain=90)
    assert budgets.hold("1.1.2", 11, now_ms=NOON_MS) is not None
    budgets.settle("1.1.1", 30)
    row = budgets.read("tenant:acme", DAY)
    assert (row["spent"], row["uncertain"], row["held"]) == (30, 0, 0)


def test_a_cost_above_the_hold_is_an_overrun(budgets: BudgetScripts) -> None:
    """It is spent in full, and the part that was not held is flagged."""
    budgets.hold("1.1.1", 90, now_ms=NOON_MS)
    budgets.settle("1.1.1", 130)
    row = budgets.read("tenant:acme", DAY)
    assert (row["spent"], row["overrun"]) == (130, 40)


def test_a_hold_is_settled_into_the_window_it_was_made_in(budgets: BudgetScripts) -> None:
    """A call over midnight counts for the day it was sent."""
    assert budgets.hold("1.1.1", 90, now_ms=MIDNIGHT_MS - 1) is None
    assert budgets.hold("1.1.2", 50, now_ms=MIDNIGHT_MS + 1) is None
    budgets.settle("1.1.1", 10)
    assert budgets.read("tenant:acme", DAY)["spent"] == 10
    assert budgets.read("tenant:acme", "day:2026-11-22")["spent"] == 0


def test_a_limit_that_is_changed_holds_from_the_next_call_on(budgets: BudgetScripts) -> None:
    """Nobody is told: the script reads it."""
    assert budgets.hold("1.1.1", 90, now_ms=NOON_MS) is None
    assert budgets.hold("1.1.2", 20, now_ms=NOON_MS) is not None
    budgets.set("tenant:acme", Budget({"day": Limit(nanousd=110)}))
    assert budgets.hold("1.1.2", 20, now_ms=NOON_MS) is None


@pytest.mark.parametrize(
    ("scopes", "counted"),
    [
        (("tenant:*",), ("tenant:acme",)),
        (("tenant:*", "tenant:acme"), ("tenant:acme",)),
        (("user:*",), ("user:acme/ann@example.com",)),
        (("user:acme/*", "user:*"), ("user:acme/ann@example.com",)),
        (("user:acme/ann@example.com", "task:summarize"), ("user:acme/ann@example.com", "task:summarize")),
        (("prompt:summarize@1",), ("prompt:summarize@1",)),
        (("user:acme/bob", "tenant:other", "task:classify", "prompt:summarize@2"), ()),
    ],
)
def test_a_call_counts_against_each_scope_that_is_its_own(
    server: Redis, scopes: tuple[str, ...], counted: tuple[str, ...]
) -> None:
    """One for all has an amount for each, and does not hold for who has one of its own."""
    budgets = BudgetScripts(server, dict.fromkeys(scopes, Budget({"day": Limit(nanousd=100)})))
    assert budgets.hold("1.1.1", 60, now_ms=NOON_MS, user="ann@example.com") is None
    refused = budgets.hold("1.1.2", 60, now_ms=NOON_MS, user="ann@example.com")
    assert (refused is not None) == bool(counted)
    taken = [name.decode() for name in server.scan_iter(match=keys.budget("*", "*"))]
    assert sorted(taken) == sorted(keys.budget(scope, DAY) for scope in counted)


def test_users_of_two_tenants_are_two_users(server: Redis) -> None:
    """Though they have the same id."""
    budgets = BudgetScripts(server, {"user:*": Budget({"day": Limit(nanousd=100)})})
    assert budgets.hold("1.1.1", 90, now_ms=NOON_MS, user="1") is None
    assert budgets.hold("1.1.2", 90, now_ms=NOON_MS, user="1", tenant="other") is None
    assert budgets.hold("1.1.3", 90, now_ms=NOON_MS, user="1") is not None


def test_a_job_draws_on_what_was_held_when_it_was_accepted(server: Redis) -> None:
    """Its call needs no room of its own; what the call did not need the job has again, and its end frees."""
    budgets = BudgetScripts(server, REFUSING)
    assert budgets.hold_job("a", 60, now_ms=NOON_MS) is None
    assert budgets.hold_job("b", 40, now_ms=NOON_MS) is None
    assert budgets.hold_job("c", 1, now_ms=NOON_MS) == ("tenant:acme", MIDNIGHT_MS, "refuse")
    assert budgets.hold("1.1.1", 50, now_ms=NOON_MS, job="a") is None
    assert budgets.read("tenant:acme", DAY)["held"] == 100
    budgets.settle("1.1.1", 20, job="a")
    assert budgets.hold("1.1.2", 40, now_ms=NOON_MS, job="a") is None
    row = budgets.read("tenant:acme", DAY)
    assert (row["spent"], row["held"]) == (20, 80)
    budgets.settle("1.1.2", 40, job="a")
    budgets.release("a")
    budgets.release("b")
    row = budgets.read("tenant:acme", DAY)
    assert (row["spent"], row["held"], row["overrun"]) == (60, 0, 0)


def test_a_call_that_needs_more_than_its_job_holds_takes_the_rest_of_the_budget(server: Redis) -> None:
    """Or waits, when there is no rest."""
    budgets = BudgetScripts(server, REFUSING)
    assert budgets.hold_job("a", 60, now_ms=NOON_MS) is None
    assert budgets.hold("1.1.1", 101, now_ms=NOON_MS, job="a") is not None
    assert budgets.hold("1.1.1", 70, now_ms=NOON_MS, job="a") is None
    assert budgets.read("tenant:acme", DAY)["held"] == 70


def test_a_job_that_starts_in_the_next_window_counts_there(server: Redis) -> None:
    """What it held in the old one is freed by its end."""
    budgets = BudgetScripts(server, REFUSING)
    assert budgets.hold_job("a", 60, now_ms=MIDNIGHT_MS - 1) is None
    assert budgets.hold("1.1.1", 60, now_ms=MIDNIGHT_MS, job="a") is None
    budgets.settle("1.1.1", 10, job="a")
    budgets.release("a")
    assert budgets.read("tenant:acme", DAY) | {"calls": 0} == dict.fromkeys(budgets.read("x", DAY), 0)
    assert budgets.read("tenant:acme", "day:2026-11-22")["spent"] == 10


def test_a_budget_tells_once_that_it_is_nearly_and_that_it_is_quite_spent(server: Redis) -> None:
    """In each window; by what is spent or may be, and by a call that has no room."""
    budgets = BudgetScripts(server, {"tenant:acme": Budget({"day": Limit(nanousd=100)})})
    for number, cost in enumerate((70, 9, 1, 1), 1):
        assert budgets.hold(f"1.1.{number}", cost, now_ms=NOON_MS) is None
        budgets.settle(f"1.1.{number}", cost, now_ms=NOON_MS)
    assert budgets.alerts() == [("budget_80_percent", "tenant:acme")]
    for _ in range(2):
        assert budgets.hold("1.1.9", 20, now_ms=NOON_MS) is not None
    assert budgets.alerts() == [("budget_80_percent", "tenant:acme"), ("budget_spent", "tenant:acme")]
    budgets.hold("1.1.9", 101, now_ms=MIDNIGHT_MS)
    assert len(budgets.alerts()) == 3


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
    """Jobs that hold, calls, settlements, late ends and ends of jobs in any order, beside a model in plain Python."""

    client: Redis

    @initialize()
    def start(self) -> None:
        self.client.flushdb()
        self.scripts = BudgetScripts(self.client, {**LIMITS, **REFUSING})
        self.model = {"spent": 0, "uncertain": 0, "overrun": 0}
        self.left: dict[str, int] = {}
        """Open job -> what it holds that its calls have not drawn."""
        self.held: dict[tuple[str, str], tuple[int, int]] = {}
        """Job and call -> what it holds, and how much of that it has drawn from its job."""
        self.unknown: dict[tuple[str, str], int] = {}
        self.made = 0

    @property
    def taken(self) -> int:
        return sum(self.left.values()) + sum(amount for amount, _ in self.held.values())

    @rule(amount=st.integers(0, 60))
    def accept(self, amount: int) -> None:
        self.made += 1
        fits = self.model["spent"] + self.model["uncertain"] + self.taken + amount <= 100
        assert (self.scripts.hold_job(f"job{self.made}", amount, now_ms=NOON_MS) is None) == fits
        if fits:
            self.left[f"job{self.made}"] = amount

    @rule(data=st.data(), amount=st.integers(0, 120))
    def hold(self, data: st.DataObject, amount: int) -> None:
        self.made += 1
        job, call_id = data.draw(st.sampled_from(["another", *sorted(self.left)])), f"1.1.{self.made}"
        draw = min(self.left.get(job, 0), amount)
        room = self.model["spent"] + self.model["uncertain"] + self.taken + amount - draw <= 100
        taken_by_calls = self.model["spent"] + self.model["uncertain"] + sum(held for held, _ in self.held.values())
        drawn = 0 < amount == draw and taken_by_calls + amount <= 150  # jobs hold nothing of the global budget
        refused = self.scripts.hold(call_id, amount, now_ms=NOON_MS, job=job)
        assert (refused is None) == (room or drawn)
        if refused is None:
            self.held[job, call_id] = amount, draw
            if job in self.left:
                self.left[job] -= draw

    def _draw_held(self, data: st.DataObject) -> tuple[tuple[str, str], int, int]:
        place = data.draw(st.sampled_from(sorted(self.held)))
        return place, *self.held.pop(place)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), cost=st.integers(0, 150))
    def settle(self, data: st.DataObject, cost: int) -> None:
        (job, call_id), amount, draw = self._draw_held(data)
        self.scripts.settle(call_id, cost, job=job)
        self.model["overrun"] += max(0, cost - amount)
        self.model["spent"] += cost
        if job in self.left:
            self.left[job] += max(0, min(draw, amount - cost))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        (job, call_id), amount, _ = self._draw_held(data)
        self.unknown[job, call_id] = amount
        self.scripts.settle(call_id, 0, uncertain=amount, job=job)
        self.model["uncertain"] += amount

    @precondition(lambda self: self.unknown)
    @rule(data=st.data(), cost=st.integers(0, 150))
    def tell_late(self, data: st.DataObject, cost: int) -> None:
        job, call_id = data.draw(st.sampled_from(sorted(self.unknown)))
        amount = self.unknown.pop((job, call_id))
        self.scripts.settle(call_id, cost, job=job)
        if amount > 0:  # of what left nothing uncertain nothing more is told
            self.model["uncertain"] -= amount
            self.model["spent"] += cost
            self.model["overrun"] += max(0, cost - amount)

    @precondition(lambda self: self.left)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.left)))
        self.scripts.release(job)
        del self.left[job]

    @invariant()
    def adds_up(self) -> None:
        row = self.scripts.read("tenant:acme", DAY)
        assert {name: row[name] for name in self.model} == self.model
        assert row["held"] == self.taken
        assert row["spent"] + row["uncertain"] + row["held"] <= 100 + row["overrun"]
        whole = self.scripts.read("global", MONTH)
        assert {name: whole[name] for name in self.model} == self.model
        assert whole["held"] == sum(amount for amount, _ in self.held.values())


def test_no_order_of_holds_and_settlements_breaks_a_budget(server: Redis) -> None:
    """The real script agrees with a plain model after every step."""
    machine = type("Machine", (BudgetMachine,), {"client": server})
    run_state_machine_as_test(machine, settings=settings(max_examples=60, stateful_step_count=30, deadline=None))
