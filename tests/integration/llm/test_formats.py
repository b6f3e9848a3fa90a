"""Every provider's format over a real socket, in the shapes that were recorded from them."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from penstock_worker.llm.client import FAMILIES, HttpModelClient
from penstock_worker.llm.errors import CallError
from penstock_worker.llm.port import SchemaMode, StopReason
from penstock_worker.llm.rate_limits import Allowance, RateLimits
from penstock_worker.llm.secrets import SecretRef
from tests.support.formats import CACHED, FORMATS, INPUT, OUTPUT, REASONING, Format, gemini_document, ollama_line
from tests.support.provider import LAST_CHUNK, Provider, Request, completion, delta, dumped, event, http_chunk, response

Make = Callable[..., Any]
KINDS = sorted(FAMILIES)
SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 9}}, "required": ["a"]}
KEY_HEADER = {"anthropic": "x-api-key", "azure": "api-key", "gemini": "x-goog-api-key"}


def stream_head(media_type: str, *headers: str) -> bytes:
    """The beginning of a streamed response."""
    lines = ["HTTP/1.1 200 OK", f"content-type: {media_type}", "transfer-encoding: chunked", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def wants_stream(request: Request) -> bool:
    return b":streamGenerateContent" in request.head or bool(request.json.get("stream"))


def answering(form: Format, text: str, end: str = "complete", *headers: str) -> Callable[[Request], Any]:
    """A script that answers in *form*, streamed when asked to, in pieces of three characters."""
    pieces = [text[at : at + 3] for at in range(0, len(text), 3)]

    async def script(request: Request) -> None:
        if not wants_stream(request):
            await request.send(response(dumped(form.whole(text, end)), headers=headers))
            return
        frames = [http_chunk(frame) for frame in form.stream(pieces, end)]
        await request.send(stream_head(form.media_type, *headers), *frames, LAST_CHUNK)

    return script


@pytest.mark.parametrize("kind", KINDS)
async def test_plain_and_streamed(
    client: HttpModelClient, target: Make, ask: Make, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Text, end, ids and usage do not depend on how the answer came; the key is in the provider's header."""
    monkeypatch.setenv("TEST_LLM_KEY", "sk-secret")
    form = FORMATS[kind]
    async with Provider(answering(form, '{"a":"hé"}', "complete", "request-id: req-1")) as provider:
        place = target(provider, kind=kind, api_key=SecretRef(env="TEST_LLM_KEY"))
        seen: list[str] = []
        whole = await client.call(place, ask(schema=SCHEMA))
        streamed = await client.call(place, ask(schema=SCHEMA, stream=True), on_delta=seen.append)
    for answer in (whole, streamed):
        assert (answer.text, answer.stop, answer.request_id) == ('{"a":"hé"}', StopReason.COMPLETE, "req-1")
        assert answer.model == "test-model-2025"
        assert answer.schema_mode is SchemaMode.JSON_SCHEMA
        assert answer.usage is not None
        assert answer.usage.total_tokens == INPUT + CACHED + OUTPUT + REASONING
        assert not answer.usage.suspect
    assert "".join(seen) == streamed.text
    assert whole.usage == streamed.usage
    for request in provider.requests:
        assert "sk-secret" in request.headers[KEY_HEADER.get(kind, "authorization")]
        assert b"sk-secret" not in request.head.split(b"\r\n", 1)[0] + request.body
    assert provider.connections == 1


@pytest.mark.parametrize(("kind", "end"), [(kind, end) for kind in KINDS for end in FORMATS[kind].ends])
@pytest.mark.parametrize("stream", [False, True])
async def test_ends(client: HttpModelClient, target: Make, ask: Make, kind: str, end: str, stream: bool) -> None:
    """A cut-off, a refusal and a filtered answer are answers, and not complete."""
    stops = {"length": "length", "refusal": "refusal", "filter": "content_filter"}
    async with Provider(answering(FORMATS[kind], "abc", end)) as provider:
        answer = await client.call(target(provider, kind=kind), ask(stream=stream))
    assert answer.stop == stops.get(end, "complete")
    assert answer.usage is not None
    assert not answer.usage.suspect


REFUSALS = [
    (401, "auth_failed", (False, True)),
    (404, "model_not_found", (False, True)),
    (429, "throttled", (True, False)),
    (500, "server_error", (True, True)),
    (502, "gateway_error", (True, True)),
    (503, "overloaded", (True, True)),
    (529, "overloaded", (True, True)),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("status", "code", "flags"), REFUSALS)
async def test_refusals(
    client: HttpModelClient, target: Make, ask: Make, kind: str, status: int, code: str, flags: tuple[bool, bool]
) -> None:
    """A status with an empty error of the provider's own format is classified; the wait is handed on."""

    async def script(request: Request) -> None:
        body = dumped(FORMATS[kind].error("", "", "x"))
        await request.send(response(body, status=f"{status} E", headers=["retry-after-ms: 1500", "request-id: r"]))

    async with Provider(script) as provider:
        with pytest.raises(CallError) as caught:
            await client.call(target(provider, kind=kind), ask())
    seen = caught.value
    assert (seen.code, (seen.retry, seen.trips_breaker)) == (code, flags)
    assert (seen.retry_after_s, seen.request_id, seen.status) == (1.5, "r", status)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_without_its_end(client: HttpModelClient, target: Make, ask: Make, kind: str) -> None:
    """A body that ends in order, but without the format's end marker, is broken; what came is counted."""
    form = FORMATS[kind]

    async def script(request: Request) -> None:
        frames = [http_chunk(frame) for frame in form.stream(["hi"], "complete")[:-1]]
        await request.send(stream_head(form.media_type), *frames, LAST_CHUNK)

    async with Provider(script) as provider:
        with pytest.raises(CallError) as caught:
            await client.call(target(provider, kind=kind), ask(stream=True))
    assert (caught.value.code, caught.value.billed, caught.value.received_bytes) == ("stream_broken", "yes", 2)


@pytest.mark.parametrize("kind", ["anthropic", "gemini"])
async def test_early_figures_do_not_make_a_broken_answer_cheap(
    client: HttpModelClient, target: Make, ask: Make, kind: str
) -> None:
    """These two tell the input first and the output last: a stream that breaks between has its output estimated."""
    form = FORMATS[kind]

    async def script(request: Request) -> None:
        frames = [http_chunk(frame) for frame in form.stream(["some text", " and more"], "complete")[:-2]]
        await request.send(stream_head(form.media_type), *frames)
        request.writer.close()

    async with Provider(script) as provider:
        with pytest.raises(CallError) as caught:
            await client.call(target(provider, kind=kind), ask(stream=True))
    usage = caught.value.usage
    assert usage is not None
    assert (usage.input_tokens or 0) + (usage.cache_read_tokens or 0) == INPUT + CACHED
    assert usage.output_tokens == -(-caught.value.received_bytes // 3)
    assert usage.estimated


@pytest.mark.parametrize("kind", KINDS)
async def test_cancelling_closes_the_connection(client: HttpModelClient, target: Make, ask: Make, kind: str) -> None:
    """In the middle of any provider's stream the provider sees a cancellation at once."""
    form = FORMATS[kind]

    async def script(request: Request) -> None:
        frames = [http_chunk(frame) for frame in form.stream(["hi"], "complete")[:-1]]
        await request.send(stream_head(form.media_type), *frames)
        await request.gone()

    began = asyncio.Event()
    async with Provider(script) as provider:
        call = client.call(target(provider, kind=kind), ask(stream=True), on_delta=lambda text: began.set())
        task = asyncio.create_task(call)
        await asyncio.wait_for(began.wait(), 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(provider.hung_up.wait(), 30)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("piece", "shape"), [("\n  ", "white_space"), ("and so on, ", "repetition")])
async def test_a_degenerate_stream_is_stopped(
    client: HttpModelClient, target: Make, ask: Make, kind: str, piece: str, shape: str
) -> None:
    """White space and loops end the call early, as an error of their own, and as billed."""
    form = FORMATS[kind]

    async def script(request: Request) -> None:
        frames = form.stream(["{", *[piece] * 5000], "length")
        await request.send(stream_head(form.media_type), *(http_chunk(frame) for frame in frames[:-1]))
        await request.gone()

    async with Provider(script) as provider:
        with pytest.raises(CallError) as caught:
            await client.call(target(provider, kind=kind), ask(stream=True))
        await asyncio.wait_for(provider.hung_up.wait(), 30)
    assert (caught.value.code, caught.value.detail, caught.value.billed) == ("degenerate", shape, "yes")
    assert 400 < caught.value.received_bytes < 4096
    assert not caught.value.trips_breaker


async def test_loops_may_be_allowed(client: HttpModelClient, target: Make, ask: Make) -> None:
    """A target can be told that such answers are meant."""
    async with Provider(answering(FORMATS["openai"], "0," * 3000)) as provider:
        answer = await client.call(target(provider, stop_loops=False), ask(stream=True))
    assert len(answer.text) == 6000


LIMITS = {
    "openai": ("x-ratelimit-remaining-requests: 9", "x-ratelimit-reset-requests: 2s"),
    "anthropic": ("anthropic-ratelimit-requests-remaining: 9",),
}


@pytest.mark.parametrize("kind", sorted(LIMITS))
@pytest.mark.parametrize("stream", [False, True])
async def test_limits_are_on_the_answer(
    client: HttpModelClient, target: Make, ask: Make, kind: str, stream: bool
) -> None:
    """What the headers say about the account's limits is handed on."""
    async with Provider(answering(FORMATS[kind], "a", "complete", *LIMITS[kind])) as provider:
        answer = await client.call(target(provider, kind=kind), ask(stream=stream))
    reset_s = 2.0 if kind == "openai" else None
    assert answer.limits == RateLimits(requests=Allowance(None, 9, reset_s))


async def test_limits_are_on_the_refusal(client: HttpModelClient, target: Make, ask: Make) -> None:
    """And on a 429, where they matter most; an answer without them says nothing."""

    async def script(request: Request) -> None:
        headers = ["x-ratelimit-remaining-tokens: 0", "x-ratelimit-reset-tokens: 1m"]
        await request.send(response(b"{}", status="429 T", headers=headers))

    async with Provider(script) as provider:
        with pytest.raises(CallError) as caught:
            await client.call(target(provider), ask())
    assert caught.value.limits == RateLimits(tokens=Allowance(None, 0, 60.0))
    async with Provider(answering(FORMATS["openai"], "a")) as provider:
        assert (await client.call(target(provider), ask())).limits is None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [(["retry-after: 20"], ("throttled", True, False, 20.0)), ([], ("quota_exhausted", False, True, None))],
)
async def test_payment_required_until_later(
    client: HttpModelClient, target: Make, ask: Make, headers: list[str], expected: Any
) -> None:
    """OpenRouter: a 402 that says when to come back is a throttle; without that it is a matter of money."""

    async def script(request: Request) -> None:
        body = dumped({"error": {"code": 402, "message": "Insufficient credits"}})
        await request.send(response(body, status="402 P", headers=headers))

    async with Provider(script) as provider:
        with pytest.raises(CallError) as caught:
            await client.call(target(provider), ask())
    seen = caught.value
    assert (seen.code, seen.retry, seen.trips_breaker, seen.retry_after_s) == expected
    assert seen.billed == "no"


@pytest.mark.parametrize(("header", "wait_s"), [((), 34.0), (("retry-after: 5",), 5.0)])
async def test_gemini_wait(
    client: HttpModelClient, target: Make, ask: Make, header: tuple[str, ...], wait_s: float
) -> None:
    """The wait comes from the body, unless a header names one."""

    async def script(request: Request) -> None:
        detail = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}
        error = {"code": 429, "message": "x", "status": "RESOURCE_EXHAUSTED", "details": [detail]}
        await request.send(response(dumped({"error": error}), status="429 T", headers=header))

    async with Provider(script) as provider:
        with pytest.raises(CallError) as caught:
            await client.call(target(provider, kind="gemini"), ask())
    assert (caught.value.code, caught.value.retry_after_s) == ("throttled", wait_s)


async def test_gemini_tier_is_in_a_header(client: HttpModelClient, target: Make, ask: Make) -> None:
    """The tier that was really used is the price's, and stands in no body."""
    async with Provider(answering(FORMATS["gemini"], "a", "complete", "x-gemini-service-tier: Flex")) as provider:
        answer = await client.call(target(provider, kind="gemini"), ask())
    assert answer.service_tier == "flex"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("read", "num_ctx", "cut"),
    [(4096, 4096, True), (2048, 4096, True), (4000, 8192, False), (None, 8192, False), (9000, 16_384, False)],
)
async def test_ollama_silent_cut(
    client: HttpModelClient, target: Make, ask: Make, read: int | None, num_ctx: int, cut: bool, stream: bool
) -> None:
    """A count far below what the text must have, or as large as the window, is a cut input; it was paid for."""
    text = "The quick brown fox jumps over the lazy dog. " * 500  # 22,500 characters

    async def script(request: Request) -> None:
        line = ollama_line("short", "complete", prompt_eval_count=read)
        if read is None:
            del line["prompt_eval_count"]
        body = dumped(line) + b"\n"
        if stream:
            await request.send(stream_head("application/x-ndjson"), http_chunk(body), LAST_CHUNK)
        else:
            await request.send(response(body))

    async with Provider(script) as provider:
        place = target(provider, kind="ollama", options={"num_ctx": num_ctx})
        call = client.call(place, ask(user=text, stream=stream))
        if not cut:
            assert (await call).text == "short"
            return
        with pytest.raises(CallError) as caught:
            await call
    seen = caught.value
    assert (seen.code, seen.retry, seen.next_target, seen.trips_breaker) == ("input_truncated", False, True, False)
    assert seen.billed == "yes"
    assert seen.usage is not None
    assert seen.usage.input_tokens == read


async def test_ollama_input_beyond_the_window_sends_nothing(client: HttpModelClient, target: Make, ask: Make) -> None:
    """What surely does not fit is refused before it costs an hour of the machine."""

    async def never(request: Request) -> None:
        raise AssertionError

    async with Provider(never) as provider:
        with pytest.raises(CallError) as caught:
            await client.call(target(provider, kind="ollama"), ask(user="words and words " * 10_000))
        assert provider.connections == 0
    assert (caught.value.code, caught.value.sent) == ("context_too_long", False)


async def test_azure_asynchronous_filter(client: HttpModelClient, target: Make, ask: Make) -> None:
    """The filter may end an answer in the middle, after its text has been seen."""

    async def script(request: Request) -> None:
        parts = [
            {"id": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
            delta("some text"),
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "content_filter"}]},
        ]
        await request.send(stream_head("text/event-stream"), *map(event, parts), event("[DONE]"), LAST_CHUNK)

    async with Provider(script) as provider:
        answer = await client.call(target(provider, kind="azure"), ask(stream=True))
    assert (answer.text, answer.stop) == ("some text", StopReason.CONTENT_FILTER)


async def test_gemini_connection_that_ends_in_order_is_used_again(
    client: HttpModelClient, target: Make, ask: Make
) -> None:
    """A stream without an end marker is read to its end, and its connection serves the next call."""
    async with Provider(answering(FORMATS["gemini"], "abc")) as provider:
        for _ in range(3):
            await client.call(target(provider, kind="gemini"), ask(stream=True))
        assert provider.connections == 1


async def test_gemini_blocked_prompt(client: HttpModelClient, target: Make, ask: Make) -> None:
    """A blocked prompt is an answer that was filtered, with the tokens it took."""
    usage = {"promptTokenCount": 5, "totalTokenCount": 5}

    async def script(request: Request) -> None:
        body = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": usage}
        await request.send(response(dumped(body)))

    async with Provider(script) as provider:
        answer = await client.call(target(provider, kind="gemini"), ask())
    assert (answer.text, answer.stop) == ("", StopReason.CONTENT_FILTER)
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.suspect) == (5, 0, False)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_whole_answer_to_a_wish_for_a_stream(
    client: HttpModelClient, target: Make, ask: Make, kind: str
) -> None:
    """A server that does not stream answers whole, and that is an answer."""

    async def script(request: Request) -> None:
        await request.send(response(dumped(FORMATS[kind].whole("abc", "complete"))))

    seen: list[str] = []
    async with Provider(script) as provider:
        answer = await client.call(target(provider, kind=kind), ask(stream=True), on_delta=seen.append)
    assert (answer.text, seen) == ("abc", ["abc"])


@pytest.mark.parametrize(
    ("kind", "body"),
    [("openai", completion("\ud800")), ("gemini", gemini_document({"text": "\ud800"}, finish="STOP"))],
)
async def test_half_a_surrogate_pair(
    client: HttpModelClient, target: Make, ask: Make, kind: str, body: dict[str, Any]
) -> None:
    """What no store can hold is a bad response."""

    async def script(request: Request) -> None:
        await request.send(response(dumped(body)))

    async with Provider(script) as provider:
        with pytest.raises(CallError) as caught:
            await client.call(target(provider, kind=kind), ask())
    assert caught.value.code == "bad_response"
