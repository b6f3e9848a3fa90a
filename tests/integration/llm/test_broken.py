"""Hangs, drips, cuts and floods: each call ends in time, in size, and with its connection closed."""

import asyncio
import os
import socket
import ssl
import subprocess
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from penstock_worker.llm.client import HttpModelClient
from penstock_worker.llm.errors import CallError
from tests.support.provider import (
    LAST_CHUNK,
    STREAM_HEAD,
    Provider,
    Request,
    completion,
    delta,
    dumped,
    event,
    gzip_bomb,
    http_chunk,
    response,
    usage_chunk,
)

Make = Callable[..., Any]


async def forever(request: Request, *parts: bytes, every_s: float = 0.02) -> None:
    """Send the parts over and over until the client hangs up."""
    gone = asyncio.ensure_future(request.gone())
    while not gone.done():
        await request.send(*parts)
        await asyncio.wait([gone], timeout=every_s)


async def silence(request: Request) -> None:
    await request.gone()


async def headers_only(request: Request) -> None:
    await request.send(STREAM_HEAD)
    await request.gone()


async def comments(request: Request) -> None:
    await request.send(STREAM_HEAD)
    await forever(request, http_chunk(b": keep-alive\n\n"))


async def empty_deltas(request: Request) -> None:
    await request.send(STREAM_HEAD)
    await forever(request, event(delta("")))


async def content_then_comments(request: Request) -> None:
    await request.send(STREAM_HEAD, event(delta("hi")))
    await forever(request, http_chunk(b": keep-alive\n\n"))


async def white_space(request: Request) -> None:
    await request.send(STREAM_HEAD, event(delta("{")))
    await forever(request, event(delta("\n  ")))


async def endless_content(request: Request) -> None:
    await request.send(STREAM_HEAD)
    await forever(request, event(delta("word ")))


async def dripping_body(request: Request) -> None:
    await request.send(b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n")
    await forever(request, b"x")


async def empty_lines(request: Request) -> None:
    await request.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", http_chunk(b"{"))
    await forever(request, http_chunk(b"\n"))


HANGS: list[tuple[Callable[[Request], Awaitable[None]], bool, dict[str, float], tuple[str, str]]] = [
    (silence, False, {"whole_call_s": 0.3}, ("timeout_call", "unknown")),
    (silence, True, {"first_content_s": 0.3}, ("timeout_first_content", "unknown")),
    (headers_only, True, {"first_content_s": 0.3}, ("timeout_first_content", "unknown")),
    (comments, True, {"first_content_s": 0.3}, ("timeout_first_content", "unknown")),
    (empty_deltas, True, {"first_content_s": 0.3}, ("timeout_first_content", "unknown")),
    (content_then_comments, True, {"content_idle_s": 0.3}, ("timeout_idle", "yes")),
    (white_space, True, {"content_idle_s": 0.3}, ("timeout_idle", "yes")),
    (endless_content, True, {"whole_call_s": 0.3}, ("timeout_call", "yes")),
    (dripping_body, False, {"whole_call_s": 0.3}, ("timeout_call", "unknown")),
    (empty_lines, False, {"content_idle_s": 0.3}, ("timeout_idle", "yes")),
]


@pytest.mark.parametrize(("script", "stream", "limits", "expected"), HANGS)
async def test_every_hang_has_its_clock(
    client: HttpModelClient, target: Make, ask: Make, script: Any, stream: bool, limits: Any, expected: Any
) -> None:
    """Signs of life that are not content do not keep a call alive; the server sees the connection close."""
    async with Provider(script) as provider:
        with pytest.raises(CallError) as caught:
            await client.call(target(provider, **limits), ask(stream=stream))
        await asyncio.wait_for(provider.hung_up.wait(), 30)
    assert (caught.value.code, caught.value.billed) == expected
    assert caught.value.sent


async def test_the_deadline_ends_a_call(client: HttpModelClient, target: Make, ask: Make) -> None:
    """The job's deadline is one more clock; one that has passed sends nothing."""
    async with Provider(silence) as provider:
        with pytest.raises(CallError) as caught:
            await client.call(target(provider), ask(), deadline=time.monotonic() + 0.3)
        assert (caught.value.code, caught.value.sent) == ("deadline", True)
        with pytest.raises(CallError) as caught:
            await client.call(target(provider), ask(), deadline=time.monotonic())
        assert (caught.value.code, caught.value.sent) == ("deadline", False)
        assert len(provider.requests) == 1


@pytest.mark.parametrize("script", [silence, endless_content], ids=["waiting", "streaming"])
async def test_cancelling_closes_the_connection(client: HttpModelClient, target: Make, ask: Make, script: Any) -> None:
    """A cancelled call is cancelled, and the provider sees it at once."""
    async with Provider(script) as provider:
        task = asyncio.create_task(client.call(target(provider), ask(stream=True)))
        await asyncio.wait_for(provider.arrived.wait(), 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(provider.hung_up.wait(), 30)


async def test_an_error_of_the_listener_ends_the_call(client: HttpModelClient, target: Make, ask: Make) -> None:
    """What on_delta raises comes through, and the connection is closed."""

    def listener(text: str) -> None:
        raise LookupError(text)

    async with Provider(endless_content) as provider:
        with pytest.raises(LookupError, match="word"):
            await client.call(target(provider), ask(stream=True), on_delta=listener)
        await asyncio.wait_for(provider.hung_up.wait(), 30)


CUTS: dict[str, tuple[bool, list[bytes], tuple[str, str, int]]] = {
    "no response": (False, [], ("connection_lost", "unknown", 0)),
    "half a body": (
        False,
        [b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{"],
        ("connection_lost", "unknown", 0),
    ),
    "no events": (True, [STREAM_HEAD], ("connection_lost", "unknown", 0)),
    "half a stream": (True, [STREAM_HEAD, event(delta("hé"))], ("stream_broken", "yes", 3)),
    "no end marker": (
        True,
        [STREAM_HEAD, event(delta("hi", finish="stop")), LAST_CHUNK],
        ("stream_broken", "yes", 2),
    ),
    "no event at all": (True, [STREAM_HEAD, LAST_CHUNK], ("bad_response", "unknown", 0)),
    "error in the stream": (
        True,
        [STREAM_HEAD, event(delta("hi")), event({"error": {"code": 502, "message": "x"}}), LAST_CHUNK],
        ("gateway_error", "yes", 2),
    ),
    "error before content": (
        True,
        [STREAM_HEAD, event({"error": {"type": "overloaded_error", "message": "x"}}), LAST_CHUNK],
        ("overloaded", "unknown", 0),
    ),
    "broken event": (True, [STREAM_HEAD, event(delta("hi")), event('{"choices":[')], ("bad_response", "yes", 2)),
    "text after the end": (
        True,
        [STREAM_HEAD, event(delta("a", finish="stop")), event(delta("b")), event("[DONE]"), LAST_CHUNK],
        ("bad_response", "yes", 1),
    ),
    "strange encoding": (
        False,
        [response(b"x", headers=["content-encoding: br"])],
        ("bad_response", "unknown", 0),
    ),
    "broken gzip": (False, [response(b"x", headers=["content-encoding: gzip"])], ("bad_response", "unknown", 0)),
    "not HTTP": (False, [b"SSH-2.0-x\r\n\r\n"], ("bad_response", "unknown", 0)),
    "endless headers": (
        False,
        [b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 20_000],
        ("bad_response", "unknown", 0),
    ),
}


@pytest.mark.parametrize("name", CUTS)
async def test_every_cut_has_its_end(client: HttpModelClient, target: Make, ask: Make, name: str) -> None:
    """What is not whole is never a success, and what had come is counted."""
    stream, parts, expected = CUTS[name]

    async def script(request: Request) -> None:
        await request.send(*parts)
        request.writer.close()

    async with Provider(script) as provider:
        with pytest.raises(CallError) as caught:
            await client.call(target(provider), ask(stream=stream))
    assert (caught.value.code, caught.value.billed, caught.value.received_bytes) == expected


async def test_usage_before_the_break_is_kept(client: HttpModelClient, target: Make, ask: Make) -> None:
    """A server that reports usage in every chunk leaves an aborted stream exactly billable."""

    async def script(request: Request) -> None:
        await request.send(STREAM_HEAD, event({**delta("hi"), "usage": usage_chunk(9, 1)["usage"]}))
        request.writer.close()

    async with Provider(script) as provider:
        with pytest.raises(CallError) as caught:
            await client.call(target(provider), ask(stream=True))
    usage = caught.value.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.suspect) == (9, 1, False)


FLOODS: dict[str, tuple[bool, list[bytes], bytes]] = {
    "gzip bomb": (
        False,
        [response(gzip_bomb(200_000_000), headers=["content-encoding: gzip"])],
        b"",
    ),
    "large body": (False, [b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\n"], b"x" * 65536),
    "endless line": (True, [STREAM_HEAD, http_chunk(b"data: ")], http_chunk(b"x" * 65536)),
    "endless text": (True, [STREAM_HEAD], event(delta("x" * 60_000))),
    "endless comments": (True, [STREAM_HEAD], http_chunk((b": " + b"x" * 998 + b"\n") * 60)),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_is_cut_at_the_cap(client: HttpModelClient, target: Make, ask: Make, name: str) -> None:
    """The decoded size is bounded, and with it the memory; the connection is closed."""
    stream, parts, more = FLOODS[name]

    async def script(request: Request) -> None:
        await request.send(*parts)
        await forever(request, *([more] if more else []), every_s=0)

    async with Provider(script) as provider:
        tracemalloc.start()
        try:
            place = target(provider, max_body_bytes=1_000_000, stop_loops=False)
            with pytest.raises(CallError) as caught:
                await client.call(place, ask(stream=stream))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        await asyncio.wait_for(provider.hung_up.wait(), 30)
    assert caught.value.code == "response_too_large"
    assert not caught.value.retry
    assert peak < 16_000_000


async def test_nobody_listens(client: HttpModelClient, target: Make, ask: Make) -> None:
    """A refused connection costs nothing."""
    async with Provider(silence) as provider:
        place = target(provider)
    with pytest.raises(CallError) as caught:
        await client.call(place, ask())
    assert (caught.value.code, caught.value.sent, caught.value.billed) == ("connect_failed", False, "no")


@pytest.mark.parametrize("limits", [{"connect_s": 0.3}, {"whole_call_s": 0.3}], ids=["connect", "whole"])
async def test_a_handshake_that_never_ends(client: HttpModelClient, target: Make, ask: Make, limits: Any) -> None:
    """TLS that hangs is a connection that was never made, whichever clock ends it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/v1"
        async with Provider(silence) as provider:
            with pytest.raises(CallError) as caught:
                await client.call(target(provider, base_url=url, **limits), ask())
    assert caught.value.code in ("connect_failed", "timeout_call")
    assert (caught.value.sent, caught.value.billed) == (False, "no")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of its own making for the name ``localhost``, and its key."""
    path = tmp_path_factory.mktemp("tls") / "cert.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*command, "-keyout", f"{path}.key", "-out", str(path)], check=True, capture_output=True)
    return path


def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, f"{certificate}.key")
    return context


async def hello(request: Request) -> None:
    await request.send(response(dumped(completion())))


async def test_tls_with_a_trusted_authority(
    client: HttpModelClient, target: Make, ask: Make, certificate: Path
) -> None:
    """The authority of ``ca_file`` is trusted for its name."""
    async with Provider(hello, tls=server_tls(certificate)) as provider:
        url = f"https://localhost:{provider.port}/v1"
        answer = await client.call(target(provider, base_url=url, ca_file=str(certificate)), ask())
    assert answer.text == "hello"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
@pytest.mark.parametrize("case", ["unknown authority", "wrong name", "environment", "old version"])
async def test_tls_that_cannot_be_trusted(
    client: HttpModelClient,
    target: Make,
    ask: Make,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
    case: str,
) -> None:
    """No request, and so no key, reaches a server that cannot prove its name."""
    ca_file: str | None = str(certificate)
    host, tls = "localhost", server_tls(certificate)
    if case == "unknown authority":
        ca_file = None
    elif case == "wrong name":
        host = "127.0.0.1"
    elif case == "environment":
        ca_file = None
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    elif case == "old version":
        tls.set_ciphers("DEFAULT:@SECLEVEL=0")
        tls.minimum_version = ssl.TLSVersion.TLSv1_1
        tls.maximum_version = ssl.TLSVersion.TLSv1_1
    async with Provider(hello, tls=tls) as provider:
        url = f"https://{host}:{provider.port}/v1"
        with pytest.raises(CallError) as caught:
            await client.call(target(provider, base_url=url, ca_file=ca_file), ask())
        assert provider.requests == []
    assert (caught.value.sent, caught.value.billed) == (False, "no")
    if case != "old version":  # such a server resets the connection, which says nothing of why
        assert (caught.value.code, caught.value.retry) == ("tls_failed", False)


async def test_nothing_falls_back_to_plain_text(client: HttpModelClient, target: Make, ask: Make) -> None:
    """A server that answers TLS in plain HTTP gets no request."""
    seen = bytearray()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.extend(await reader.read(65536))
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        seen.extend(await reader.read())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, Provider(silence) as provider:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        with pytest.raises(CallError) as caught:
            await client.call(target(provider, base_url=url), ask())
    assert (caught.value.code, caught.value.sent) == ("tls_failed", False)
    assert b"POST" not in seen


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "localhost.localdomain", "127.1", "2130706433"])
async def test_private_addresses_are_not_called(client: HttpModelClient, target: Make, ask: Make, host: str) -> None:
    """Without leave, no connection is made to this machine, by address or by name."""
    async with Provider(hello) as provider:
        url = f"https://{host}:{provider.port}/v1"
        with pytest.raises(CallError) as caught:
            await client.call(target(provider, base_url=url, allow_private=False), ask())
        assert provider.connections == 0
    assert (caught.value.code, caught.value.sent) == ("connect_failed", False)


async def test_no_connection_is_left_behind(target: Make, ask: Make) -> None:
    """After fifty calls that failed in every way, as many descriptors are open as before."""
    scripts = [silence, comments, content_then_comments, endless_content, dripping_body]
    client = HttpModelClient()
    before = len(os.listdir("/proc/self/fd"))
    for script in scripts:
        async with Provider(script) as provider:
            limits = {"whole_call_s": 0.2, "first_content_s": 0.2, "content_idle_s": 0.2}
            calls = [client.call(target(provider, **limits), ask(stream=n % 2 == 0)) for n in range(10)]
            ends = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(end, CallError) for end in ends)
    await client.aclose()
    await asyncio.sleep(0)
    assert len(os.listdir("/proc/self/fd")) <= before + 2
