"""What an answer is worth: its stop reason first, then its text, then what the task makes of it."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from penstock import Classify, Extract, Summarize
from penstock_schemas.results import Quality
from penstock_schemas.tasks import TaskInput
from penstock_worker.attempt.judging import Accepted, Rejected, judge
from penstock_worker.attempt.reading import Reader
from penstock_worker.llm.port import StopReason
from penstock_worker.tasks import tasks
from tests.support.attempts import an_answer, an_attempt

TEXT = "The mill stands by the river. Its wheel turns day and night, and the miller sleeps well. " * 4
SUMMARIZE = Summarize(text=TEXT, max_words=8)
GOOD = '{"summary": "A mill works by the river."}'


@pytest.fixture
async def reader() -> AsyncIterator[Reader]:
    reader = Reader()
    yield reader
    await reader.aclose()


async def verdict(reader: Reader, asked: TaskInput[Any], text: str, stop: StopReason = StopReason.COMPLETE) -> Any:
    attempt = an_attempt(asked)
    return await judge(attempt, an_answer(text, stop), tasks()[asked.task].schema(asked), reader)


async def test_a_whole_answer_in_order_is_ok(reader: Reader) -> None:
    """Nothing was mended, nothing is doubtful."""
    assert await verdict(reader, SUMMARIZE, GOOD) == Accepted({"summary": "A mill works by the river."}, Quality.OK)


@pytest.mark.parametrize(
    ("stop", "code", "remedy", "elsewhere"),
    [
        (StopReason.LENGTH, "cut_off", "larger_cap", True),
        (StopReason.REFUSAL, "refused", None, False),
        (StopReason.CONTENT_FILTER, "content_filtered", None, False),
        (StopReason.TOOL_CALLS, "unexpected_tool_call", None, True),
        (StopReason.UNKNOWN, "unknown_stop_reason", None, True),
    ],
)
async def test_an_answer_that_was_stopped_is_none_however_good_it_looks(
    reader: Reader, stop: StopReason, code: str, remedy: str | None, elsewhere: bool
) -> None:
    """The text would pass every check."""
    rejected = await verdict(reader, SUMMARIZE, GOOD, stop)
    assert isinstance(rejected, Rejected)
    assert (rejected.code, rejected.remedy, rejected.next_target) == (code, remedy, elsewhere)


def test_every_stop_reason_but_complete_is_judged() -> None:
    """One that a provider adds has to be thought about."""
    judged = {reason for reason in StopReason if reason is not StopReason.COMPLETE}
    assert judged == {
        StopReason.LENGTH,
        StopReason.REFUSAL,
        StopReason.CONTENT_FILTER,
        StopReason.TOOL_CALLS,
        StopReason.UNKNOWN,
    }


@pytest.mark.parametrize("text", ["", "  \n\t "])
async def test_an_empty_answer_is_asked_for_again(reader: Reader, text: str) -> None:
    """It is no JSON error, it is no answer."""
    rejected = await verdict(reader, SUMMARIZE, text)
    assert (rejected.code, rejected.remedy) == ("empty_answer", "reask")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("not JSON at all", "bad_output"),
        ('{"summary": 12}', "bad_output"),
        ('{"summary": ""}', "bad_output"),
        ('{"summary": "a"} {"summary": "b"}', "bad_output"),
        ('{"summary": "' + " ".join(["word"] * 30) + '"}', "unusable_answer"),
        ('{"summary": "   "}', "unusable_answer"),
        ('{"summary": "You write summaries. You are given a text by someone who has not read it."}', "prompt_leaked"),
    ],
)
async def test_an_answer_of_the_wrong_form_is_asked_for_again_with_the_fault(
    reader: Reader, text: str, code: str
) -> None:
    """The hint says what was wrong, and holds nothing of the answer."""
    rejected = await verdict(reader, SUMMARIZE, text)
    assert (rejected.code, rejected.remedy) == (code, "reask")
    assert 0 < len(rejected.hint) <= 500
    assert "word word" not in rejected.hint


@pytest.mark.parametrize(
    ("asked", "text", "doubts"),
    [
        (SUMMARIZE, '{"summary": "One two three four five six seven eight nine."}', ("over_word_limit",)),
        (SUMMARIZE, '{"summary": "The mill stands by the river."}', ("copied_from_text",)),
        (SUMMARIZE, '{"summary": "A mill works by the riv"}', ("ends_abruptly",)),
        (Summarize(text=TEXT, max_words=8, style="bullets"), '{"summary": "A mill works."}', ("not_bullets",)),
        (
            Extract(text=TEXT, schema={"type": "object", "properties": {"a": {"type": ["string", "null"]}}}),
            '{"a": null}',
            ("nothing_extracted",),
        ),
    ],
)
async def test_what_is_doubtful_is_said(
    reader: Reader, asked: TaskInput[Any], text: str, doubts: tuple[str, ...]
) -> None:
    """Such an answer is a result, and never an ok one."""
    accepted = await verdict(reader, asked, text)
    assert (accepted.quality, accepted.reasons) == (Quality.SUSPECT, doubts)


async def test_the_text_itself_is_no_summary(reader: Reader) -> None:
    """However its lines are broken, and although it is hardly longer than allowed."""
    words = len(TEXT.split())
    asked = Summarize(text=TEXT.replace(" ", "\n"), max_words=words - 1)
    rejected = await verdict(reader, asked, json.dumps({"summary": TEXT}))
    assert (rejected.code, rejected.remedy) == ("unusable_answer", "reask")


async def test_a_mended_answer_says_how(reader: Reader) -> None:
    """The steps are the reasons."""
    accepted = await verdict(reader, SUMMARIZE, f"```json\n{GOOD}\n```")
    assert (accepted.quality, accepted.reasons) == (Quality.REPAIRED, ("code_fence",))


async def test_a_mended_answer_that_is_doubtful_says_both(reader: Reader) -> None:
    """The doubt decides the quality."""
    accepted = await verdict(reader, SUMMARIZE, '```json\n{"summary": "The mill stands by the river."}\n```')
    assert (accepted.quality, accepted.reasons) == (Quality.SUSPECT, ("code_fence", "copied_from_text"))


@pytest.mark.parametrize("label", ["Billing", "billing.", "bill\u0456ng", "bug billing", "other"])
async def test_a_label_is_in_the_set_or_it_is_none(reader: Reader, label: str) -> None:
    """No guess is made from what looks alike."""
    asked = Classify(text=TEXT, labels=["billing", "bug"])
    rejected = await verdict(reader, asked, f'{{"labels": ["{label}"]}}')
    assert (rejected.code, rejected.remedy) == ("bad_output", "reask")


async def test_a_long_answer_is_examined_beside_the_event_loop(reader: Reader) -> None:
    """Twenty thousand quotes of a long text take their time, and the loop is told apart from them."""
    text = " ".join(f"word{n}" for n in range(20_000))
    asked = Extract(text=text, schema={"type": "object", "properties": {"a": {"type": "string"}}}, evidence=True)
    quotes = [{"path": "/a", "quote": f"word{n} word{n + 1}"} for n in range(5_000)]
    answer = json.dumps({"value": {"a": "word1"}, "evidence": [*quotes, {"path": "/a", "quote": "nowhere"}]})
    seen = []

    async def look() -> None:
        while True:
            seen.append(threading.active_count())
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    rejected = await verdict(reader, asked, answer)
    looking.cancel()
    assert "not in the text" in rejected.hint
    assert any(thread.name.startswith("asyncio_") for thread in threading.enumerate())
    assert len(seen) > 1
