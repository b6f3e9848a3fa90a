"""A call to a model over a real socket, when all goes well."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from penstock_worker.llm.client import HttpModelClient
from penstock_worker.llm.errors import CallError, StreamBrokenError
from penstock_worker.llm.port import SchemaMode, StopReason, Turn
from penstock_worker.llm.secrets import SecretRef
from tests.support.provider import (
    LAST_CHUNK,
    STREAM_HEAD,
    Provider,
    Request,
    completion,
    delta,
    dumped,
    event,
    http_chunk,
    response,
    usage_chunk,
)

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


Make = Callable[..., Any]


async def test_whole_answer(client: HttpModelClient, target: Make, ask: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain call gives text, stop reason, usage, ids and times."""
    monkeypatch.setenv("TEST_LLM_KEY", "sk-secret")

    async def script(request: Request) -> None:
        await request.send(response(dumped(completion("hi there")), headers=["x-request-id: req-1"]))

    async with Provider(script) as provider:
        place = target(provider, api_key=SecretRef(env="TEST_LLM_KEY"))
        answer = await client.call(place, ask(attempt_id="job:1"))
    assert (answer.text, answer.stop, answer.request_id) == ("hi there", StopReason.COMPLETE, "req-1")
    assert answer.model == "test-model-2025"
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (12, 3)
    assert not answer.usage.suspect
    assert answer.first_content_ms is not None
    assert answer.took_ms >= answer.first_content_ms
    sent = provider.requests[0]
    assert sent.head.startswith(b"POST /v1/chat/completions HTTP/1.1")
    assert sent.headers["authorization"] == "Bearer sk-secret"
    assert sent.headers["x-client-request-id"] == "job:1"
    assert sent.json == {
        "model": "model",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "max_tokens": 100,
    }


async def test_schema_and_turns_are_sent(client: HttpModelClient, target: Make, ask: Make) -> None:
    """A schema goes out strict, a re-ask as further turns."""

    async def script(request: Request) -> None:
        await request.send(response(dumped(completion('{"a":"b"}'))))

    async with Provider(script) as provider:
        turns = (Turn("assistant", "x"), Turn("user", "not JSON"))
        answer = await client.call(target(provider), ask(schema=SCHEMA, turns=turns, temperature=0.0, seed=7))
    body = provider.requests[0].json
    assert answer.schema_mode is SchemaMode.JSON_SCHEMA
    assert body["response_format"]["json_schema"]["strict"] is True
    assert body["response_format"]["json_schema"]["schema"] == {**SCHEMA, "additionalProperties": False}
    assert [m["role"] for m in body["messages"]] == ["system", "user", "assistant", "user"]
    assert (body["temperature"], body["seed"]) == (0.0, 7)


async def test_streamed_answer(client: HttpModelClient, target: Make, ask: Make) -> None:
    """A stream gives its deltas in order, the whole text, and the usage of its last chunk."""

    async def script(request: Request) -> None:
        parts = [delta("", role="assistant"), delta("hél"), delta("lo"), delta(finish="stop"), usage_chunk()]
        await request.send(STREAM_HEAD, *(event(part) for part in parts), event("[DONE]"), LAST_CHUNK)

    seen: list[str] = []
    async with Provider(script) as provider:
        answer = await client.call(target(provider), ask(stream=True), on_delta=seen.append)
    assert seen == ["hél", "lo"]
    assert (answer.text, answer.stop, answer.request_id) == ("héllo", StopReason.COMPLETE, "req-s")
    assert answer.usage is not None
    assert answer.usage.output_tokens == 3
    assert provider.requests[0].json["stream_options"] == {"include_usage": True}


async def test_connections_are_kept_for_both_kinds_of_answer(client: HttpModelClient, target: Make, ask: Make) -> None:
    """Five calls after each other, streamed or not, use one connection."""

    async def script(request: Request) -> None:
        if request.json.get("stream"):
            done = [event(delta("x", finish="stop")), event("[DONE]"), LAST_CHUNK]
            await request.send(STREAM_HEAD, *done)
        else:
            await request.send(response(dumped(completion())))

    async with Provider(script) as provider:
        for stream in (True, False, True, True, False):
            await client.call(target(provider), ask(stream=stream))
    assert provider.connections == 1


async def test_stream_ignored_by_the_server(client: HttpModelClient, target: Make, ask: Make) -> None:
    """A server that answers a stream request with one JSON body is read all the same."""

    async def script(request: Request) -> None:
        await request.send(response(dumped(completion("whole"))))

    seen: list[str] = []
    async with Provider(script) as provider:
        answer = await client.call(target(provider), ask(stream=True), on_delta=seen.append)
    assert answer.text == "whole"
    assert seen == ["whole"]


async def test_bytes_in_any_split(client: HttpModelClient, target: Make, ask: Make) -> None:
    """Events cut inside a character, with CR LF and comments between them, read the same."""
    events = ': hi\r\n\r\ndata: {"choices":[{"delta":{"content":"é…漢"}}]}\r\n\r\n'.encode()
    tail = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\r\n\r\ndata: [DONE]\r\n\r\n'

    async def script(request: Request) -> None:
        single = (http_chunk(bytes([byte])) for byte in events + tail)
        await request.send(STREAM_HEAD, *single, LAST_CHUNK)

    async with Provider(script) as provider:
        answer = await client.call(target(provider), ask(stream=True))
    assert answer.text == "é…漢"


async def test_cookies_are_not_kept(client: HttpModelClient, target: Make, ask: Make) -> None:
    """What a provider wants remembered is forgotten."""

    async def script(request: Request) -> None:
        await request.send(response(dumped(completion()), headers=["set-cookie: track=1; path=/"]))

    async with Provider(script) as provider:
        for _ in range(2):
            await client.call(target(provider), ask())
    assert all("cookie" not in request.headers for request in provider.requests)


async def test_environment_is_ignored(
    client: HttpModelClient, target: Make, ask: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proxies named in the environment see nothing."""

    async def script(request: Request) -> None:
        await request.send(response(dumped(completion())))

    async with Provider(script) as provider, Provider(script) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        await client.call(target(provider), ask())
    assert len(provider.requests) == 1
    assert proxy.connections == 0


async def test_many_calls_at_once(client: HttpModelClient, target: Make, ask: Make) -> None:
    """Three hundred calls in flight at once each get their own answer."""

    async def script(request: Request) -> None:
        await request.send(response(dumped(completion(request.json["messages"][-1]["content"]))))

    async with Provider(script) as provider:
        calls = (client.call(target(provider), ask(user=f"n{n}")) for n in range(300))
        answers = await asyncio.gather(*calls)
    assert [answer.text for answer in answers] == [f"n{n}" for n in range(300)]


async def test_schema_refused_then_prompt_mode(client: HttpModelClient, target: Make, ask: Make) -> None:
    """A provider that refuses the schema says so; the same call in prompt mode carries it in the prompt."""
    refusal = {"error": {"message": "Invalid schema for response_format", "param": "response_format"}}

    async def script(request: Request) -> None:
        refused = "response_format" in request.json
        body = response(dumped(refusal), status="400 Bad Request") if refused else response(dumped(completion()))
        await request.send(body)

    async with Provider(script) as provider:
        with pytest.raises(CallError) as caught:
            await client.call(target(provider), ask(schema=SCHEMA))
        assert caught.value.code == "schema_unsupported"
        answer = await client.call(target(provider), ask(schema=SCHEMA, schema_mode=SchemaMode.PROMPT))
    assert answer.schema_mode is SchemaMode.PROMPT
    assert '"required":["a"]' in provider.requests[1].json["messages"][0]["content"]


async def test_a_stream_that_nobody_listens_to_is_the_same_answer(
    client: HttpModelClient, target: Make, ask: Make
) -> None:
    """Its pieces are looked at together; the end, whole or broken off, is seen all the same."""

    async def serve(request: Request) -> None:
        await request.send(STREAM_HEAD)
        for number in range(20):
            await request.send(event(delta(f" {number}")))
            await asyncio.sleep(0)  # each in a packet of its own
        if b"break" in request.body:
            request.writer.close()
            return
        await request.send(event(delta(finish="stop")), event(usage_chunk()), event("[DONE]"), LAST_CHUNK)

    async with Provider(serve) as provider:
        heard: list[str] = []
        quiet = await client.call(target(provider), ask(stream=True))
        loud = await client.call(target(provider), ask(stream=True), on_delta=heard.append)
        assert quiet.text == loud.text == "".join(heard) == "".join(f" {number}" for number in range(20))
        with pytest.raises(StreamBrokenError):
            await client.call(target(provider), ask(stream=True, user="break"))
