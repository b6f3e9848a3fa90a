"""What holds for every provider family: any bytes, any split, any shape."""

import json
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_schemas.results import Usage
from penstock_worker.llm.client import FAMILIES
from penstock_worker.llm.errors import CallError, StreamBrokenError
from penstock_worker.llm.family import AnswerStream, Reply
from penstock_worker.llm.port import CallRequest, SchemaMode, StopReason, Target
from penstock_worker.money.usage import Bounds, bounds
from tests.support.formats import CACHED, FORMATS, INPUT, OUTPUT, REASONING
from tests.support.provider import dumped

KINDS = sorted(FAMILIES)
KNOWN = bounds(input_bytes=3000, output_bytes=30, cap_tokens=100)
STOPS = {
    "complete": StopReason.COMPLETE,
    "length": StopReason.LENGTH,
    "refusal": StopReason.REFUSAL,
    "filter": StopReason.CONTENT_FILTER,
}
ENDS = [(kind, end) for kind in KINDS for end in FORMATS[kind].ends]


def target(kind: str, **fields: Any) -> Target:
    return Target(**{"name": "t/m", "kind": kind, "model": "m", "base_url": "https://example.com", **fields})


def ask(**fields: Any) -> CallRequest:
    return CallRequest(**{"system": "s", "user": "u", "max_output_tokens": 77, **fields})


def opened(kind: str) -> AnswerStream:
    return FAMILIES[kind].open_stream(target(kind))


def read(kind: str, frames: list[bytes]) -> tuple[Reply, list[str]]:
    stream = opened(kind)
    pieces = [piece for frame in frames for piece in stream.feed(frame)]
    return stream.finish(), pieces


def test_every_family_has_a_format() -> None:
    """A family without recorded shapes would be proven by nothing here."""
    assert set(FORMATS) == set(FAMILIES)


@pytest.mark.parametrize(("kind", "end"), ENDS)
def test_whole_and_streamed_are_one_answer(kind: str, end: str) -> None:
    """Text, stop reason, refusal, ids, model, tier and usage are the same, and the pieces are the text."""
    form = FORMATS[kind]
    whole = FAMILIES[kind].read_answer(dumped(form.whole("hél lo", end)))
    streamed, pieces = read(kind, form.stream(["hé", "l ", "lo"], end))
    assert (whole.stop, streamed.stop) == (STOPS[end], STOPS[end])
    assert streamed.text == whole.text == "".join(pieces)
    assert (whole.text == "hél lo") == (end != "refusal" or kind == "anthropic")
    assert streamed.refusal == whole.refusal == ("I cannot." if end == "refusal" else None)
    assert (streamed.model, streamed.response_id) == (whole.model, whole.response_id)
    assert whole.model == "test-model-2025"
    usages = [FAMILIES[kind].read_usage(reply.raw_usage, KNOWN)[0] for reply in (whole, streamed)]
    assert usages[0] == usages[1] == expected_usage(kind)


def expected_usage(kind: str) -> Usage:
    """The buckets of every recorded shape; they sum to what the provider says is the whole."""
    form = FORMATS[kind]
    wrote = {"cache_write_tokens": 0} if kind == "anthropic" else {}
    return Usage(
        input_tokens=INPUT if form.caching else INPUT + CACHED,
        cache_read_tokens=CACHED if form.caching else None,
        output_tokens=OUTPUT if form.reasoning else OUTPUT + REASONING,
        reasoning_tokens=REASONING if form.reasoning else None,
        **wrote,
    )


@pytest.mark.parametrize("kind", KINDS)
@given(texts=st.lists(st.text(max_size=5), max_size=6), data=st.data())
def test_any_split_gives_the_same_answer(kind: str, texts: list[str], data: st.DataObject) -> None:
    """Where the network cuts the bytes has no influence on the pieces or on the answer."""
    raw = b"".join(FORMATS[kind].stream(texts, "complete"))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=12)))
    split = [raw[a:b] for a, b in pairwise([0, *cuts, len(raw)])]
    whole, pieces = read(kind, [raw])
    assert whole.text == "".join(texts) == "".join(pieces)
    assert read(kind, split) == (whole, pieces)
    assert read(kind, [raw[i : i + 1] for i in range(len(raw))]) == (whole, pieces)


@pytest.mark.parametrize("kind", KINDS)
def test_every_cut_is_an_error(kind: str) -> None:
    """A stream that ends anywhere before its end marker is never an answer."""
    frames = FORMATS[kind].stream(["a", "b"], "complete")
    raw = b"".join(frames)
    for size in range(len(raw) - len(frames[-1])):
        with pytest.raises(CallError) as caught:
            read(kind, [raw[:size]])
        assert caught.value.code in ("stream_broken", "bad_response")
    stream = opened(kind)
    for frame in frames[:-1]:
        list(stream.feed(frame))
    assert not stream.done
    with pytest.raises(StreamBrokenError):
        stream.finish()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
NAMES = [
    "error,type,message,content,usage,status,output,response,delta,index,text,stop_reason,done,done_reason,details",
    "candidates,parts,finishReason,promptFeedback,blockReason,usageMetadata,incomplete_details,reason,thought,item",
    "sequence_number,content_block,prompt_eval_count,eval_count,input_tokens,output_tokens,stop_details,tool_calls",
    "partial_json,function,arguments,name,input,call_id,signature,tool_use",
    "choices,message,finish_reason,refusal,code,innererror,metadata,id,model,service_tier,thinking,retryDelay",
]
WORDS = [
    "response.output_text.delta,response.completed,response.failed,message_start,content_block_start,message_stop,text",
    "tool_use,function_call,input_json_delta,thinking,thinking_delta,redacted_thinking,tool_calls",
    "content_block_delta,text_delta,message_delta,error,message,output_text,completed,incomplete,failed,refusal,stop",
]
names = st.sampled_from(",".join(NAMES).split(","))
likely = json_values | st.sampled_from(",".join(WORDS).split(","))
shapes = st.recursive(
    likely,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=6),
    max_leaves=14,
)


@pytest.mark.parametrize("kind", KINDS)
@given(body=shapes | st.binary(max_size=20))
def test_any_body_is_read_or_refused(kind: str, body: Any) -> None:
    """A body of any shape is a reply or a CallError, never another error; its usage is valid either way."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        reply = FAMILIES[kind].read_answer(raw)
    except CallError:
        return
    reply.text.encode()
    check_calls(reply)
    check_usage(kind, reply.raw_usage)


@pytest.mark.parametrize("kind", KINDS)
@given(events=st.lists(shapes, max_size=4))
def test_any_stream_is_read_or_refused(kind: str, events: list[Any]) -> None:
    """Events of any shape give a reply or a CallError."""
    stream = opened(kind)
    start = b"" if kind == "ollama" else b"data: "
    try:
        for value in events:
            list(stream.feed(start + json.dumps(value).encode() + b"\n\n"))
        reply = stream.finish()
        reply.text.encode()
        check_calls(reply)
    except CallError:
        pass
    check_usage(kind, stream.raw_usage)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_damaged_bytes_are_read_or_refused(kind: str, data: st.DataObject) -> None:
    """Any bytes at all, and a good stream with bytes changed, lost or put in: a reply or a CallError."""
    good = b"".join(FORMATS[kind].stream(["a", "b"], data.draw(st.sampled_from(FORMATS[kind].ends))))
    raw = data.draw(st.binary(max_size=200) | st.just(good))
    for at, how, byte in data.draw(
        st.lists(st.tuples(st.integers(0, 5000), st.sampled_from("xdi"), st.binary(max_size=3)))
    ):
        place = at % (len(raw) + 1)
        raw = raw[:place] + (b"" if how == "d" else byte) + raw[place + (how != "i") :]
    stream = opened(kind)
    cut = data.draw(st.integers(0, len(raw)))
    try:
        list(stream.feed(raw[:cut]))
        list(stream.feed(raw[cut:]))
        reply = stream.finish()
        reply.text.encode()
        check_calls(reply)
    except CallError:
        pass
    check_usage(kind, stream.raw_usage)


@pytest.mark.parametrize("kind", KINDS)
@given(status=st.integers(100, 599), body=shapes | st.binary(max_size=20))
def test_any_refusal_is_classified(kind: str, status: int, body: Any) -> None:
    """A refusal of any shape is a CallError with a bounded detail and a wait that can be waited."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    error = FAMILIES[kind].read_error(status, raw)
    assert isinstance(error, CallError)
    assert len(error.detail.encode()) <= 256
    assert error.retry_after_s is None or 0 <= error.retry_after_s <= 86_400


def check_calls(reply: Reply) -> None:
    """What is asked to be called can be stored and sent again, whatever it is."""
    for call in reply.tool_calls:
        assert call.id
        (call.id + call.name + call.arguments).encode()
    orjson.dumps(reply.carry)


def check_usage(kind: str, raw: Any, known: Bounds = KNOWN) -> None:
    usage, cost = FAMILIES[kind].read_usage(raw, known)
    assert Usage.model_validate(usage.model_dump()) == usage
    assert usage.input_tokens is not None
    assert usage.output_tokens is not None
    assert usage.output_tokens <= known.cap_tokens
    assert cost is None or cost >= 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("raw", [None, {}, {"usage": 5}])
def test_missing_usage_is_estimated(kind: str, raw: Any) -> None:
    """Without usage our own bounds stand in, and say so."""
    usage, _ = FAMILIES[kind].read_usage(raw, KNOWN)
    assert (usage.input_tokens, usage.output_tokens) == (KNOWN.input_tokens, KNOWN.output_tokens)
    assert usage.suspect
    assert usage.estimated


@pytest.mark.parametrize("kind", KINDS)
def test_the_cap_is_always_sent(kind: str) -> None:
    """Each family has its own field for the output cap, and it is filled with or without all else."""
    for fields in ({}, {"stream": True}, {"schema": {"type": "object", "properties": {}}}):
        body = json.dumps(FAMILIES[kind].prepare(target(kind), ask(**fields)).body)
        assert ": 77" in body


@pytest.mark.parametrize("kind", KINDS)
def test_the_key_is_in_one_header(kind: str) -> None:
    """The key is in one header, and in nothing else that a family makes; without a key there is none."""
    family = FAMILIES[kind]
    headers = family.headers(target(kind, options={"headers": {"X-Title": "t"}}), "sk-canary")
    assert [value for value in headers.values() if "sk-canary" in value]
    assert headers["x-title"] == "t"
    assert all(name == name.lower() for name in headers)
    assert not {"authorization", "x-api-key", "api-key", "x-goog-api-key"} & family.headers(target(kind), None).keys()
    assert "?key" not in family.prepare(target(kind), ask(stream=True)).path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{"nonsense": 1}, {"headers": "x"}, {"body": []}])
def test_a_wrong_option_is_named(kind: str, options: dict[str, Any]) -> None:
    """A misspelt or impossible option is an error at the start, whatever the kind."""
    with pytest.raises(ValueError, match=rf"options\.{next(iter(options))}:"):
        FAMILIES[kind].check_options(target(kind, options=options))


@pytest.mark.parametrize("kind", KINDS)
def test_further_fields_never_displace_ours(kind: str) -> None:
    """What the configuration adds to the body is there, and cannot change the model or the messages."""
    extra = {"extra_field": 5, "model": "evil", "messages": [], "input": [], "contents": [], "max_tokens": 1}
    body = FAMILIES[kind].prepare(target(kind, options={"body": extra}), ask()).body
    assert body["extra_field"] == 5
    assert "evil" not in json.dumps({**body, "model": "" if kind == "gemini" else body["model"]})
    said = {"openai-responses": "input", "gemini": "contents"}.get(kind, "messages")
    assert "u" in json.dumps(body[said][-1])


OBJECT = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 5}}, "required": ["a"]}


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_no_provider_takes_goes_into_the_prompt(kind: str) -> None:
    """A free-form map is in no subset: the mode is weaker, the reason is told, the schema is in the prompt."""
    prepared = FAMILIES[kind].prepare(target(kind), ask(schema={"type": "object"}))
    assert prepared.schema_mode in (SchemaMode.JSON_OBJECT, SchemaMode.PROMPT)
    assert len(prepared.schema_changes) == 1
    assert "JSON Schema" in json.dumps(prepared.body)


@pytest.mark.parametrize("kind", KINDS)
def test_prompt_mode_asks_for_no_format(kind: str) -> None:
    """After a provider refused a schema the next request has no trace of its own format."""
    body = FAMILIES[kind].prepare(target(kind), ask(schema=OBJECT, schema_mode=SchemaMode.PROMPT)).body
    text = json.dumps(body)
    assert "JSON Schema" in text
    for field in ("response_format", "output_config", '"format"', "responseJsonSchema", "responseMimeType"):
        assert field not in text
