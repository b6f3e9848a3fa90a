"""Every fault of the table does over a real connection what its line says."""

import socket
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import orjson
import pytest

from penstock_simulator import FAULTS, Simulator, SimulatorProcess

Body = Callable[..., dict[str, Any]]
CHAT = "/v1/chat/completions"
LABELS = {"traffic", "sport"}


def _message(response: httpx.Response) -> dict[str, Any]:
    message: dict[str, Any] = response.json()["choices"][0]["message"]
    return message


def _content(response: httpx.Response) -> str:
    return str(_message(response)["content"])


def _answer(response: httpx.Response) -> dict[str, Any]:
    answer: dict[str, Any] = orjson.loads(_content(response))
    return answer


def _finish(response: httpx.Response) -> str:
    return str(response.json()["choices"][0]["finish_reason"])


def _usage(response: httpx.Response) -> dict[str, Any]:
    usage: dict[str, Any] = response.json()["usage"]
    return usage


def _output(response: httpx.Response) -> int:
    return int(_usage(response)["completion_tokens"])


def _error(response: httpx.Response) -> tuple[int, str | None]:
    return response.status_code, response.json()["error"]["code"]


def _is_json(text: str | bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _events(response: httpx.Response) -> list[dict[str, Any]]:
    lines = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
    return [orjson.loads(line) for line in lines if line != "[DONE]"]


Check = Callable[[httpx.Response], bool]

REFUSED: dict[str, tuple[int, str | None]] = {
    "status": (500, None),
    "rate-limit": (429, "rate_limit_exceeded"),
    "slow-down": (429, "slow_down"),
    "quota": (429, "insufficient_quota"),
    "overloaded": (503, "server_is_overloaded"),
    "invalid-key": (401, "invalid_api_key"),
    "model-not-found": (404, "model_not_found"),
    "context-length": (400, "context_length_exceeded"),
    "schema-unsupported": (400, None),
    "content-policy": (400, "invalid_prompt"),
}

WHOLE: dict[str, Check] = {
    "refusal": lambda r: _message(r)["content"] is None and bool(_message(r)["refusal"]) and _finish(r) == "stop",
    "tool-call": lambda r: (_finish(r), _message(r)["content"]) == ("tool_calls", None),
    "content-filter": lambda r: _finish(r) == "content_filter" and not _is_json(_content(r)),
    "length": lambda r: _finish(r) == "length" and not _is_json(_content(r)),
    "reasoning-only": lambda r: (_content(r), _finish(r), _usage(r)["completion_tokens"]) == ("", "length", 300),
    "empty": lambda r: (_content(r), _finish(r)) == ("", "stop"),
    "null": lambda r: _message(r)["content"] is None and _message(r)["refusal"] is None,
    "whitespace": lambda r: _content(r).endswith("\n \t" * 100) and _usage(r)["completion_tokens"] == 300,
    "repetition": lambda r: " and so on" * 50 in _content(r) and (_finish(r), _output(r)) == ("length", 300),
    "fences": lambda r: _content(r).startswith("```json\n{") and _content(r).endswith("}\n```"),
    "prose": lambda r: '{"summary"' in _content(r) and not _is_json(_content(r)),
    "two-objects": lambda r: _content(r).count('{"summary"') == 2 and not _is_json(_content(r)),
    "bad-json": lambda r: "'summary'" in _content(r) and not _is_json(_content(r)),
    "cut-json": lambda r: len(_content(r)) == 20 and _finish(r) == "stop",
    "nan": lambda r: ":NaN" in _content(r) and not _is_json(_content(r)),
    "duplicate-keys": lambda r: _content(r).count('"summary":') == 2 and _is_json(_content(r)),
    "wrong-schema": lambda r: "summary" not in _answer(r),
    "wrong-type": lambda r: isinstance(_answer(r)["summary"], list),
    "missing-key": lambda r: set(_answer(r)) == {"label"},
    "extra-key": lambda r: set(_answer(r)) > {"summary", "label"},
    "wrong-label": lambda r: _answer(r)["label"] == "not-a-label",
    "label-case": lambda r: _answer(r)["label"].lower() in LABELS and _answer(r)["label"] not in LABELS,
    "label-dot": lambda r: _answer(r)["label"].rstrip(".") in LABELS and _answer(r)["label"] not in LABELS,
    "label-homoglyph": lambda r: not _answer(r)["label"].isascii(),
    "cut-text": lambda r: not _answer(r)["summary"].endswith(".") and _finish(r) == "stop",
    "copy-input": lambda r: _answer(r)["summary"].startswith("The harbour") and "tunnel." in _answer(r)["summary"],
    "injected": lambda r: "Ignore previous" in _answer(r)["summary"] and "\x1b[" in _answer(r)["summary"],
    "big-string": lambda r: len(_answer(r)["summary"]) > 1_000_000,
    "deep-json": lambda r: "[" * 1000 in _content(r),
    "usage-missing": lambda r: "usage" not in r.json(),
    "usage-null": lambda r: _usage(r)["prompt_tokens"] is None,
    "usage-negative": lambda r: _usage(r)["completion_tokens"] < 0,
    "usage-string": lambda r: isinstance(_usage(r)["total_tokens"], str),
    "usage-float": lambda r: _usage(r)["total_tokens"] % 1 == 0.5,
    "usage-nan": lambda r: '"prompt_tokens":NaN' in r.text,
    "usage-huge": lambda r: _usage(r)["completion_tokens"] == 1e30,
    "usage-over": lambda r: _output(r) > 3000 and _usage(r)["total_tokens"] == _usage(r)["prompt_tokens"] + _output(r),
    "usage-unequal": lambda r: _usage(r)["total_tokens"] != _usage(r)["prompt_tokens"] + _usage(r)["completion_tokens"],
    "no-choices": lambda r: r.json()["choices"] == [],
    "error-in-200": lambda r: r.status_code == 200 and set(r.json()) == {"error"},
    "other-model": lambda r: r.json()["model"] == "gpt-unknown",
    "html": lambda r: r.status_code == 200 and r.text.startswith("<!DOCTYPE"),
    "empty-body": lambda r: (r.status_code, r.content) == (200, b""),
    "content-type": lambda r: r.headers["content-type"] == "text/plain" and _is_json(r.content),
    "not-json": lambda r: r.headers["content-type"] == "application/json" and not _is_json(r.content),
    "cut-body": lambda r: len(r.content) == 100 == int(r.headers["content-length"]),
    "bad-utf8": lambda r: b"\xff\xfe" in r.content,
    "trailing": lambda r: r.content.startswith(b"{") and not _is_json(r.content),
    "redirect": lambda r: (r.status_code, r.headers["location"]) == (307, "http://127.0.0.1:9/"),
    "set-cookie": lambda r: "session" in r.cookies and r.status_code == 200,
    "header": lambda r: r.headers["x-extra"] == "1",
    "gzip-bomb": lambda r: (
        len(r.content) > 2_000_000 and int(r.headers["content-length"]) < 9000 and _is_json(r.content)
    ),
    "delay": lambda r: _finish(r) == "stop",
    "drip": lambda r: _finish(r) == "stop",
    "huge-body": lambda r: len(r.json()["x"]) > 1_000_000 and b"\n" not in r.content,
    "endless-headers": lambda r: len(r.headers) > 400 and _finish(r) == "stop",
    "long-header": lambda r: len(r.headers["x-filler"]) == 32_768,
}

STREAMED: dict[str, Check] = {
    "usage-early": lambda r: 0 < _usage_of(_events(r)[0]) < _usage_of(_events(r)[-1]),
    "error-in-stream": lambda r: len(_events(r)) > 2 and "error" in _events(r)[-1] and "[DONE]" not in r.text,
    "no-done": lambda r: "[DONE]" not in r.text and _usage_of(_events(r)[-1]) > 0,
    "no-finish": lambda r: "[DONE]" not in r.text and not any(map(_finish_of, _events(r))),
    "duplicate-events": lambda r: sum(map(bool, map(_finish_of, _events(r)))) == 2,
    "swapped-events": lambda r: bool(_events(r)[-2]["choices"][0]["delta"].get("content")),
    "unknown-events": lambda r: sum("telemetry" in str(event.get("object")) for event in _events(r)) > 3,
    "comments": lambda r: r.text.count(": keep-alive\n\n") >= 3 * len(_events(r)),
    "crlf": lambda r: r.content.count(b"\r\n\r\n") == r.content.count(b"data: "),
    "split-bytes": lambda r: len(_events(r)) > 5,
    "slow-events": lambda r: len(_events(r)) > 5,
    "not-json": lambda r: "data: {not json" in r.text,
    "usage-missing": lambda r: not any(event.get("usage") for event in _events(r)),
    "error-in-200": lambda r: [set(event) for event in _events(r)] == [{"error"}],
}

BROKEN: dict[str, type[httpx.HTTPError]] = {
    "short-body": httpx.RemoteProtocolError,
    "hang": httpx.ReadTimeout,
    "hang-headers": httpx.ReadTimeout,
    "hang-middle": httpx.ReadTimeout,
    "cut-before": httpx.ReadError,
    "cut-lost": httpx.ReadError,
    "cut-headers": httpx.ReadError,
    "cut-middle": httpx.ReadError,
    "cut-last": httpx.ReadError,
    "not-http": httpx.RemoteProtocolError,
}

TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
NEEDED: dict[str, dict[str, Any]] = {"tool-call": {"tools": [TOOL]}}
"""What a request must have for a fault to be possible."""

ENDLESS = {"comments-only": b": keep-alive\n\n", "endless-events": b'"delta"'}

SMALLER = {
    "gzip-bomb": "mib=2",
    "big-string": "mib=2",
    "huge-body": "mib=2",
    "endless-headers": "count=500",
    "long-header": "kib=32",
    "drip": "bytes_per_s=50000",
    "delay": "seconds=10ms",
    "slow-events": "every=2ms",
    "comments-only": "every=1ms",
    "endless-events": "every=1ms",
}
"""The same faults in a size that a test can take."""


def _usage_of(event: dict[str, Any]) -> int:
    return int((event.get("usage") or {}).get("total_tokens", 0))


def _finish_of(event: dict[str, Any]) -> str | None:
    return next((choice["finish_reason"] for choice in event.get("choices", [])), None)


def _spec(name: str) -> dict[str, str]:
    return {"x-simulate": f"{name} {SMALLER.get(name, '')}".strip()}


def test_every_fault_is_tried_here() -> None:
    """A new row of the table fails until its effect is stated above."""
    assert set(REFUSED) | set(WHOLE) | set(STREAMED) | set(BROKEN) | set(ENDLESS) == set(FAULTS)


@pytest.mark.parametrize("name", REFUSED)
async def test_errors_have_openais_codes(
    name: str, client: httpx.AsyncClient, simulator: Simulator, body: Body
) -> None:
    """And cost nothing."""
    assert _error(await client.post(CHAT, json=body(), headers=_spec(name))) == REFUSED[name]
    assert [(call.billed, call.fault) for call in simulator.calls()] == [(False, name)]


@pytest.mark.parametrize("name", WHOLE)
async def test_whole_answers_are_bent(name: str, client: httpx.AsyncClient, simulator: Simulator, body: Body) -> None:
    """In the way that is stated, and in no other fault's place."""
    response = await client.post(CHAT, json=body(**NEEDED.get(name, {})), headers=_spec(name))
    assert WHOLE[name](response)
    (call,) = simulator.calls()
    assert (call.fault, call.billed) == (name, FAULTS[name].billed)


@pytest.mark.parametrize("name", STREAMED)
async def test_streams_are_bent(name: str, client: httpx.AsyncClient, body: Body) -> None:
    """The events arrive, and are wrong in the way that is stated."""
    request = body(stream=True, stream_options={"include_usage": True})
    assert STREAMED[name](await client.post(CHAT, json=request, headers=_spec(name)))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", [name for name in BROKEN if name != "short-body"])
async def test_connections_break(
    name: str, stream: bool, client: httpx.AsyncClient, simulator: Simulator, body: Body
) -> None:
    """The client's library says so; the bill knows whether it cost anything."""
    with pytest.raises(BROKEN[name]):
        await client.post(CHAT, json=body(stream=stream), headers=_spec(name), timeout=0.2)
    await simulator.until(lambda stats: stats.in_flight == 0 and stats.open_connections == 0)
    (call,) = simulator.calls()
    assert call.billed == FAULTS[name].billed
    assert call.outcome == ("client_left" if name.startswith("hang") else "cut")


async def test_a_short_body_is_noticed(client: httpx.AsyncClient, body: Body) -> None:
    """The length told is not the length sent."""
    with pytest.raises(BROKEN["short-body"]):
        await client.post(CHAT, json=body(), headers=_spec("short-body"))


@pytest.mark.parametrize("name", ENDLESS)
async def test_endless_streams_end_when_the_client_leaves(
    name: str, client: httpx.AsyncClient, simulator: Simulator, body: Body
) -> None:
    """Bytes keep coming; nothing is left behind."""
    async with client.stream("POST", CHAT, json=body(stream=True), headers=_spec(name)) as response:
        seen = 0
        async for part in response.aiter_bytes():
            seen += part.count(ENDLESS[name])
            if seen >= 5:
                break
    await simulator.until(lambda stats: stats.in_flight == 0)
    assert simulator.stats().disconnects == 1


@pytest.mark.parametrize(("how", "error"), [("rst", ConnectionResetError), ("fin", None)])
def test_a_cut_is_a_reset_or_an_orderly_close(how: str, error: type[Exception] | None) -> None:
    """Seen on the bare socket: everything sent before arrives, then RST or end of file."""
    request = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi there."}]})
    head = f"POST {CHAT} HTTP/1.1\r\nx-simulate: cut-last how={how}\r\ncontent-length: {len(request)}\r\n\r\n"
    with SimulatorProcess() as simulator:
        host, _, port = simulator.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(head.encode() + request)
            found = b""
            try:
                while part := connection.recv(65536):
                    found += part
                ended: type[Exception] | None = None
            except ConnectionResetError:
                ended = ConnectionResetError
    assert ended is error
    document = found.partition(b"\r\n\r\n")[2]
    assert not _is_json(document)
    assert _is_json(document + b"}")


@pytest.mark.parametrize(
    ("spec", "headers"),
    [
        ("503 retry-after=2", {"retry-after": "2"}),
        ("429 retry-after-ms=1500 should-retry=false", {"retry-after-ms": "1500", "x-should-retry": "false"}),
        ("rate-limit", {"retry-after": "1"}),
        ("503 retry-after=-1", {"retry-after": "-1"}),
    ],
)
async def test_retry_headers(client: httpx.AsyncClient, body: Body, spec: str, headers: dict[str, str]) -> None:
    """As given, sane or not."""
    response = await client.post(CHAT, json=body(), headers={"x-simulate": spec})
    assert {name: response.headers[name] for name in headers} == headers


async def test_retry_after_can_be_a_date(client: httpx.AsyncClient, body: Body) -> None:
    """In the format that HTTP wants."""
    response = await client.post(CHAT, json=body(), headers={"x-simulate": "503 retry-after=date+3600"})
    ahead_s = (parsedate_to_datetime(response.headers["retry-after"]) - datetime.now(UTC)).total_seconds()
    assert 3500 < ahead_s <= 3600


async def test_faults_can_be_combined(client: httpx.AsyncClient, simulator: Simulator, body: Body) -> None:
    """One at each stage, all told in the bill."""
    spec = "fences; usage-negative; set-cookie; delay seconds=1ms billed=no"
    response = await client.post(CHAT, json=body(), headers={"x-simulate": spec})
    assert _content(response).startswith("```")
    assert _usage(response)["total_tokens"] < 0
    assert "session" in response.cookies
    (call,) = simulator.calls()
    assert (call.fault, call.billed) == ("fences+usage-negative+set-cookie+delay", False)


async def test_an_unknown_fault_is_an_error_of_its_own(client: httpx.AsyncClient, body: Body) -> None:
    """Not an honest answer: a drill with a misspelt fault proves nothing."""
    response = await client.post(CHAT, json=body(), headers={"x-simulate": "hnag"})
    assert _error(response) == (400, "bad_fault_spec")
    assert "did you mean 'hang'" in response.json()["error"]["message"]
