"""Faults in detail: how a cut looks on the bare socket, retry headers, several faults at once."""

import socket
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import orjson
import pytest

from penstock_simulator import Simulator, SimulatorProcess
from tests.integration.simulator.families import is_json

Body = Callable[..., dict[str, Any]]
CHAT = "/v1/chat/completions"


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
    assert not is_json(document)
    assert is_json(document + b"}")


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
    assert response.json()["choices"][0]["message"]["content"].startswith("```")
    assert response.json()["usage"]["total_tokens"] < 0
    assert "session" in response.cookies
    (call,) = simulator.calls()
    assert (call.fault, call.billed) == ("fences+usage-negative+set-cookie+delay", False)


async def test_an_unknown_fault_is_an_error_of_its_own(client: httpx.AsyncClient, body: Body) -> None:
    """Not an honest answer: a drill with a misspelt fault proves nothing."""
    response = await client.post(CHAT, json=body(), headers={"x-simulate": "hnag"})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "bad_fault_spec")
    assert "did you mean 'hang'" in response.json()["error"]["message"]
