"""Honest answers over HTTP: documents, streams, tokens, the prompt cache, limits."""

import asyncio
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from penstock_simulator import Ask, Simulator, read_bill

Body = Callable[..., dict[str, Any]]
CHAT = "/v1/chat/completions"


def _events(text: str) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    return [orjson.loads(line) for line in lines]


async def test_an_answer_follows_schema_and_text(client: httpx.AsyncClient, body: Body) -> None:
    """A whole `chat.completion` with usage that sums up."""
    response = await client.post(CHAT, json=body())
    document = response.json()
    message = document["choices"][0]["message"]
    answer = orjson.loads(message["content"])
    usage = document["usage"]
    assert response.status_code == 200
    assert response.headers["x-request-id"].startswith("req_")
    assert (document["object"], document["choices"][0]["finish_reason"]) == ("chat.completion", "stop")
    assert answer["summary"].split(". ")[0].rstrip(".") in body()["messages"][1]["content"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


async def test_a_stream_says_the_same_in_pieces(client: httpx.AsyncClient, body: Body) -> None:
    """Role first, then content, the stop reason, usage without choices, [DONE]."""
    whole = (await client.post(CHAT, json=body())).json()
    streamed = await client.post(CHAT, json=body(stream=True, stream_options={"include_usage": True}))
    *events, finish, usage = _events(streamed.text)
    content = "".join(event["choices"][0]["delta"].get("content", "") for event in events)
    assert content == whole["choices"][0]["message"]["content"]
    assert len(events) > 5
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert (usage["choices"], usage["usage"]) == ([], whole["usage"])


async def test_a_stream_without_the_option_has_no_usage(client: httpx.AsyncClient, body: Body) -> None:
    """As it is at OpenAI."""
    events = _events((await client.post(CHAT, json=body(stream=True))).text)
    assert not any("usage" in event for event in events)


async def test_the_output_cap_cuts_the_text(client: httpx.AsyncClient, body: Body) -> None:
    """The stop reason says so, and the count is the cap."""
    document = (await client.post(CHAT, json=body(max_completion_tokens=7))).json()
    assert document["choices"][0]["finish_reason"] == "length"
    assert document["usage"]["completion_tokens"] == 7


async def test_reasoning_counts_toward_output_and_cap(client: httpx.AsyncClient, body: Body) -> None:
    """A cap below the reasoning leaves no text."""
    usage = (await client.post(CHAT, json=body(model="o3-sim", max_completion_tokens=2000))).json()["usage"]
    reasoning = usage["completion_tokens_details"]["reasoning_tokens"]
    assert 0 < reasoning < usage["completion_tokens"]
    document = (await client.post(CHAT, json=body(model="o3-sim", max_completion_tokens=50))).json()
    assert (document["choices"][0]["message"]["content"], document["choices"][0]["finish_reason"]) == ("", "length")
    assert document["usage"]["completion_tokens"] == 50


async def test_a_long_prefix_is_cached_the_second_time(client: httpx.AsyncClient, body: Body) -> None:
    """From 1,024 tokens, for the same model."""
    long = body("The tunnel stays open on every weekday this year. " * 200)
    cached = [
        (await client.post(CHAT, json=request)).json()["usage"]["prompt_tokens_details"]["cached_tokens"]
        for request in (long, long, {**long, "model": "gpt-4o"})
    ]
    assert cached[0] == 0
    assert cached[1] >= 1024
    assert cached[2] == 0


async def test_a_prompt_beyond_the_window_is_refused(body: Body) -> None:
    """With the code that clients look for."""
    async with Simulator(context_tokens=200) as simulator, httpx.AsyncClient(trust_env=False) as client:
        response = await client.post(simulator.base_url + "/chat/completions", json=body())
    assert (response.status_code, response.json()["error"]["code"]) == (400, "context_length_exceeded")


async def test_models_and_keys(body: Body) -> None:
    """Only the models there are, only with the key."""
    async with (
        Simulator(api_key="sk-right", models=["only"]) as simulator,
        httpx.AsyncClient(base_url=simulator.base_url, trust_env=False) as client,
    ):
        assert (await client.get("/models")).status_code == 401
        client.headers["authorization"] = "Bearer sk-right"
        assert [model["id"] for model in (await client.get("/models")).json()["data"]] == ["only"]
        missing = await client.post("/chat/completions", json=body())
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")
        assert (await client.post("/chat/completions", json=body(model="only"))).status_code == 200


async def test_a_rate_beyond_the_limit_is_refused(body: Body) -> None:
    """With the headers that clients wait by, and without a charge."""
    async with Simulator(requests_per_min=2) as simulator, httpx.AsyncClient(trust_env=False) as client:
        responses = [await client.post(simulator.base_url + "/chat/completions", json=body()) for _ in range(3)]
        assert [call.billed for call in simulator.calls()] == [True, True, False]
    assert [response.status_code for response in responses] == [200, 200, 429]
    assert responses[0].headers["x-ratelimit-remaining-requests"] == "1"
    assert 0 < int(responses[2].headers["retry-after-ms"]) <= 30_001


async def test_the_same_seed_gives_the_same_bytes(body: Body) -> None:
    """But for times; another seed gives other ids."""

    async def answers(seed: int) -> list[dict[str, Any]]:
        async with Simulator(seed=seed) as simulator, httpx.AsyncClient(trust_env=False) as client:
            documents = [
                (await client.post(simulator.base_url + "/chat/completions", json=body(text=text))).json()
                for text in ("One bridge. Two bridges.", "A tunnel.")
            ]
        return [{key: value for key, value in document.items() if key != "created"} for document in documents]

    assert await answers(3) == await answers(3)
    assert await answers(3) != await answers(4)


async def test_an_answer_takes_the_latency(body: Body) -> None:
    """The bill's times are apart by at least what was asked for."""
    async with Simulator(latency="60ms") as simulator, httpx.AsyncClient(trust_env=False) as client:
        await client.post(simulator.base_url + "/chat/completions", json=body())
        await client.post(simulator.base_url + "/chat/completions", json=body(stream=True))
        calls = simulator.calls()
    assert all(call.ended_at_ms is not None and call.ended_at_ms - call.started_at_ms >= 55 for call in calls)


async def test_the_bill_has_every_call(tmp_path: Path, body: Body) -> None:
    """In memory and in the file alike, with the caller's id and the true tokens."""
    async with Simulator(bill=tmp_path / "bill.jsonl") as simulator:
        async with httpx.AsyncClient(base_url=simulator.base_url, trust_env=False) as client:
            good = await client.post("/chat/completions", json=body(), headers={"x-client-request-id": "job-1:1"})
            await client.post("/chat/completions", json=body(), headers={"x-simulate": "usage-huge"})
            await client.post("/chat/completions", json=body(model="sim-503"))
        calls = simulator.calls()
    assert read_bill(tmp_path / "bill.jsonl") == calls
    assert [(call.billed, call.status, call.fault, call.outcome) for call in calls] == [
        (True, 200, None, "sent"),
        (True, 200, "usage-huge", "sent"),
        (False, 503, "status", "sent"),
    ]
    usage = good.json()["usage"]
    assert (calls[0].caller_id, calls[0].id) == ("job-1:1", good.headers["x-request-id"])
    assert calls[0].response_id == good.json()["id"]
    assert (calls[0].input_tokens, calls[0].output_tokens) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert calls[1].output_tokens == calls[0].output_tokens


async def test_a_client_that_leaves_is_seen_and_charged(body: Body) -> None:
    """Its connection closes, and the generation is charged all the same."""
    async with Simulator(latency="30s") as simulator:
        async with httpx.AsyncClient(trust_env=False) as client:
            call = asyncio.create_task(client.post(simulator.base_url + "/chat/completions", json=body()))
            await simulator.until(lambda stats: stats.in_flight == 1)
            call.cancel()
            stats = await simulator.until(lambda stats: stats.disconnects == 1 and stats.in_flight == 0)
            assert stats.open_connections == 0
        (billed,) = simulator.calls()
    assert (billed.outcome, billed.billed, billed.status) == ("client_left", True, None)
    assert billed.output_tokens > 0


async def test_stats_count_the_highest(body: Body) -> None:
    """Of calls and of connections at once."""
    async with Simulator(script=["hang"]) as simulator, httpx.AsyncClient(trust_env=False) as client:
        calls = [asyncio.create_task(client.post(f"{simulator.base_url}/chat/completions", json=body())) for _ in "abc"]
        await simulator.until(lambda stats: stats.in_flight == 3)
        for call in calls:
            call.cancel()
        stats = await simulator.until(lambda stats: stats.open_connections == 0)
    assert (stats.max_in_flight, stats.max_connections, stats.requests) == (3, 3, 3)


async def test_requests_on_one_connection_are_answered_in_order(simulator: Simulator, body: Body) -> None:
    """Even when they come before the answer to the one before."""
    simulator.script([{"fault": "delay seconds=50ms", "times": 1}])
    data = orjson.dumps(body())
    request = b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(data) + data
    reader, writer = await asyncio.open_connection(*_address(simulator))
    writer.write(request * 2)
    found = b""
    while found.count(b"chatcmpl-") < 2:
        found += await reader.read(65536)
    writer.close()
    first, second = simulator.calls()
    assert found.index(str(first.response_id).encode()) < found.index(str(second.response_id).encode())


async def test_what_is_not_http_ends_the_connection(simulator: Simulator) -> None:
    """With 400, and without a call."""
    reader, writer = await asyncio.open_connection(*_address(simulator))
    writer.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
    assert b"400 Bad Request" in await reader.read()
    writer.close()
    assert simulator.stats().requests == 0


async def test_a_connection_is_closed_when_asked_for(simulator: Simulator, body: Body) -> None:
    """`connection: close` in the request, and in the answer."""
    async with httpx.AsyncClient(trust_env=False, headers={"connection": "close"}) as client:
        response = await client.post(simulator.base_url + "/chat/completions", json=body())
    assert response.headers["connection"] == "close"
    await simulator.until(lambda stats: stats.open_connections == 0)


async def test_a_scripted_answer_is_given_as_it_is(client: httpx.AsyncClient, simulator: Simulator, body: Body) -> None:
    """An object becomes JSON, text stays text."""
    simulator.script([{"answer": {"summary": "Mine."}, "times": 1}, {"answer": "plain"}])
    contents = [(await client.post(CHAT, json=body())).json()["choices"][0]["message"]["content"] for _ in range(2)]
    assert contents == ['{"summary":"Mine."}', "plain"]


async def test_a_function_can_answer(body: Body) -> None:
    """It is given the ask."""
    async with (
        Simulator(answers=lambda ask: f"{ask.model} {ask.max_output_tokens}") as simulator,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        response = await client.post(simulator.base_url + "/chat/completions", json=body())
    assert response.json()["choices"][0]["message"]["content"] == "gpt-4o-mini 300"


async def test_a_function_that_raises_is_heard_of(body: Body, capsys: pytest.CaptureFixture[str]) -> None:
    """As a 500 that no provider sends; the next call is answered."""

    def answers(_ask: Ask) -> str:
        raise LookupError("no answer here")

    async with Simulator(answers=answers) as simulator, httpx.AsyncClient(trust_env=False) as client:
        for _ in range(2):
            response = await client.post(simulator.base_url + "/chat/completions", json=body())
            assert (response.status_code, response.json()["error"]["type"]) == (500, "simulator_error")
        assert simulator.stats().in_flight == 0
    assert "no answer here" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
async def test_it_can_speak_tls(tmp_path: Path, body: Body) -> None:
    """With a certificate of one's own; faults of the wire work there too."""
    context, trust = _contexts(tmp_path)
    async with Simulator(ssl=context) as simulator, httpx.AsyncClient(verify=trust, trust_env=False) as client:
        assert simulator.url.startswith("https://127.0.0.1:")
        assert (await client.post(simulator.base_url + "/chat/completions", json=body())).status_code == 200
        with pytest.raises(httpx.ReadError):
            await client.post(simulator.base_url + "/chat/completions", json=body(model="sim-cut-middle"))


async def test_a_taken_port_is_an_error(simulator: Simulator) -> None:
    """And a wrong setting too, before anything listens."""
    with pytest.raises(OSError, match="in use"):
        await Simulator(port=_address(simulator)[1]).start()
    with pytest.raises(ValueError, match="not a duration"):
        Simulator(latency="soon")
    with pytest.raises(RuntimeError, match="not running"):
        _ = Simulator().url


def _contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with a new certificate for 127.0.0.1, and a client's that trusts it."""
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    key, certificate = str(folder / "key.pem"), str(folder / "cert.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run(
        [*command, "-keyout", key, "-out", certificate, "-days", "2", *subject], check=True, capture_output=True
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    return server, ssl.create_default_context(cafile=certificate)


def _address(simulator: Simulator) -> tuple[str, int]:
    url = httpx.URL(simulator.url)
    assert socket.inet_aton(url.host)
    return url.host, int(url.port or 0)
