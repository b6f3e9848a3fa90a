"""What is left of the limits, in every dialect."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_worker.llm.rate_limits import Allowance, RateLimits, rate_limits

NOW = datetime(2025, 6, 1, 12, 0, 0, tzinfo=UTC)


def headers(dialect: str, **values: str) -> dict[str, str]:
    return {dialect.format(name.replace("_", "-")): value for name, value in values.items()}


def test_openai() -> None:
    """Durations of every unit."""
    seen = rate_limits(
        headers(
            "x-ratelimit-{}",
            limit_requests="10000",
            remaining_requests="9999",
            reset_requests="8.64s",
            limit_tokens="200000",
            remaining_tokens="0",
            reset_tokens="6m0s",
        ),
        NOW,
    )
    assert seen == RateLimits(requests=Allowance(10000, 9999, 8.64), tokens=Allowance(200000, 0, 360.0))


def test_anthropic() -> None:
    """Moments, and input and output apart."""
    seen = rate_limits(
        headers(
            "anthropic-ratelimit-{}",
            requests_limit="50",
            requests_remaining="49",
            requests_reset="2025-06-01T12:00:30Z",
            input_tokens_remaining="40000",
            input_tokens_reset="2025-06-01T11:59:00+00:00",
            output_tokens_limit="8000",
        ),
        NOW,
    )
    assert seen == RateLimits(
        requests=Allowance(50, 49, 30.0),
        input_tokens=Allowance(None, 40000, 0.0),
        output_tokens=Allowance(8000, None, None),
    )


def test_openrouter() -> None:
    """One limit, of requests, with a Unix time in milliseconds or in seconds."""
    for reset in (str(int((NOW.timestamp() + 60) * 1000)), str(int(NOW.timestamp() + 60))):
        raw = {"x-ratelimit-limit": "20", "x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}
        assert rate_limits(raw, NOW) == RateLimits(requests=Allowance(20, 0, 60.0))


@pytest.mark.parametrize("figure", ["0", "-1"])
def test_azure_does_not_know(figure: str) -> None:
    """Azure writes 0 and -1 for what it does not know; elsewhere 0 is a figure."""
    raw = {"x-ratelimit-remaining-tokens": figure, "x-ratelimit-remaining-requests": "7"}
    azure = rate_limits({**raw, "apim-request-id": "x"}, NOW)
    assert azure == RateLimits(requests=Allowance(None, 7, None))
    if figure == "0":
        assert rate_limits(raw, NOW) == RateLimits(Allowance(None, 7, None), Allowance(None, 0, None))


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("20ms", 0.02),
        ("1h2m3s", 3723.0),
        ("2", 2.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("1d", 86_400.0),
        ("9999d", 31 * 86_400.0),
        ("soon", None),
        ("1s junk", None),
        ("nan", None),
        ("", None),
    ],
)
def test_resets(reset: str, seconds: float | None) -> None:
    """Every form of a reset, and nonsense as if absent."""
    raw = {"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": reset}
    seen = rate_limits(raw, NOW)
    assert seen is not None
    assert seen.requests == Allowance(None, 1, pytest.approx(seconds) if seconds is not None else None)


def test_nothing_said() -> None:
    """Headers without limits, and limits that are nonsense, are none."""
    assert rate_limits({"content-type": "x"}, NOW) is None
    assert rate_limits({"x-ratelimit-remaining-requests": "many"}, NOW) is None


names = st.sampled_from(
    [
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-tokens",
        "anthropic-ratelimit-tokens-remaining",
        "anthropic-ratelimit-tokens-reset",
    ]
)


@given(st.dictionaries(names, st.text(max_size=20) | st.integers().map(str) | st.floats().map(str)))
def test_any_headers_give_possible_figures(raw: dict[str, str]) -> None:
    """Whatever stands there, a count is a possible count and a wait can be waited."""
    seen = rate_limits(raw, NOW)
    for allowance in seen or ():
        if allowance is not None:
            assert allowance.remaining is None or 0 <= allowance.remaining <= 10**12
            assert allowance.reset_s is None or 0 <= allowance.reset_s <= 31 * 86_400
