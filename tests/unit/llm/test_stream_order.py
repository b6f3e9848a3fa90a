"""Events that come twice, too late, in another order, or from the future."""

from collections.abc import Sequence
from typing import Any

import pytest

from penstock_worker.llm.client import FAMILIES
from penstock_worker.llm.errors import BadResponseError, CallError, StreamBrokenError
from penstock_worker.llm.family import AnswerStream, Reply
from penstock_worker.llm.port import StopReason, Target
from tests.support.formats import (
    GEMINI_USAGE,
    anthropic_events,
    gemini_document,
    ollama_line,
    responses_events,
    responses_whole,
    sse,
)
from tests.support.provider import dumped


def opened(kind: str) -> AnswerStream:
    return FAMILIES[kind].open_stream(Target("t/m", kind, "m", "https://example.com"))


def read(kind: str, values: Sequence[dict[str, Any]], *, named: bool = True) -> tuple[Reply, list[str]]:
    stream = opened(kind)
    pieces = [piece for frame in sse(*values, named=named) for piece in stream.feed(frame)]
    return stream.finish(), pieces


UNKNOWN = {"type": "response.something.new", "delta": "not text"}


def test_responses_pass_over_what_comes_again() -> None:
    """An event with a number that was seen is not counted twice; an unknown one is not counted at all."""
    events = responses_events(["a", "b"], "complete")
    twice = [event for event in events for _ in range(2)]
    assert read("openai-responses", twice)[0].text == "ab"
    assert read("openai-responses", [events[0], UNKNOWN, *events[1:]])[0].text == "ab"


@pytest.mark.parametrize("lost", [3, 4])
def test_responses_refuse_what_is_lost(lost: int) -> None:
    """The last event repeats the answer: pieces that are not its text are no answer."""
    events = responses_events(["a", "b"], "complete")
    assert events[lost]["type"] == "response.output_text.delta"
    with pytest.raises(BadResponseError):
        read("openai-responses", events[:lost] + events[lost + 1 :])


def test_responses_refuse_another_order() -> None:
    """A piece that comes after a later one is one that is lost."""
    events = responses_events(["a", "b"], "complete")
    events[3], events[4] = events[4], events[3]
    with pytest.raises(BadResponseError):
        read("openai-responses", events)


def test_responses_without_pieces() -> None:
    """A server that sends the whole at once gives it as one piece."""
    reply, pieces = read(
        "openai-responses", [{"type": "response.completed", "response": responses_whole("a", "complete")}]
    )
    assert (reply.text, pieces) == ("a", ["a"])


def test_responses_end_without_an_empty_line() -> None:
    """The last event counts though the connection ends right behind it."""
    frames = sse(*responses_events(["a"], "complete"), named=True)
    stream = opened("openai-responses")
    for frame in [*frames[:-1], frames[-1].rstrip(b"\n")]:
        list(stream.feed(frame))
    assert stream.finish().text == "a"


def test_responses_reasoning_is_progress_without_text() -> None:
    """A summary of thoughts keeps the call alive and is no answer."""
    events = responses_events(["a"], "complete")
    thought = {"type": "response.reasoning_summary_text.delta", "delta": "hm"}
    reply, pieces = read("openai-responses", [events[0], thought, *events[1:]])
    assert (reply.text, pieces) == ("a", ["", "a"])


def test_responses_tool_call() -> None:
    """A call without a message is no answer."""
    body = {**responses_whole("", "complete"), "output": [{"type": "function_call", "name": "f"}]}
    assert FAMILIES["openai-responses"].read_answer(dumped(body)).stop is StopReason.TOOL_CALLS


@pytest.mark.parametrize("reason", [None, "something_new"])
def test_responses_unknown_incompleteness(reason: str | None) -> None:
    """Incomplete for a reason we do not know is never complete."""
    body = {**responses_whole("a", "length"), "incomplete_details": {"reason": reason}}
    assert FAMILIES["openai-responses"].read_answer(dumped(body)).stop is StopReason.UNKNOWN


@pytest.mark.parametrize("word", ["pause_turn", "something_new", None])
def test_anthropic_unknown_stop(word: str | None) -> None:
    """A pause and a reason of the future are not complete; nor is an end without a reason."""
    events = anthropic_events(["a"], "complete")
    events[-2]["delta"]["stop_reason"] = word
    assert read("anthropic", events)[0].stop is StopReason.UNKNOWN
    assert read("anthropic", [*events[:-2], events[-1]])[0].stop is StopReason.UNKNOWN


@pytest.mark.parametrize(
    ("word", "stop"),
    [
        ("stop_sequence", StopReason.COMPLETE),
        ("tool_use", StopReason.TOOL_CALLS),
        ("model_context_window_exceeded", StopReason.LENGTH),
    ],
)
def test_anthropic_stop_reasons(word: str, stop: StopReason) -> None:
    """Every known word has its meaning."""
    events = anthropic_events(["a"], "complete")
    events[-2]["delta"]["stop_reason"] = word
    assert read("anthropic", events)[0].stop is stop


def test_anthropic_hidden_blocks() -> None:
    """Thinking and tool input are progress; only text is text; unknown events are passed over."""
    events = anthropic_events(["a", "b"], "complete")
    events.insert(1, {"type": "something_new", "delta": {"text": "x"}})
    assert read("anthropic", events)[1] == ["", "a", "b"]


def test_anthropic_blocks_open_once_and_close() -> None:
    """Text for a block that is not open, and a block that opens twice, are refused."""
    events = anthropic_events(["a"], "complete")
    text = events[6]
    assert text["type"] == "content_block_delta"
    for wrong in ([*events[:5], text], [*events[:8], text], [*events[:6], events[5]]):
        with pytest.raises(BadResponseError):
            read("anthropic", [*wrong, *events[-2:]])


def test_anthropic_usage_of_a_broken_stream() -> None:
    """The first event's output count is a placeholder, and not believed."""
    stream = opened("anthropic")
    for frame in sse(*anthropic_events(["a"], "complete")[:7], named=True):
        list(stream.feed(frame))
    with pytest.raises(StreamBrokenError):
        stream.finish()
    assert stream.raw_usage is not None
    assert stream.raw_usage["input_tokens"] == 40
    assert "output_tokens" not in stream.raw_usage


def test_anthropic_usage_is_cumulative() -> None:
    """A later figure stands in the place of an earlier one; null changes nothing."""
    events = anthropic_events(["a"], "complete")
    later = {"output_tokens": 20, "input_tokens": 41, "cache_read_input_tokens": None}
    more = {"type": "message_delta", "delta": {}, "usage": later}
    usage = read("anthropic", [*events[:-1], more, events[-1]])[0].raw_usage
    assert usage is not None
    assert (usage["output_tokens"], usage["input_tokens"], usage["cache_read_input_tokens"]) == (20, 41, 16)


def test_anthropic_several_text_blocks() -> None:
    """All text blocks are the answer, in their order."""
    parts = [{"type": "text", "text": "a"}, {"type": "tool_use", "id": "t"}, {"type": "text", "text": "b"}]
    body = {"type": "message", "content": parts, "stop_reason": "end_turn"}
    assert FAMILIES["anthropic"].read_answer(dumped(body)).text == "ab"


def test_gemini_blocked_prompt() -> None:
    """A 200 without candidates and with a block reason is filtered, and its input is counted."""
    body = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 5, "totalTokenCount": 5}}
    reply = FAMILIES["gemini"].read_answer(dumped(body))
    assert (reply.text, reply.stop) == ("", StopReason.CONTENT_FILTER)
    assert read("gemini", [body], named=False)[0] == reply


@pytest.mark.parametrize(
    ("finish", "stop"),
    [
        ("RECITATION", StopReason.CONTENT_FILTER),
        ("PROHIBITED_CONTENT", StopReason.CONTENT_FILTER),
        ("SPII", StopReason.CONTENT_FILTER),
        ("MALFORMED_FUNCTION_CALL", StopReason.TOOL_CALLS),
        ("OTHER", StopReason.UNKNOWN),
        ("LANGUAGE", StopReason.UNKNOWN),
        ("SOMETHING_NEW", StopReason.UNKNOWN),
        (None, StopReason.UNKNOWN),
    ],
)
def test_gemini_finish_reasons(finish: str | None, stop: StopReason) -> None:
    """The list grows: what is not known to be complete is not."""
    body = gemini_document({"text": "a"}, finish=finish)
    assert FAMILIES["gemini"].read_answer(dumped(body)).stop is stop


def test_gemini_function_call_is_not_complete() -> None:
    """STOP with a function call is a call, in one document or over several."""
    call = {"functionCall": {"name": "f", "args": {}}}
    assert FAMILIES["gemini"].read_answer(dumped(gemini_document(call, finish="STOP"))).stop is StopReason.TOOL_CALLS
    values = [gemini_document(call), gemini_document({"text": ""}, finish="STOP")]
    assert read("gemini", values, named=False)[0].stop is StopReason.TOOL_CALLS


def test_gemini_cut_off_thoughts() -> None:
    """Thoughts that ate the whole cap leave an empty answer that says so."""
    body = gemini_document(finish="MAX_TOKENS", usage={"promptTokenCount": 5, "thoughtsTokenCount": 9})
    reply = FAMILIES["gemini"].read_answer(dumped(body))
    assert (reply.text, reply.stop) == ("", StopReason.LENGTH)


def test_gemini_finish_reason_with_every_piece() -> None:
    """Older models: only the last piece's reason counts, and a last piece without one is a cut."""
    pieces = [gemini_document({"text": "a"}, finish="STOP"), gemini_document({"text": "b"}, finish="MAX_TOKENS")]
    reply, _ = read("gemini", pieces, named=False)
    assert (reply.text, reply.stop) == ("ab", StopReason.LENGTH)
    with pytest.raises(StreamBrokenError):
        read("gemini", [pieces[0], gemini_document({"text": "b"})], named=False)


def test_gemini_usage_after_the_end() -> None:
    """Usage may come in a document of its own behind the finish reason."""
    last = gemini_document({"text": "a"}, finish="STOP")
    reply, _ = read("gemini", [last, {"usageMetadata": GEMINI_USAGE}], named=False)
    assert reply.raw_usage == GEMINI_USAGE


def test_ollama_last_line_needs_no_line_end() -> None:
    """A proxy may drop it; half of that line is a cut."""
    stream, half = opened("ollama"), opened("ollama")
    last = dumped(ollama_line("", "complete"))
    for some, end in ((stream, last), (half, last[:-5])):
        list(some.feed(dumped(ollama_line("a")) + b"\n" + end))
    assert stream.finish().text == "a"
    with pytest.raises(StreamBrokenError):
        half.finish()


@pytest.mark.parametrize("reason", ["load", "unload", "something_new", None])
def test_ollama_unknown_done_reason(reason: str | None) -> None:
    """A model that was unloaded has not answered."""
    line = {**ollama_line("a", "complete"), "done_reason": reason}
    assert FAMILIES["ollama"].read_answer(dumped(line)).stop is StopReason.UNKNOWN


def test_ollama_tool_call() -> None:
    """A call is no answer, whole or streamed, though the reason is stop."""
    line = ollama_line("", "complete", message={"tool_calls": [{"function": {"name": "f"}}]})
    assert FAMILIES["ollama"].read_answer(dumped(line)).stop is StopReason.TOOL_CALLS
    stream = opened("ollama")
    early = ollama_line("", message={"tool_calls": [{"function": {"name": "f"}}]})
    assert list(stream.feed(dumped(early) + b"\n" + dumped(ollama_line("", "complete")) + b"\n")) == [""]
    assert stream.finish().stop is StopReason.TOOL_CALLS


@pytest.mark.parametrize("kind", ["openai-responses", "anthropic", "gemini"])
def test_a_foreign_end_word_is_no_end(kind: str) -> None:
    """[DONE], which gateways add to other formats, ends nothing by itself."""
    stream = opened(kind)
    with pytest.raises(CallError):
        list(stream.feed(b"data: [DONE]\n\n")) or stream.finish()
