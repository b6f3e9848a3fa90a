"""What becomes of an attempt in which no target gave a result."""

import pytest

from penstock import Summarize
from penstock_schemas.results import JobFailure
from penstock_worker.attempt.backoff import backoff_s
from penstock_worker.attempt.deciding import Trouble, decide, in_the_way, own_wait_s
from penstock_worker.attempt.outcome import Retry
from penstock_worker.money.budgets import BudgetSpent
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


@pytest.mark.parametrize(("turned_away", "longest_s"), [(0, 0), (1, 1), (5, 16), (10, 512), (11, 600), (299, 600)])
def test_who_is_turned_away_again_and_again_waits_up_to_ten_minutes(turned_away: int, longest_s: float) -> None:
    """So that three hundred calls last for a day."""
    calls = [a_call(f"1.1.{n}", "failed", error="auth_failed", cost_nanousd=0) for n in range(1, turned_away + 1)]
    attempt = an_attempt(ASKED, calls=calls)
    assert own_wait_s(attempt, 1.0) == longest_s
    assert own_wait_s(attempt, 0.5) == longest_s / 2


@pytest.mark.parametrize(("probes", "longest_s"), [(20, 0), (21, 1), (25, 16), (60, 600)])
def test_failed_probes_count_from_the_twentieth_on(probes: int, longest_s: float) -> None:
    """A breaker spaces them already."""
    calls = [a_call(f"1.1.{n}", "failed", error="overloaded", cost_nanousd=0) for n in range(1, probes + 1)]
    assert own_wait_s(an_attempt(ASKED, calls=calls), 1.0) == longest_s


def test_budgets_are_waited_for_when_nothing_else_is_in_the_way() -> None:
    """The one whose window turns first; not when a target may yet answer."""
    full = [trouble("budget_exceeded", retry=False, spent=BudgetSpent(scope, s)) for scope, s in (("a", 50), ("b", 9))]
    first = in_the_way(full)
    assert first is not None and first.scope == "b"
    assert in_the_way([*full, trouble("refused", retry=False)]) is first
    assert in_the_way([*full, trouble("overloaded")]) is None
    assert in_the_way([trouble("refused", retry=False)]) is None


def test_what_was_not_asked_is_no_last_error() -> None:
    """The last error is a model's: of this attempt, else of the one before."""
    troubles = [trouble("refused", retry=False), trouble("over_budget", retry=False)]
    failure = decide(an_attempt(ASKED), troubles, 0.5)
    assert isinstance(failure, JobFailure)
    assert (failure.code, failure.last_error) == ("over_budget", "refused")
    alone = decide(an_attempt(ASKED), troubles[1:], 0.5)
    assert isinstance(alone, JobFailure)
    assert alone.last_error is None


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
