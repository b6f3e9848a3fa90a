"""The gate: nothing before the stated time, a slow return, places in the line, and limits of our own."""

import itertools
from collections.abc import Callable

from tests.support.guards import TARGET, Guards, Verdict


async def started_within(guards: Guards, seconds: float, asks_per_s: int = 1_000) -> list[int]:
    """The moments, in ms from now, at which calls are let through when far too many ask."""
    began = guards.now_ms
    moments = []
    for _ in range(round(seconds * asks_per_s)):
        if (await guards.admit()).admitted:
            moments.append(guards.now_ms - began)
        guards.now_ms += 1_000 // asks_per_s
    return moments


async def test_a_throttle_closes_exactly_that_target_for_the_time_stated(guards: Guards) -> None:
    """To the millisecond; others of the account go on."""
    await guards.report("throttled", wait_s=30)
    assert await guards.admit() == Verdict(4, 30_000, "gate_closed")
    assert (await guards.admit(target="openai/other")).admitted
    guards.now_ms += 29_999
    assert not (await guards.admit()).admitted
    guards.now_ms += 1
    assert await guards.admit() == Verdict(1)


async def test_of_two_waits_the_longer_holds(guards: Guards) -> None:
    """In either order, and from whichever worker."""
    other = Guards(guards.redis)
    await guards.report("throttled", wait_s=30)
    await other.report("throttled", wait_s=5)
    assert (await other.admit()).in_ms == 30_000
    await other.report("throttled", wait_s=60)
    assert (await guards.admit()).in_ms == 60_000


async def test_an_overloaded_provider_that_names_a_time_is_obeyed(guards: Guards) -> None:
    """A 503 with Retry-After holds the target, before the breaker has an opinion."""
    await guards.report("bad", wait_s=7)
    assert await guards.admit() == Verdict(4, 7_000, "gate_closed")


async def test_a_throttle_without_a_time_waits_longer_each_time(guards: Guards) -> None:
    """1, 2, 4 s … up to a minute; a success in between starts again."""
    waits = []
    for _ in range(8):
        await guards.report("throttled")
        waits.append((await guards.admit()).in_ms)
        guards.now_ms += waits[-1]
    assert waits == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]
    await guards.report("ok")
    await guards.report("throttled")
    assert (await guards.admit()).in_ms == 1_000


async def test_many_told_at_once_close_it_once(guards: Guards) -> None:
    """Two hundred calls in flight that meet the same limit do not make the wait grow two hundredfold."""
    for _ in range(200):
        await guards.report("throttled")
    assert (await guards.admit()).in_ms == 1_000


async def test_a_wait_of_nothing_is_the_least_wait(guards: Guards) -> None:
    """Retry-After with a date in the past."""
    await guards.report("throttled", wait_s=0)
    assert (await guards.admit()).in_ms == 1_000


async def test_it_comes_back_slowly(guards: Guards) -> None:
    """Five in the first second, twice as many in the next, and so on."""
    await guards.report("throttled", wait_s=2)
    assert await started_within(guards, 2) == []
    per_s = [len(await started_within(guards, 1)) for _ in range(4)]
    assert 5 <= per_s[0] <= 8
    assert all(1.7 < later / earlier < 2.3 for earlier, later in itertools.pairwise(per_s))


async def test_after_the_ramp_it_is_open(guards: Guards) -> None:
    """Whoever asks then goes through at once."""
    await guards.report("throttled", wait_s=2)
    guards.pass_s(12)
    assert len(await started_within(guards, 0.05)) == 50


async def test_a_throttle_during_the_ramp_begins_it_anew(guards: Guards) -> None:
    """From five in a second again."""
    await guards.report("throttled", wait_s=1)
    await started_within(guards, 4)
    await guards.report("throttled", wait_s=1)
    await started_within(guards, 1)
    assert 5 <= len(await started_within(guards, 1)) <= 8


async def test_places_are_in_order_and_as_far_apart_as_the_ramp_wants(guards: Guards) -> None:
    """Those who wait are called up one by one, at once after the wait."""
    await guards.report("throttled", wait_s=5)
    turns = [(await guards.place())[0] for _ in range(100)]
    assert turns == sorted(turns)
    assert turns[0] == 5_000
    assert turns[1] == 5_200
    assert sum(turn < 6_000 for turn in turns) <= 8
    assert turns[-1] < 10_000


async def test_a_place_is_let_through_at_its_time_and_not_before(guards: Guards) -> None:
    """However many newcomers ask in between: they stand behind it."""
    await guards.report("throttled", wait_s=5)
    places = [await guards.place() for _ in range(20)]
    came = 0
    for turn, place in places:
        guards.now_ms += turn - came - 10
        assert not (await guards.admit(place=place)).admitted
        assert not (await guards.admit()).admitted
        guards.now_ms += 10
        assert (await guards.admit(place=place)).admitted
        came = turn


async def test_a_place_of_an_earlier_line_is_void(guards: Guards) -> None:
    """After the next closing it lets nobody through, and neither does one of another target."""
    await guards.report("throttled", wait_s=1)
    _, old = await guards.place()
    guards.pass_s(2)
    await guards.report("throttled", wait_s=1)
    await guards.place()
    guards.pass_s(1)
    assert (await guards.admit()).why == "gate_closed"
    assert not (await guards.admit(place=old)).admitted
    assert not (await guards.admit(place=f"2 1 openai/other {TARGET}")).admitted


async def test_ten_thousand_places_do_not_storm(guards: Guards) -> None:
    """The last of them are as far apart as at the end of the ramp."""
    await guards.report("throttled", wait_s=1)
    turns = [(await guards.place())[0] for _ in range(10_000)]
    assert turns == sorted(turns)
    per_s = [sum(second * 1_000 <= turn < (second + 1) * 1_000 for turn in turns) for second in range(1, 11)]
    assert per_s[0] <= 8
    assert max(per_s) <= 5_200


async def test_an_opening_of_the_breaker_makes_the_line_begin_at_its_end(guards: Guards) -> None:
    """Those who waited out an outage come one by one too."""
    for _ in range(5):
        await guards.report("bad")
    turns = [(await guards.place())[0] for _ in range(3)]
    assert turns[0] == 5_000
    assert turns[1] == 5_200


async def test_while_probes_are_out_nobody_loses_his_place(guards: Guards) -> None:
    """Whose turn comes then is told to look again, and is let through with the place he has, ahead of the line."""
    for _ in range(5):
        await guards.report("bad")
    places = [await guards.place() for _ in range(50)]
    guards.now_ms += places[0][0]
    for call, (_, place) in zip("abc", places, strict=False):
        assert (await guards.admit(call, place=place)).code == 5
    _, waiting = places[3]
    assert not (await guards.admit("d", place=waiting)).admitted
    turn, place = await guards.place()
    assert (turn, place) == (1_000, "")
    for call in "abc":
        await guards.report("ok", call)
    guards.pass_s(1)
    assert (await guards.admit("d", place=waiting)).admitted
    assert not (await guards.admit("newcomer")).admitted


async def test_probes_that_take_long_begin_the_line_anew(guards: Guards) -> None:
    """Those who came meanwhile were turned back: all at once would be too many, so all come one by one."""
    for _ in range(5):
        await guards.report("bad")
    places = [await guards.place() for _ in range(200)]
    guards.now_ms += places[0][0]
    for call in "abc":
        assert (await guards.admit(call)).code == 5
    guards.pass_s(8)
    for call in "abc":
        await guards.report("ok", call)
    admitted = [(await guards.admit(place=place)).admitted for _, place in places]
    assert sum(admitted) <= 1
    turns = [(await guards.place())[0] for _ in range(50)]
    assert turns == sorted(set(turns))
    assert sum(turn < 1_000 for turn in turns) <= 8


async def test_a_target_that_recovered_without_a_line_comes_back_slowly(guards: Guards) -> None:
    """A breaker that closes long after its time begins a ramp of its own."""
    for _ in range(5):
        await guards.report("bad")
    guards.pass_s(60)
    for call in "abc":
        assert (await guards.admit(call)).code == 5
    for call in "abc":
        await guards.report("ok", call)
    assert 5 <= len(await started_within(guards, 1)) <= 8


async def test_requests_per_minute(limited: Callable[..., Guards]) -> None:
    """600 a minute: the burst of a second at most, then one every 100 ms."""
    guards = limited(requests_per_min=600)
    first, *later = [len(await started_within(guards, 1, 200)) for _ in range(10)]
    assert 10 <= first <= 21
    assert set(later) <= {9, 10, 11}
    assert [(await guards.admit()).why for _ in range(2)][1] == "limit_reached"


async def test_the_limit_of_requests_is_shared(limited: Callable[..., Guards]) -> None:
    """Two workers together get what one would."""
    guards, other = limited(requests_per_min=60), limited(requests_per_min=60)
    admitted = [(await each.admit()).admitted for _ in range(10) for each in (guards, other)]
    assert sum(admitted) == 2


async def test_a_place_in_the_line_of_a_limit_is_kept(limited: Callable[..., Guards]) -> None:
    """A place is paid for when it is given: newcomers stand behind, and it is not paid for twice."""
    guards = limited(requests_per_min=60)
    while (await guards.admit()).admitted:
        pass
    turn, place = await guards.place()
    assert 0 < turn <= 1_000
    guards.now_ms += turn
    assert not (await guards.admit()).admitted
    line = (await guards.gate())["line_at"]
    assert (await guards.admit(place=place)).admitted
    assert (await guards.gate())["line_at"] == line


async def test_a_line_of_more_than_a_minute_is_not_made_longer(limited: Callable[..., Guards]) -> None:
    """With one call a second, who comes after sixty has no place yet: all look again, in order, within the minute."""
    guards = limited(requests_per_min=60)
    turns = [await guards.place() for _ in range(200)]
    placed, late = [turn for turn, place in turns if place], [turn for turn, place in turns if not place]
    assert 60 <= len(placed) <= 63
    assert max(placed) <= 60_000
    assert late == sorted(late)
    assert 30_000 <= min(late) <= max(late) <= 60_000


async def test_whoever_looks_again_shares_the_next_minute(limited: Callable[..., Guards]) -> None:
    """A tenant that came late gets a place as soon as one of those does whose flood was there before."""
    guards = limited(requests_per_min=60)
    for _ in range(500):
        await guards.place()
    guards.pass_s(45)
    turns = [(await guards.place())[0] for _ in range(20)]  # whoever they are
    assert turns == sorted(turns)
    assert 15_000 <= turns[0] <= turns[-1] <= 36_000


async def test_tokens_per_minute(limited: Callable[..., Guards]) -> None:
    """60,000 a minute are 1,000 in a second; a call that took fewer than it counted with gives them back."""
    guards = limited(tokens_per_min=60_000)
    assert (await guards.admit("a", tokens=5_000)).admitted
    assert await guards.admit(tokens=10) == Verdict(4, 4_000, "limit_reached")
    await guards.report("ok", "a", more_tokens=-3_000)
    assert (await guards.admit(tokens=10)).in_ms == 1_000


async def test_calls_in_flight(limited: Callable[..., Guards]) -> None:
    """So many and no more, until one ends."""
    guards = limited(max_in_flight=2)
    assert [(await guards.admit(call)).code for call in "abc"] == [1, 1, 4]
    await guards.report("abort", "a")
    assert [(await guards.admit(call)).code for call in "de"] == [1, 4]


async def test_the_slots_of_a_dead_worker_do_not_leak(limited: Callable[..., Guards]) -> None:
    """They are free again when their time is over."""
    guards = limited(max_in_flight=2)
    assert [(await guards.admit()).admitted for _ in range(3)] == [True, True, False]
    guards.now_ms += guards.lease_ms
    assert [(await guards.admit()).admitted for _ in range(3)] == [True, True, False]


async def test_those_who_wait_for_a_slot_are_spread(limited: Callable[..., Guards]) -> None:
    """They come back about as fast as slots are freed, and not all at once."""
    guards = limited(max_in_flight=2)
    for call in "ab":
        await guards.admit(call)
    await guards.report("ok", "a")
    await guards.admit("a")
    turns = [(await guards.place())[0] for _ in range(10)]
    assert turns == sorted(set(turns))
    assert turns[-1] < 1_000


async def test_all_or_nothing(limited: Callable[..., Guards]) -> None:
    """A call that finds no slot takes nothing of the other limits."""
    guards = limited(max_in_flight=1, requests_per_min=600, tokens_per_min=60_000)
    assert (await guards.admit("a", tokens=10)).admitted
    before = await guards.gate()
    guards.pass_s(1)
    assert not (await guards.admit("b", tokens=10)).admitted
    assert await guards.gate() == before


async def test_a_probe_waits_in_no_line_but_for_the_time_stated(guards: Guards) -> None:
    """The line would let one through where three are wanted; a provider's own wait is obeyed."""
    await guards.report("bad", wait_s=60)
    for _ in range(4):
        await guards.report("bad")
    guards.pass_s(30)
    assert await guards.admit() == Verdict(4, 30_000, "gate_closed")
    guards.pass_s(30)
    assert [(await guards.admit()).code for _ in range(4)] == [5, 5, 5, 4]
