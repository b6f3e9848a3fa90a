"""Limits that a provider's headers tell of: what is left is made to last, for all workers, and believed for a while."""

from collections.abc import Callable

from tests.support.guards import Guards, Verdict


async def started_within(guards: Guards, seconds: float, asks_per_s: int = 200) -> int:
    """How many calls are let through when far too many ask."""
    count = 0
    for _ in range(round(seconds * asks_per_s)):
        count += (await guards.admit()).admitted
        guards.now_ms += 1_000 // asks_per_s
    return count


async def test_plenty_left_changes_nothing_and_writes_nothing(guards: Guards) -> None:
    """300 of 500, and most of the tokens: as fast as anybody likes."""
    await guards.report("ok", limits="300 500 24000 190000 200000 3000")
    assert await guards.gate() == {}
    assert await started_within(guards, 0.1) == 20


async def test_what_is_left_is_spread_over_the_time_until_there_is_more(guards: Guards) -> None:
    """100 of 500 for 20 s: five a second, and the burst of a second ahead of it."""
    await guards.report("ok", limits="100 500 20000 -1 -1 -1")
    assert 5 <= await started_within(guards, 1) <= 11
    assert 24 <= await started_within(guards, 5) <= 26
    while (await guards.admit()).admitted:
        pass
    assert (await Guards(guards.redis, now_ms=guards.now_ms).admit()).why == "limit_reached"


async def test_nothing_left_is_waited_for(guards: Guards) -> None:
    """To the millisecond; the others of the account go on."""
    await guards.report("ok", limits="0 500 7000 -1 -1 -1")
    assert await guards.admit() == Verdict(4, 7_000, "limit_reached")
    assert (await guards.admit(target="openai/other")).admitted
    guards.now_ms += 7_000
    assert (await guards.admit()).admitted


async def test_nothing_is_believed_for_longer_than_a_minute(guards: Guards) -> None:
    """A reset in a day, true or not, holds a target for a minute; then one call finds out."""
    await guards.report("ok", limits="0 500 86400000 -1 -1 -1")
    assert (await guards.admit()).in_ms == 60_000
    guards.pass_s(60)
    assert (await guards.admit()).admitted


async def test_a_later_answer_that_tells_of_plenty_ends_it(guards: Guards) -> None:
    """At once, for all that had been learned."""
    await guards.report("ok", limits="2 500 60000 0 1000 30000")
    assert not (await guards.admit()).admitted
    await guards.report("ok", limits="499 500 120 1000 1000 0")
    assert await started_within(guards, 0.1) == 20


async def test_tokens_that_are_left_are_spread_too(guards: Guards) -> None:
    """1,000 of 10,000 for 10 s are 100 in a second; a call of 300 pays for three."""
    await guards.report("ok", limits="-1 -1 -1 1000 10000 10000")
    assert (await guards.admit(tokens=300)).admitted
    assert await guards.admit(tokens=300) == Verdict(4, 2_000, "limit_reached")


async def test_without_a_limit_few_are_few(guards: Guards) -> None:
    """Five left until in 10 s, of nobody knows how many: one in two seconds, behind the burst of one."""
    await guards.report("ok", limits="5 -1 10000 -1 -1 -1")
    assert await started_within(guards, 4) <= 3


async def test_the_lower_of_learned_and_configured_wins(limited: Callable[..., Guards]) -> None:
    """Either way round."""
    guards = limited(requests_per_min=600)
    await guards.report("ok", limits="10 100 60000 -1 -1 -1")
    assert await started_within(guards, 12) <= 4
    await guards.report("ok", limits="1000 5000 10000 -1 -1 -1")
    assert 48 <= await started_within(guards, 5) <= 61


async def test_a_job_in_line_comes_at_its_time(guards: Guards) -> None:
    """Its place lets it through, and it has paid for it."""
    await guards.report("ok", limits="2 500 4000 -1 -1 -1")
    while (await guards.admit()).admitted:
        pass
    turn, place = await guards.place()
    assert 0 < turn <= 4_000
    guards.now_ms += turn
    assert (await guards.admit(place=place)).admitted
