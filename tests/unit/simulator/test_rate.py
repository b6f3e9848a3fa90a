"""Rates are limited as a bucket that refills, and told in OpenAI's headers."""

import pytest

from penstock_simulator.ask import Problem, RefusedError
from penstock_simulator.rate import RateLimits
from penstock_simulator.wire.openai_chat import OpenAIChat


def _refused(limits: RateLimits, tokens: int, now_s: float) -> Problem:
    with pytest.raises(RefusedError) as refused:
        limits.admit("m", tokens, now_s)
    return OpenAIChat().worded(refused.value.problem)


def _headers(limits: RateLimits, tokens: int, now_s: float) -> dict[str, str]:
    return OpenAIChat().limit_headers(limits.admit("m", tokens, now_s))


def test_without_limits_there_are_no_headers() -> None:
    """Everything is let in."""
    assert _headers(RateLimits(), 10**9, 0.0) == {}


def test_a_minutes_worth_is_let_in_at_once_and_then_as_it_refills() -> None:
    """Sixty a minute is one a second."""
    limits = RateLimits(requests_per_min=60)
    left = [_headers(limits, 1, 0.0)["x-ratelimit-remaining-requests"] for _ in range(60)]
    assert (left[0], left[-1]) == ("59", "0")
    problem = _refused(limits, 1, 0.0)
    assert (problem.status, problem.type, problem.code) == (429, "requests", "rate_limit_exceeded")
    assert problem.headers["retry-after"] == "2"
    assert problem.headers["retry-after-ms"] == "1001"
    limits.admit("m", 1, 1.001)
    _refused(limits, 1, 1.001)


def test_a_wait_that_is_obeyed_is_long_enough() -> None:
    """The time told is not a moment too short."""
    limits = RateLimits(tokens_per_min=6_000)
    limits.admit("m", 6_000, 0.0)
    wait_ms = int(_refused(limits, 250, 0.0).headers["retry-after-ms"])
    limits.admit("m", 250, wait_ms / 1000)


def test_a_refused_call_counts_nothing() -> None:
    """Neither its tokens nor its request."""
    limits = RateLimits(requests_per_min=2, tokens_per_min=100)
    limits.admit("m", 90, 0.0)
    assert _refused(limits, 50, 0.0).type == "tokens"
    headers = _headers(limits, 10, 0.0)
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["x-ratelimit-remaining-tokens"] == "0"
    assert headers["x-ratelimit-reset-requests"] == "1m0s"


def test_a_call_larger_than_the_limit_is_let_in_when_the_bucket_is_full() -> None:
    """It could never be otherwise."""
    limits = RateLimits(tokens_per_min=100)
    limits.admit("m", 500, 0.0)
    _refused(limits, 1, 0.0)


def test_reset_fills_the_buckets() -> None:
    """For the next test."""
    limits = RateLimits(requests_per_min=1)
    limits.admit("m", 1, 0.0)
    limits.reset()
    limits.admit("m", 1, 0.0)


def test_a_limit_below_one_is_an_error() -> None:
    """Zero would let nothing in, ever."""
    with pytest.raises(ValueError, match="tokens per minute must be at least 1"):
        RateLimits(tokens_per_min=0)
