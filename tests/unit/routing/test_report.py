"""What the end of a call says of its target."""

from collections.abc import Iterator

import pytest

from penstock_schemas.results import Usage
from penstock_worker.llm import errors
from penstock_worker.llm.port import Answer, StopReason
from penstock_worker.llm.rate_limits import Allowance, RateLimits
from penstock_worker.routing.report import Report, report_of


def kinds(base: type[errors.CallError] = errors.CallError) -> Iterator[type[errors.CallError]]:
    yield base
    for kind in base.__subclasses__():
        yield from kinds(kind)


def test_an_answer_is_well_with_its_tokens() -> None:
    """Whatever the model said in it."""
    answer = Answer("", StopReason.REFUSAL, Usage(input_tokens=30, output_tokens=12), None, took_ms=250)
    assert report_of(answer) == Report("ok", took_ms=250, tokens=42)


@pytest.mark.parametrize("kind", list(kinds()))
def test_every_error_that_speaks_against_a_target_counts_for_its_breaker(kind: type[errors.CallError]) -> None:
    """And no other does: the errors' own table decides."""
    counts = report_of(kind()).what in {"bad", "trip", "trip_account"}
    assert counts == kind.trips_breaker


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (errors.ThrottledError(), "throttled"),
        (errors.AuthFailedError(), "trip_account"),
        (errors.QuotaExhaustedError(), "trip_account"),
        (errors.ModelNotFoundError(), "trip"),
        (errors.ServerFailedError(), "bad"),
        (errors.ConnectFailedError(sent=False), "bad"),
        (errors.ContextTooLongError(), "ok"),
        (errors.ContentFilteredError(), "ok"),
        (errors.CallDeadlineError(), "abort"),
        (errors.CallError(), "abort"),
    ],
)
def test_what_each_error_says(error: errors.CallError, what: str) -> None:
    """A target that refuses a request answers; one that had no time left says nothing."""
    assert report_of(error).what == what


def test_a_wait_is_carried_over() -> None:
    """In ms; -1 when the provider did not say, which is not the same as none."""
    assert report_of(errors.ThrottledError(retry_after_s=1.5)).wait_ms == 1_500
    assert report_of(errors.ThrottledError(retry_after_s=0)).wait_ms == 0
    assert report_of(errors.ThrottledError()).wait_ms == -1


def test_limits_are_carried_over() -> None:
    """Requests, and the tightest of the limits on tokens; what was not said is -1, and nothing at all is nothing."""
    limits = RateLimits(
        requests=Allowance(500, 20, 2.4),
        tokens=Allowance(100_000, 90_000, 6.0),
        output_tokens=Allowance(8_000, 50, 1.0),
    )
    answer = Answer("", StopReason.COMPLETE, None, None, took_ms=7, limits=limits)
    assert report_of(answer).limits == "20 500 2400 50 8000 1000"
    assert report_of(answer).told == "7 20 500 2400 50 8000 1000"
    error = errors.ThrottledError()
    error.limits = RateLimits(requests=Allowance(None, 0, 3.0), tokens=Allowance(100, 50, None))
    assert report_of(error).told == "-1 0 -1 3000 -1 -1 -1"
    assert report_of(errors.ThrottledError()).told == "-1"


def test_tokens_of_a_failure() -> None:
    """None were taken where surely nothing was billed; unknown where it may have been."""
    assert report_of(errors.ThrottledError()).tokens == 0
    assert report_of(errors.IdleTimeoutError()).tokens is None
