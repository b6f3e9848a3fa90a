"""The circuit breaker: when it opens, for how long, and who is let through after it."""

import pytest

from penstock_worker.routing.policy import BreakerPolicy, Policy
from tests.support.guards import ACCOUNT, TARGET, Guards, Verdict


async def fail(guards: Guards, times: int, what: str = "bad") -> None:
    for _ in range(times):
        await guards.report(what)


async def opened(guards: Guards) -> None:
    await fail(guards, 5)
    assert (await guards.breaker())["state"] == "open"


async def half_open(guards: Guards, call: str = "probe") -> None:
    """One probe is out."""
    await opened(guards)
    guards.pass_s(5)
    assert await guards.admit(call) == Verdict(5)


async def test_a_target_nobody_complained_of_is_open_and_leaves_no_key(guards: Guards) -> None:
    """The first call of all is let through, and asking writes nothing."""
    assert await guards.admit() == Verdict(1)
    assert await guards.redis.dbsize() == 0


async def test_failures_without_one_success_open_it(guards: Guards) -> None:
    """Four do not, the fifth does, for 5 s."""
    await fail(guards, 4)
    assert await guards.admit() == Verdict(1)
    await fail(guards, 1)
    assert await guards.admit() == Verdict(4, 5_000, "breaker_open")


async def test_half_of_too_few_calls_does_not_open_it(guards: Guards) -> None:
    """A rate over a handful of calls says nothing."""
    await fail(guards, 9, "ok")
    await fail(guards, 10)
    assert (await guards.admit()).admitted


async def test_half_of_enough_calls_opens_it(guards: Guards) -> None:
    """Ten of twenty."""
    await fail(guards, 10, "ok")
    await fail(guards, 9)
    assert (await guards.admit()).admitted
    await fail(guards, 1)
    assert not (await guards.admit()).admitted


async def test_failures_outside_the_window_do_not_count(guards: Guards) -> None:
    """What happened half a minute ago is forgotten, in the sums and in Redis."""
    await fail(guards, 4)
    guards.pass_s(30)
    await fail(guards, 4)
    assert (await guards.admit()).admitted
    assert len(await guards.breaker()) == 1


async def test_the_window_slides(guards: Guards) -> None:
    """Failures before and after the border between two parts of the window add up."""
    await fail(guards, 3)
    guards.pass_s(6)
    await fail(guards, 2)
    assert not (await guards.admit()).admitted


@pytest.mark.parametrize("what", ["throttled", "abort", "ok"])
async def test_what_does_not_speak_against_a_target_never_opens_it(guards: Guards, what: str) -> None:
    """Throttling is the gate's, and a call cut short says nothing."""
    await fail(guards, 100, what)
    assert "state" not in await guards.breaker()


async def test_a_refusal_of_the_model_opens_its_breaker_at_once(guards: Guards) -> None:
    """One answer is proof enough, for half a minute; other targets of the account go on."""
    await guards.report("trip")
    assert await guards.admit() == Verdict(4, 30_000, "breaker_open")
    assert (await guards.admit(target="openai/other")).admitted


async def test_a_refused_key_closes_the_whole_account_at_once(guards: Guards) -> None:
    """Every target of it, and none of another; the target's own breaker has nothing to do with it."""
    await guards.report("trip_account")
    assert await guards.admit() == Verdict(4, 30_000, "account_closed")
    assert not (await guards.admit(target="openai/other")).admitted
    assert (await guards.admit(target="azure/gpt")).admitted
    assert await guards.breaker() == {}


async def test_exactly_as_many_probes_as_allowed(guards: Guards) -> None:
    """Of a hundred who ask at the reopening three go through; the others are told to come back."""
    await opened(guards)
    guards.pass_s(5)
    verdicts = [await guards.admit() for _ in range(100)]
    assert [verdict.code for verdict in verdicts[:3]] == [5, 5, 5]
    assert {(verdict.code, verdict.in_ms) for verdict in verdicts[3:]} == {(4, 1_000)}


async def test_probes_that_go_well_close_it(guards: Guards) -> None:
    """Three successes, and calls are counted anew."""
    await opened(guards)
    guards.pass_s(5)
    for number in range(3):
        assert await guards.admit(f"probe-{number}") == Verdict(5)
    for number in range(3):
        await guards.report("ok", f"probe-{number}")
    assert "state" not in await guards.breaker()


async def test_a_probe_that_went_well_counts_against_the_number_of_probes(guards: Guards) -> None:
    """While it is half open no more calls start than are needed to close it."""
    await half_open(guards)
    await guards.report("ok", "probe")
    assert [(await guards.admit()).code for _ in range(3)] == [5, 5, 4]


async def test_a_probe_that_fails_opens_it_for_twice_as_long(guards: Guards) -> None:
    """5, 10, 20 … s, and never more than a minute."""
    await opened(guards)
    waits = []
    for _ in range(8):
        verdict = await guards.admit()
        waits.append(verdict.in_ms)
        guards.now_ms += verdict.in_ms
        assert await guards.admit("probe") == Verdict(5)
        await guards.report("bad", "probe")
    assert waits == [5_000, 10_000, 20_000, 40_000, 60_000, 60_000, 60_000, 60_000]


async def test_flapping_counts_as_going_on(guards: Guards) -> None:
    """A target that fails again soon after it closed is left alone for longer; after a calm window it is not."""
    await half_open(guards)
    for call in ("probe", "b", "c"):
        if call != "probe":
            await guards.admit(call)
        await guards.report("ok", call)
    guards.pass_s(1)
    await fail(guards, 5)
    assert (await guards.admit()).in_ms == 10_000


async def test_a_calm_window_is_forgiven(guards: Guards) -> None:
    """The next opening is as short as the first."""
    await half_open(guards)
    for call in ("probe", "b", "c"):
        if call != "probe":
            await guards.admit(call)
        await guards.report("ok", call)
    guards.pass_s(31)
    await fail(guards, 5)
    assert (await guards.admit()).in_ms == 5_000


async def test_a_probe_nobody_reports_gives_way_to_another(guards: Guards) -> None:
    """A worker that died with it does not keep the breaker half open."""
    await opened(guards)
    guards.pass_s(5)
    for _ in range(3):
        await guards.admit()
    guards.pass_s(60)
    assert [(await guards.admit()).code for _ in range(4)] == [5, 5, 5, 4]
    assert sum(name.startswith("probe:") for name in await guards.breaker()) == 3


async def test_a_late_report_of_a_lost_probe_changes_nothing(guards: Guards) -> None:
    """Its place was given to another, whose word counts."""
    await opened(guards)
    guards.pass_s(5)
    await guards.admit("lost")
    guards.pass_s(60)
    for _ in range(3):
        await guards.admit()
    before = await guards.breaker()
    await guards.report("ok", "lost")
    await guards.report("bad", "lost")
    assert await guards.breaker() == before


@pytest.mark.parametrize("what", ["abort", "throttled", "trip_account"])
async def test_a_probe_that_says_nothing_frees_its_place(guards: Guards, what: str) -> None:
    """Cancelled, cut short or throttled: another may try, and nothing is decided."""
    await half_open(guards)
    await guards.report(what, "probe")
    row = await guards.breaker()
    assert row["state"] == "half"
    assert row["passed"] == "0"
    assert "probe:probe" not in row


async def test_a_repeated_report_counts_once(guards: Guards) -> None:
    """The probe is gone with the first."""
    await half_open(guards)
    for _ in range(5):
        await guards.report("ok", "probe")
    assert (await guards.breaker())["passed"] == "1"


async def test_calls_from_before_the_opening_decide_nothing(guards: Guards) -> None:
    """Their failures neither lengthen the opening nor end the probing; their success does not close it."""
    await opened(guards)
    before = await guards.breaker()
    for what in ("bad", "ok", "abort"):
        await guards.report(what, "old")
    assert await guards.breaker() == before
    guards.pass_s(5)
    await guards.admit("probe")
    before = await guards.breaker()
    for what in ("bad", "ok", "abort"):
        await guards.report(what, "old")
    assert await guards.breaker() == before


async def test_the_end_of_an_opening_is_only_ever_put_off(guards: Guards) -> None:
    """A longer wait asked for by a late answer holds; a shorter one does not bring it forward."""
    await opened(guards)
    await guards.report("bad", wait_s=60)
    assert (await guards.admit()).in_ms == 60_000
    await guards.report("bad", wait_s=2)
    assert (await guards.admit()).in_ms == 60_000


async def test_who_asks_while_probes_take_long_is_told_to_wait_longer(guards: Guards) -> None:
    """A second at first, then as long as it has lasted, at most half a minute."""
    await opened(guards)
    guards.pass_s(5)
    for _ in range(3):
        await guards.admit()
    waits = []
    for passed_s in (0.5, 9.5, 40):
        guards.pass_s(passed_s)
        waits.append((await guards.admit()).in_ms)
    assert waits == [1_000, 10_000, 30_000]


async def test_an_account_is_tried_with_one_call_over_all_its_targets(guards: Guards) -> None:
    """Its success opens the account for all."""
    await guards.report("trip_account")
    guards.pass_s(30)
    assert await guards.admit("probe") == Verdict(5)
    assert (await guards.admit(target="openai/other")).why == "account_closed"
    await guards.report("ok", "probe")
    assert (await guards.admit(target="openai/other")).code == 1
    assert "state" not in await guards.breaker(ACCOUNT)


async def test_an_account_still_closed_stays_so_for_longer_but_at_most_a_minute(guards: Guards) -> None:
    """So that a key that was changed is noticed within that."""
    waits = []
    await guards.report("trip_account")
    for _ in range(3):
        verdict = await guards.admit()
        waits.append(verdict.in_ms)
        guards.now_ms += verdict.in_ms
        assert await guards.admit("probe") == Verdict(5)
        await guards.report("trip_account", "probe")
    assert waits == [30_000, 60_000, 60_000]


async def test_all_or_nothing(guards: Guards) -> None:
    """A closed account takes no probe of the target's own breaker."""
    await opened(guards)
    guards.pass_s(5)
    await guards.report("trip_account")
    before = await guards.breaker()
    assert (await guards.admit()).why == "account_closed"
    assert await guards.breaker() == before


async def test_two_workers_share_one_breaker(guards: Guards) -> None:
    """The failures of both add up, and both see it open."""
    other = Guards(guards.redis)
    await fail(guards, 3)
    await fail(other, 2)
    assert not (await guards.admit()).admitted
    assert not (await other.admit()).admitted


async def test_a_breaker_that_is_switched_off_never_opens(guards: Guards) -> None:
    """Not even for a refused key; nothing is counted."""
    off = Guards(guards.redis, Policy(BreakerPolicy(enabled=False)))
    await fail(off, 30)
    await off.report("trip_account")
    assert await off.admit() == Verdict(1)
    assert await off.breaker() == await off.breaker(ACCOUNT) == {}


async def test_a_breaker_is_forgotten_in_the_end(guards: Guards) -> None:
    """No key without a time to live."""
    await fail(guards, 1)
    assert await guards.redis.pttl("penstock:breaker:" + TARGET) > 0
    await fail(guards, 4)
    assert await guards.redis.pttl("penstock:breaker:" + TARGET) > 0
    assert await guards.redis.pttl("penstock:gate:" + TARGET) > 0
