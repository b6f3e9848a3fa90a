"""The journal: what was called, what it came to, and which of it an attempt that goes on has still to walk."""

from functools import partial
from typing import Any

import orjson
import pytest

from penstock_worker.attempt.journal import (
    CallEntry,
    EndKind,
    Journal,
    Step,
    answer_from_json,
    answer_to_json,
    error_from_json,
    error_to_json,
    read_journal,
)
from penstock_worker.llm.errors import CallError, GatewayFailedError
from penstock_worker.llm.port import StopReason
from tests.support.attempts import a_call, an_answer


def flat(**fields: Any) -> list[bytes]:
    """A hash as Redis gives it; names have ``_`` for the dots and colons that Python forbids."""
    row: list[bytes] = []
    for name, value in fields.items():
        row += [name[1:].replace("__", ":").replace("_", ".").encode(), value]
    return row


def ended(kind: str, **end: Any) -> bytes:
    return kind.encode() + b" " + orjson.dumps(end)


def test_calls_are_walked_in_the_order_they_were_made() -> None:
    """Only those of the attempt that goes on, by number and not by name."""
    calls = [a_call(f"1.2.{n}") for n in (10, 2, 1)] + [a_call("1.1.1"), a_call("2.2.1")]
    journal = Journal(calls, run=1, attempt=2)
    walked = []
    while (call := journal.next_past()) is not None:
        walked.append(call.id)
    assert walked == ["1.2.1", "1.2.2", "1.2.10"]
    assert journal.next_id() == "1.2.11"
    assert [call.id for call in journal.of_run()] == ["1.1.1", "1.2.1", "1.2.2", "1.2.10"]


def test_an_uncharged_attempt_that_comes_again_does_not_walk_what_is_over() -> None:
    """A throttle of before is no answer for now: the summary says up to where the attempt had walked."""
    fields = [*flat(_1_1_1=b"{}", _1_1_1__end=ended("failed", error="throttled")), b"attempt:1.1", b'{"last_call": 1}']
    journal = read_journal(fields, run=1, attempt=1)
    assert journal.next_past() is None
    assert journal.next_id() == "1.1.2"


def test_calls_made_after_the_summary_are_walked() -> None:
    """The attempt came again, called, and its worker died."""
    fields = [*flat(_1_1_1=b"{}", _1_1_2=b"{}", _1_1_2__end=ended("answered")), b"attempt:1.1", b'{"last_call": 1}']
    journal = read_journal(fields, run=1, attempt=1)
    past = journal.next_past()
    assert past is not None
    assert (past.id, past.kind) == ("1.1.2", "answered")
    assert journal.next_past() is None


def a_step_call(call_id: str, step: Step, kind: EndKind | None = "answered") -> CallEntry:
    call = a_call(call_id, kind, text="t")
    call.intent |= {"step": step.name, "asked": step.asked}
    return call


ONE, TWO = Step("chunk:1", "d1"), Step("chunk:2", "d2")


def test_each_step_is_walked_by_itself() -> None:
    """Calls that were made side by side are found again whatever their order; a plain walk sees none of them."""
    calls = [a_step_call("1.1.1", TWO), a_step_call("1.1.2", ONE), a_step_call("1.1.3", TWO), a_call("1.1.4")]
    journal = Journal(calls, run=1, attempt=1)
    for step, ids in ((ONE, ["1.1.2"]), (TWO, ["1.1.1", "1.1.3"]), (None, ["1.1.4"])):
        assert [call.id for call in iter(partial(journal.next_past, step), None)] == ids


def test_an_answer_to_something_else_is_none_for_the_step() -> None:
    """The text was cut otherwise, or the prompt has changed."""
    journal = Journal([a_step_call("1.1.1", ONE)], run=1, attempt=1)
    assert journal.next_past(Step(ONE.name, "other")) is None


def test_the_last_answer_of_a_step_is_kept_for_later_attempts_of_the_run() -> None:
    """Not what failed after it, not what this attempt walks itself, and nothing of another run."""
    failed = [a_step_call("1.1.3", TWO), a_step_call("1.1.4", TWO, "failed")]
    calls = [a_step_call("1.1.1", ONE), a_step_call("1.1.2", ONE), *failed]
    later = Journal(calls, run=1, attempt=2)
    kept = later.kept(ONE)
    assert kept is not None
    assert kept.id == "1.1.2"
    assert later.kept(TWO) is None
    assert later.kept(Step(ONE.name, "other")) is None
    assert later.next_past(ONE) is None
    assert Journal(calls, run=1, attempt=1).kept(ONE) is None
    assert Journal(calls, run=2, attempt=1).kept(ONE) is None
    parked = Journal(calls, run=1, attempt=1, walked=4).kept(ONE)
    assert parked is not None
    assert parked.id == "1.1.2"


def test_the_text_of_a_step_stays_out_of_the_journal() -> None:
    """All else of its end stays in; of a plain call all does."""
    step, plain = a_step_call("1.1.1", ONE), a_call("1.1.2", "answered", text="t", model="m")
    assert (step.text_apart, step.end_to_keep()) == ("t", {})
    assert (plain.text_apart, plain.end_to_keep()) == (None, {"text": "t", "model": "m"})


def test_the_summary_of_another_attempt_hides_nothing() -> None:
    """Numbers begin anew in each attempt."""
    fields = [*flat(_1_2_1=b"{}"), b"attempt:1.1", b'{"last_call": 7}', b"run:1", b"{}"]
    assert read_journal(fields, run=1, attempt=2).next_past() is not None


def test_a_call_without_an_end_holds_what_it_can_have_cost() -> None:
    """As does one whose end is unknown; one that was answered holds nothing."""
    assert a_call("1.1.1", None).uncertain_nanousd == 500
    assert a_call("1.1.1", "unknown", uncertain_nanousd=70).uncertain_nanousd == 70
    assert a_call("1.1.1", "answered", uncertain_nanousd=0).uncertain_nanousd == 0


@pytest.mark.parametrize(
    "fields",
    [
        flat(_1_1_1=b"not json"),
        flat(_1_1_1=b"[]"),
        flat(_1_x_1=b"{}"),
        flat(_1_1_1=b"{}", _1_1_1__end=b"answered"),
        flat(_1_1_1=b"{}", _1_1_1__end=b"answered []"),
        flat(_1_1_1=b"{}", _1_1_1__end=b"delivered {}"),
        [b"\xff", b"{}"],
        [b"attempt:1.1", b"[]"],
        [b"attempt:1.1", b'{"last_call": "x"}'],
    ],
)
def test_what_cannot_be_read_is_an_error(fields: list[bytes]) -> None:
    """Never half a journal."""
    with pytest.raises(ValueError):  # noqa: PT011  (several kinds of it)
        read_journal(fields, 1, 1)


def test_an_answer_comes_back_as_it_was() -> None:
    """With all that the next steps look at."""
    answer = an_answer("{}", StopReason.LENGTH, request_id="r", model="m", service_tier="flex", took_ms=12)
    assert answer_from_json(orjson.loads(orjson.dumps(answer_to_json(answer)))) == answer


def every_error(base: type[CallError] = CallError) -> list[type[CallError]]:
    return [kind for sub in base.__subclasses__() for kind in (sub, *every_error(sub)) if "code" in vars(kind)]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.code)
def test_an_error_comes_back_as_it_was(kind: type[CallError]) -> None:
    """Its class decides what is done about it."""
    error = kind(status=503, retry_after_s=2.5, request_id="r", detail="the provider's own words")
    kept = error_to_json(error)
    assert "the provider's own words" not in str(kept)
    back = error_from_json(orjson.loads(orjson.dumps(kept)))
    assert type(back) is kind
    assert (back.retry, back.status, back.retry_after_s, back.sent) == (error.retry, 503, 2.5, True)


def test_an_error_of_a_newer_version_is_a_plain_one() -> None:
    """It is not retried unless it said so."""
    kept = error_to_json(GatewayFailedError()) | {"error": "melted"}
    back = error_from_json(kept)
    assert type(back) is CallError
    assert back.retry


def test_why_the_attempt_before_failed_is_known() -> None:
    """For a run that may make no more calls: that of this number, when it comes again, else of the one before."""
    failed = [b"attempt:1.1", b'{"error": "bad_output"}', b"attempt:1.2", b'{"error": "throttled"}']
    assert read_journal(failed, 1, 2).last_error == "throttled"
    assert read_journal(failed[:2], 1, 2).last_error == "bad_output"
    assert read_journal(failed, 2, 1).last_error is None
