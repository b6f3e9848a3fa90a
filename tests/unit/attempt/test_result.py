"""A result sums up its run: calls, tokens, cost, and what is not known of them."""

from typing import Any

from penstock import Summarize
from penstock_schemas.results import JobFailure, JobResult, MadeBy, Quality, Usage
from penstock_worker.attempt.outcome import Degraded, Succeeded
from penstock_worker.attempt.writing import attempt_summary, result_of
from tests.support.attempts import a_call, an_attempt

ASKED = Summarize(text="The mill stands by the river.")
MODEL = MadeBy(kind="model", name="openai/gpt-4o-mini", model="gpt-4o-mini", prompt="summarize@1")
SUCCEEDED = Succeeded({"summary": "A mill."}, MODEL, Quality.REPAIRED, ("code_fence",))


def usage(input_tokens: int, output_tokens: int | None = None) -> dict[str, Any]:
    return Usage(input_tokens=input_tokens, output_tokens=output_tokens).model_dump()


def test_calls_of_all_attempts_of_the_run_are_summed() -> None:
    """Those of an earlier run are not."""
    calls = [
        a_call("1.3.1", cost_nanousd=9_999, usage=usage(9_999, 9_999)),
        a_call("2.1.1", "failed", cost_nanousd=0, error="server_error", usage=None),
        a_call("2.1.2", cost_nanousd=70, usage=usage(100, 10)),
        a_call("2.2.1", cost_nanousd=30, usage=usage(50, 5)),
        a_call("2.2.2", "unknown", cost_nanousd=0, uncertain_nanousd=44),
    ]
    result = result_of(an_attempt(ASKED, run=2, number=2, calls=calls), SUCCEEDED)
    assert (result.run, result.attempts, result.calls) == (2, 2, 4)
    assert (result.usage.input_tokens, result.usage.output_tokens) == (150, 15)
    assert (result.cost_nanousd, result.uncertain_nanousd) == (100, 44)


def test_one_unknown_price_makes_the_cost_unknown() -> None:
    """Unknown is not 0."""
    calls = [a_call("1.1.1", cost_nanousd=70, usage=usage(100)), a_call("1.1.2", cost_nanousd=None, usage=usage(1))]
    result = result_of(an_attempt(ASKED, calls=calls), SUCCEEDED)
    assert result.cost_nanousd is None
    assert result.cost_usd is None


def test_a_call_whose_end_nobody_saw_is_uncertain() -> None:
    """What is known to have cost something is known all the same."""
    calls = [a_call("1.1.1", None), a_call("1.2.1", cost_nanousd=70, usage=usage(100))]
    result = result_of(an_attempt(ASKED, number=2, calls=calls), SUCCEEDED)
    assert (result.cost_nanousd, result.uncertain_nanousd) == (70, 500)


def test_a_run_without_calls_cost_nothing() -> None:
    """Which is known, while its tokens are none."""
    result = result_of(an_attempt(ASKED), SUCCEEDED)
    assert (result.calls, result.cost_nanousd, result.uncertain_nanousd) == (0, 0, 0)
    assert result.usage == Usage()


def test_a_success_says_what_it_is() -> None:
    """And satisfies its own contract, though it was made without its checks."""
    result = result_of(an_attempt(ASKED), SUCCEEDED)
    assert (result.state, result.quality, result.reasons) == ("succeeded", Quality.REPAIRED, ("code_fence",))
    assert (result.failure, result.made_by) == (None, MODEL)
    assert JobResult[Any].model_validate(result.model_dump()) == result


def test_a_degraded_answer_is_labelled() -> None:
    """Its maker is the fallback, its reason that of the failure, its quality never ok."""
    failure = JobFailure(code="attempts_exhausted", message="No more.", last_error="throttled")
    fallback = MadeBy(kind="fallback", name="extractive@1")
    result = result_of(an_attempt(ASKED), Degraded({"summary": "A mill."}, fallback, failure))
    assert (result.state, result.quality, result.reasons) == ("degraded", Quality.SUSPECT, ("degraded",))
    assert (result.failure, result.made_by) == (failure, fallback)
    assert JobResult[Any].model_validate(result.model_dump()) == result


def test_times_are_those_of_redis() -> None:
    """Enqueued, started and ended in this order, aware."""
    result = result_of(an_attempt(ASKED), SUCCEEDED)
    assert result.created_at < result.started_at <= result.ended_at
    assert result.latency_s >= 2.0


def test_a_summary_says_up_to_which_call_the_attempt_has_walked() -> None:
    """In all its starts; its own calls are those of this one."""
    attempt = an_attempt(ASKED, calls=[a_call("1.1.1"), a_call("1.1.2")])
    attempt.made.append(attempt.journal.calls[1])
    summary = attempt_summary(attempt, "throttled")
    assert (summary["error"], summary["calls"], summary["last_call"]) == ("throttled", ["1.1.2"], 2)
