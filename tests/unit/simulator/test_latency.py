"""Latencies are read from text and drawn from a seeded generator."""

from random import Random

import pytest

from penstock_simulator.latency import Latency, parse_duration_s


@pytest.mark.parametrize(("text", "seconds"), [("200ms", 0.2), ("1.5s", 1.5), ("2m", 120.0), ("3", 3.0), (".5 s", 0.5)])
def test_durations_are_read(text: str, seconds: float) -> None:
    """Units are ms, s and m; none is seconds."""
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fast",
        "-1s",
        "uniform:5",
        "uniform:2s..1s",
        "lognormal:median=1s",
        "lognormal:median=2s,p99=1s",
        "gamma:1",
        "1h",
    ],
)
def test_what_is_no_latency_is_refused(text: str) -> None:
    """A wrong value is an error at the start, not a default."""
    with pytest.raises(ValueError, match=r"\w"):
        Latency.parse(text)


def test_lognormal_has_the_median_and_the_p99_asked_for() -> None:
    """Within a few percent over many draws."""
    latency, random = Latency.parse("lognormal:median=800ms,p99=6s"), Random(1)
    draws = sorted(latency.draw_s(random) for _ in range(40_000))
    assert draws[20_000] == pytest.approx(0.8, rel=0.05)
    assert draws[39_600] == pytest.approx(6.0, rel=0.15)


def test_uniform_stays_in_its_bounds() -> None:
    """All of many draws, and not all the same."""
    latency, random = Latency.parse("uniform:200ms..800ms"), Random(1)
    draws = [latency.draw_s(random) for _ in range(1000)]
    assert 0.2 <= min(draws) < 0.25 < 0.75 < max(draws) <= 0.8


def test_the_same_seed_draws_the_same() -> None:
    """A run can be repeated."""
    latency = Latency.parse("lognormal:median=1s,p99=2s")
    one, other = Random(7), Random(7)
    assert [latency.draw_s(one) for _ in range(5)] == [latency.draw_s(other) for _ in range(5)]
