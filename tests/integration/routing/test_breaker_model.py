"""The breaker against a model of it in a few lines of Python, over any order of asks, ends and time."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from redis import Redis

from penstock_store.scripts import load_include
from penstock_worker.routing.policy import BUCKETS, BreakerPolicy, Policy

POLICY = BreakerPolicy(
    window_s=6.0, min_calls=6, failure_ratio=0.5, all_failed_calls=3, open_s=1.0, max_open_s=8.0, probes=2
)
KEY, LEASE_MS, START_MS = "penstock:breaker:a/b", 20_000, 4_000_000_000_000
PART_MS = int(POLICY.window_s * 1000) // BUCKETS
ABOUT = Policy(POLICY).lua() + load_include("penstock_worker.routing", "breaker")
ASK = (
    ABOUT
    + """
local key, id, now = KEYS[1], ARGV[1], tonumber(ARGV[2])
local verdict, at = breaker_ask(key, RULE.probes, now)
if verdict == "probe" then breaker_probe(key, id, tonumber(ARGV[3]), now) end
return {verdict, at or 0}
"""
)
REPORT = ABOUT + "breaker_report(KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), RULE.probes, tonumber(ARGV[4]))"


@dataclass
class Model:
    """What the breaker should be."""

    state: str = "closed"
    until: int = 0
    repeats: int = 0
    closed_at: int | None = None
    tried_at: int = 0
    passed: int = 0
    probes: dict[str, int] = field(default_factory=dict)
    ends: list[tuple[int, str]] = field(default_factory=list)

    def ask(self, call: str, now: int) -> str:
        if self.state == "closed":
            return "pass"
        if self.state == "open":
            if now < self.until:
                return "closed"
            self.state, self.tried_at, self.passed, self.probes = "half", now, 0, {}
        self.probes = {name: end for name, end in self.probes.items() if end > now}
        if len(self.probes) + self.passed >= POLICY.probes:
            return "closed"
        self.probes[call] = now + LEASE_MS
        return "probe"

    def report(self, call: str, what: str, wait_ms: int, now: int) -> None:
        if self.state == "closed":
            self._count(what, wait_ms, now)
        elif self.state == "open":
            if what != "ok":
                self.until = max(self.until, now + wait_ms)
        else:
            probed = self.probes.pop(call, None) is not None
            if what == "trip" or (probed and what == "bad"):
                self._open(what, wait_ms, now)
            elif probed and what == "ok":
                self.passed += 1
                if self.passed == POLICY.probes:
                    self.state, self.closed_at, self.ends = "closed", now, []

    def _count(self, what: str, wait_ms: int, now: int) -> None:
        if what == "trip":
            self._open(what, wait_ms, now)
        elif what != "abort":
            self.ends.append((now // PART_MS, what))
            seen = Counter(kind for part, kind in self.ends if now // PART_MS - part < BUCKETS)
            rate = seen.total() >= POLICY.min_calls and seen["bad"] >= POLICY.failure_ratio * seen.total()
            if what == "bad" and (rate or (seen["ok"] == 0 and seen["bad"] >= POLICY.all_failed_calls)):
                self._open(what, wait_ms, now)

    def _open(self, what: str, wait_ms: int, now: int) -> None:
        if self.state == "closed" and (self.closed_at is None or now - self.closed_at > POLICY.window_s * 1000):
            self.repeats = 0
        first, most = (
            (POLICY.access_open_s, POLICY.max_access_open_s) if what == "trip" else (POLICY.open_s, POLICY.max_open_s)
        )
        open_ms = max(min(most, first * 2**self.repeats) * 1000, wait_ms)
        before = 0 if self.state == "closed" else self.until
        self.state, self.until, self.ends = "open", max(before, now + int(open_ms)), []
        self.repeats += 1


class Breaker(RuleBasedStateMachine):
    """Two workers' calls, in any order."""

    redis: Redis

    def __init__(self) -> None:
        super().__init__()
        self.redis.flushdb()
        self.model, self.now, self.calls = Model(), START_MS, 0

    @rule()
    def ask(self) -> None:
        """A call is let through, as a probe or not, or is refused, as the model says."""
        self.calls += 1
        verdict, at = self._eval(ASK, f"call-{self.calls}", self.now, LEASE_MS)
        assert verdict.decode() == self.model.ask(f"call-{self.calls}", self.now)
        assert verdict != b"closed" or at > self.now

    @rule(what=st.sampled_from(["ok", "bad", "bad", "abort", "trip"]), wait_ms=st.sampled_from([0, 0, 0, 3_000]))
    def end_of_old_call(self, what: str, wait_ms: int) -> None:
        """Of a call that nobody counts as a probe."""
        self._report("old", what, wait_ms)

    @rule()
    def outage(self) -> None:
        """As many failures as open it."""
        for _ in range(POLICY.all_failed_calls):
            self._report("old", "bad", 0)

    @rule()
    def failed_probe(self) -> None:
        """Wait till it may be tried, try, and fail."""
        self.wait_till_open()
        self.ask()
        if self.model.probes:
            self._report(sorted(self.model.probes)[-1], "bad", 0)

    @rule(data=st.data(), what=st.sampled_from(["ok", "ok", "bad", "abort", "trip"]))
    def end_of_probe(self, data: st.DataObject, what: str) -> None:
        """Of a probe that is out, or whose time is over and which nobody has replaced."""
        if self.model.probes:
            self._report(data.draw(st.sampled_from(sorted(self.model.probes))), what, 0)

    @rule(ms=st.sampled_from([1, 400, 1_000, 2_500, 7_000, 30_000]))
    def pass_time(self, ms: int) -> None:
        """Time moves in steps that cross the parts of the window, openings and leases."""
        self.now += ms

    @rule()
    def wait_till_open(self) -> None:
        """To the very moment at which probes may be sent."""
        if self.model.state == "open":
            self.now = max(self.now, self.model.until)

    @invariant()
    def stored_is_the_model(self) -> None:
        """State, moment and number of probes are those of the model, and never more probes than allowed."""
        stored: Any = self.redis.hgetall(KEY)
        row = {name.decode(): value.decode() for name, value in stored.items()}
        assert row.get("state", "closed") == self.model.state
        if self.model.state != "closed":
            assert int(row["until"]) == self.model.until
        live = [name for name, value in row.items() if name.startswith("probe:") and int(value) > self.now]
        assert len(live) <= POLICY.probes
        assert self._eval("return redis.call('PTTL', KEYS[1])") != -1

    def _eval(self, text: str, *args: str | int) -> Any:
        return self.redis.eval(text, 1, KEY, *map(str, args))

    def _report(self, call: str, what: str, wait_ms: int) -> None:
        self._eval(REPORT, call, what, wait_ms, self.now)
        self.model.report(call, what, wait_ms, self.now)


@pytest.fixture
def machine(redis_url: str) -> Iterator[type[Breaker]]:
    """The state machine on this test's database."""
    with Redis.from_url(redis_url) as client:
        yield type("BreakerOnRedis", (Breaker,), {"redis": client})


def test_the_breaker_is_its_model(machine: type[Breaker]) -> None:
    """Whatever happens in whatever order."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=80, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
