"""What becomes of an attempt whose targets are closed."""

from penstock import Summarize
from penstock_schemas.results import JobFailure
from penstock_worker.attempt.deciding import Trouble, decide, opens_first
from penstock_worker.attempt.outcome import Retry
from penstock_worker.routing.closed import MESSAGES, Closed, TargetClosed
from tests.support.attempts import an_attempt

ASKED = Summarize(text="The mill stands by the river.")


def closed(target: str, wait_s: float) -> Trouble:
    shut = TargetClosed(target, 100, Closed("breaker_open", wait_s))
    return Trouble("breaker_open", MESSAGES["breaker_open"], True, True, False, wait_s, shut)


def failed(*, retry: bool = True) -> Trouble:
    return Trouble("server_error", "It failed.", retry, True)


def test_with_all_closed_the_job_waits_for_the_one_that_opens_first() -> None:
    """Uncharged, also in its last attempt, and no longer than that."""
    troubles = [closed("a/x", 90), closed("b/x", 20), closed("c/x", 50)]
    first = opens_first(troubles)
    assert first is not None
    assert first.target == "b/x"
    assert decide(an_attempt(ASKED, number=5), troubles, 0.9) == Retry(20, "breaker_open", charged=False)


def test_one_that_failed_is_tried_again_as_ever() -> None:
    """It does not wait for the closed one, and the failure is charged."""
    troubles = [closed("a/x", 300), failed()]
    assert opens_first(troubles) is None
    assert decide(an_attempt(ASKED), troubles, 0.5) == Retry(0.5, "server_error", charged=True)


def test_one_that_will_never_do_is_not_waited_for() -> None:
    """The closed one is what hope there is; the attempt was made, and is charged."""
    troubles = [closed("a/x", 30), failed(retry=False)]
    assert decide(an_attempt(ASKED), troubles, 0.5) == Retry(30, "server_error", charged=True)


def test_a_reopening_after_the_deadline_is_not_waited_for() -> None:
    """The job ends at once: with its fallback, or dead."""
    decided = decide(an_attempt(ASKED, deadline_in_s=10), [closed("a/x", 30)], 0.0)
    assert isinstance(decided, JobFailure)
    assert (decided.code, decided.last_error) == ("deadline_exceeded", "breaker_open")
