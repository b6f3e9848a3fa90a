"""What becomes of an attempt in which no target gave a result."""

import pytest

from penstock import Summarize
from penstock_schemas.results import JobFailure
from penstock_worker.attempt.backoff import backoff_s
from penstock_worker.attempt.deciding import Trouble, decide
from penstock_worker.attempt.outcome import Retry
from tests.support.attempts import a_call, an_attempt

ASKED = Summarize(text="The mill stands by the river.")


def trouble(code: str = "server_error", **options: object) -> Trouble:
    fields: dict[str, object] = {"message": f"About {code}.", "retry": True, "next_target": True, **options}
    return Trouble(code=code, **fields)  # type: ignore[arg-type]


def test_a_failure_is_tried_again_after_a_random_part_of_the_backoff() -> None:
    """Half of the luck, half of the longest wait of the third attempt."""
    assert decide(an_attempt(ASKED, number=3), [trouble()], 0.5) == Retry(2.0, "server_error", charged=True)


def test_the_last_attempt_that_fails_ends_the_run() -> None:
    """The reason is that there are no more; what came last is told beside it."""
    failure = decide(an_attempt(ASKED, number=5, max_attempts=5), [trouble("bad_output")], 0.5)
    assert isinstance(failure, JobFailure)
    assert (failure.code, failure.last_error) == ("attempts_exhausted", "bad_output")
    assert failure.message == "All 5 attempts failed. The last: About bad_output."


def test_what_no_later_attempt_mends_ends_the_run_at_once() -> None:
    """Its own code is the reason."""
    failure = decide(an_attempt(ASKED), [trouble("auth_failed", retry=False)], 0.5)
    assert failure == JobFailure(code="auth_failed", message="About auth_failed.", last_error="auth_failed")


def test_one_target_that_may_recover_is_enough_to_try_again() -> None:
    """Whatever the others said."""
    troubles = [trouble("auth_failed", retry=False), trouble("overloaded"), trouble("refused", retry=False)]
    assert isinstance(decide(an_attempt(ASKED), troubles, 0.5), Retry)


def test_a_throttle_is_not_charged_and_is_waited_for() -> None:
    """Also in the last attempt, for as long as was asked and not less."""
    throttled = trouble("throttled", charged=False, retry_after_s=7.5)
    assert decide(an_attempt(ASKED, number=5), [throttled], 0.0) == Retry(7.5, "throttled", charged=False)


def test_a_throttle_beside_a_failure_is_charged() -> None:
    """Some target was asked and failed."""
    troubles = [trouble("throttled", charged=False, retry_after_s=3.0), trouble("server_error")]
    assert decide(an_attempt(ASKED), troubles, 0.0) == Retry(3.0, "server_error", charged=True)


def test_of_two_waits_the_shorter_counts() -> None:
    """One target is enough."""
    troubles = [
        trouble("throttled", charged=False, retry_after_s=30.0),
        trouble("throttled", charged=False, retry_after_s=4.0),
    ]
    assert decide(an_attempt(ASKED), troubles, 0.0) == Retry(4.0, "throttled", charged=False)


def test_throttles_without_a_wait_are_waited_for_longer_each_time() -> None:
    """They are not charged, so the number of the attempt does not grow, but the backoff does."""
    calls = [a_call(f"1.1.{n}", "failed", error="throttled") for n in range(1, 5)]
    retry = decide(an_attempt(ASKED, calls=calls), [trouble("throttled", charged=False)], 0.5)
    assert retry == Retry(4.0, "throttled", charged=False)


@pytest.mark.parametrize("deadline_in_s", [0.0, 3.0])
def test_a_wait_beyond_the_deadline_is_no_wait(deadline_in_s: float) -> None:
    """The deadline is passed, or will be before the next attempt."""
    attempt = an_attempt(ASKED, number=3, deadline_in_s=deadline_in_s)
    failure = decide(attempt, [trouble()], 0.99)
    assert isinstance(failure, JobFailure)
    assert (failure.code, failure.last_error) == ("deadline_exceeded", "server_error")


def test_a_deadline_before_any_call_has_no_last_error() -> None:
    """There was none."""
    failure = decide(an_attempt(ASKED, deadline_in_s=0.0), [], 0.5)
    assert isinstance(failure, JobFailure)
    assert (failure.code, failure.last_error) == ("deadline_exceeded", None)


@pytest.mark.parametrize(("attempt", "longest_s"), [(1, 1.0), (2, 2.0), (6, 32.0), (7, 60.0), (5000, 60.0)])
def test_backoff_doubles_up_to_its_cap(attempt: int, longest_s: float) -> None:
    """And any part of it may be drawn."""
    assert backoff_s(attempt, 1.0) == longest_s
    assert backoff_s(attempt, 0.25) == longest_s / 4
    assert backoff_s(attempt, 0.0) == 0.0
