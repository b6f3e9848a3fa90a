"""What a call may reveal and where it may go, in every provider's format: the key, the address, the environment."""

import logging
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock_worker.llm.client import FAMILIES, HttpModelClient
from penstock_worker.llm.endpoint import CheckedResolver
from penstock_worker.llm.errors import CallError
from penstock_worker.llm.port import SchemaMode
from penstock_worker.llm.proxies import proxy_for
from penstock_worker.llm.secrets import SecretRef
from tests.support import odd_names
from tests.support.decoys import Decoy, Tunnel, server_tls
from tests.support.provider import Provider, Request, completion, dumped, response

Make = Callable[..., Any]
KEY = "sk-canary-91be40d2"
HOSTILE = "../../v2/admin?key=1#x http://127.0.0.1:9/ \r\nhost: evil.example {model}"
SCHEMA = {"type": "object", "properties": {HOSTILE: {"type": "string"}}}


async def echo(request: Request) -> None:
    """Refuse, and repeat all that was said."""
    await request.send(response(request.head + request.body, status="500 S", headers=["x-request-id: req-1"]))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", FAMILIES)
async def test_the_key_stands_in_a_header_and_nowhere_else(
    kind: str,
    stream: bool,
    client: HttpModelClient,
    target: Make,
    ask: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not in the URL or the body; not in the error, its repr, its links or its trace; not in a log."""
    monkeypatch.setenv("CANARY_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    async with Provider(echo) as provider:
        place = target(provider, kind=kind, api_key=SecretRef(env="CANARY_KEY"))
        with pytest.raises(CallError) as caught:
            await client.call(place, ask(stream=stream))
        (request,) = provider.requests
    line, _, headers = request.head.decode().partition("\r\n")
    assert KEY in headers
    assert KEY not in line and "?key" not in line
    assert KEY.encode() not in request.body
    seen = caught.value
    written = "".join(traceback.format_exception(seen)) + repr(seen) + repr(vars(seen)) + repr(place) + caplog.text
    assert KEY not in written
    assert seen.__cause__ is None and seen.__context__ is None


@pytest.mark.parametrize("mode", list(SchemaMode))
@pytest.mark.parametrize("kind", FAMILIES)
async def test_nothing_of_a_job_reaches_the_address(
    kind: str, mode: SchemaMode, client: HttpModelClient, target: Make, ask: Make
) -> None:
    """Request line and headers are the same for a plain job and for one that is full of addresses."""
    async with Provider(echo) as provider:
        place = target(provider, kind=kind, schema_mode=mode)
        for fields in ({"user": "Hi"}, {"user": HOSTILE, "schema": SCHEMA, "schema_name": "answer"}):
            with pytest.raises(CallError):
                await client.call(place, ask(**fields))
        plain, hostile = (without_length(request) for request in provider.requests)
    assert plain == hostile


def without_length(request: Request) -> list[bytes]:
    """The lines of the head, but for what the body's size makes of them."""
    return [line for line in request.head.split(b"\r\n") if not line.lower().startswith(b"content-length")]


async def test_the_environment_names_no_proxy_authority_or_key(
    client: HttpModelClient, target: Make, ask: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """HTTP_PROXY and its like, SSL_CERT_FILE and ~/.netrc are passed over."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))

    async def hello(request: Request) -> None:
        await request.send(response(dumped(completion("hello"))))

    with Decoy() as proxy, Decoy(tls=server_tls(tmp_path, "localhost")) as impostor:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "localhost-2.pem"))
        async with Provider(hello) as provider:
            assert (await client.call(target(provider), ask())).text == "hello"
            assert "authorization" not in provider.requests[0].headers
            with pytest.raises(CallError) as caught:
                await client.call(target(provider, base_url=f"https://localhost:{impostor.port}/v1"), ask())
        assert caught.value.code == "tls_failed"
        assert (proxy.connections, impostor.heard) == (0, b"")


async def test_cookies_are_not_kept(client: HttpModelClient, target: Make, ask: Make) -> None:
    """What a provider sets is never sent back."""

    async def baker(request: Request) -> None:
        cookie = "set-cookie: session=stolen; Path=/"
        await request.send(response(dumped(completion("hello")), headers=[cookie]))

    async with Provider(baker) as provider:
        place = target(provider)
        for _ in range(2):
            await client.call(place, ask())
        assert all("cookie" not in request.headers for request in provider.requests)


@pytest.mark.parametrize("name", ["rebind.test", "private.test", "mapped.test", "metadata.test"])
async def test_a_name_that_turns_private_leads_nowhere(
    name: str, client: HttpModelClient, target: Make, ask: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address that was checked is the one that is called: a name which changes its mind gains nothing."""
    monkeypatch.setattr(socket, "getaddrinfo", odd_names.getaddrinfo)
    monkeypatch.setattr(odd_names, "rebound", iter([odd_names.PUBLIC, "127.0.0.1", "127.0.0.1"]))

    async def never(request: Request) -> None:
        raise AssertionError

    async with Provider(never) as somewhere:
        with Decoy() as decoy:
            base_url = f"https://{name}:{decoy.port}/v1"
            place = target(somewhere, base_url=base_url, allow_private=False, connect_s=0.3)
            for _ in range(3):
                with pytest.raises(CallError) as caught:
                    await client.call(place, ask())
                assert (caught.value.code, caught.value.sent) == ("connect_failed", False)
            assert decoy.connections == 0


async def test_each_lookup_is_checked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was public at first is refused when it is not any more."""
    monkeypatch.setattr(socket, "getaddrinfo", odd_names.getaddrinfo)
    monkeypatch.setattr(odd_names, "rebound", iter([odd_names.PUBLIC, "127.0.0.1"]))
    resolver = CheckedResolver(allow_private=False)
    assert [hit["host"] for hit in await resolver.resolve("rebind.test", 443)] == [odd_names.PUBLIC]
    with pytest.raises(OSError, match="private"):
        await resolver.resolve("rebind.test", 443)


async def test_a_proxy_that_was_asked_for_carries_the_call_and_sees_no_key(
    client: HttpModelClient, target: Make, ask: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is told host and port; TLS is with the provider."""
    monkeypatch.setenv("CANARY_KEY", KEY)

    async def hello(request: Request) -> None:
        await request.send(response(dumped(completion("hello"))))

    tls = server_tls(tmp_path, "localhost")
    with Tunnel() as tunnel:
        async with Provider(hello, tls=tls) as provider:
            base_url = f"https://localhost:{provider.port}/v1"
            monkeypatch.setenv("HTTPS_PROXY", tunnel.url)
            monkeypatch.delenv("NO_PROXY", raising=False)
            monkeypatch.delenv("no_proxy", raising=False)
            place = target(
                provider,
                base_url=base_url,
                api_key=SecretRef(env="CANARY_KEY"),
                ca_file=str(tmp_path / "localhost-2.pem"),
                proxy=proxy_for(base_url, "environment"),
            )
            assert (await client.call(place, ask())).text == "hello"
            (asked,) = tunnel.asked
            assert asked.startswith(f"CONNECT localhost:{provider.port} ".encode())
            assert KEY.encode() not in asked
            assert provider.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_what_the_environment_says_of_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where it is asked for; NO_PROXY is heeded."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    url = "https://api.openai.com/v1"
    assert proxy_for(url, None) is None
    assert proxy_for(url, "environment") == "http://proxy.test:3128"
    assert proxy_for(url, "http://other.test:1") == "http://other.test:1"
    monkeypatch.setenv("NO_PROXY", "openai.com")
    assert proxy_for(url, "environment") is None


@pytest.mark.parametrize(
    "setting", ["proxy.test:3128", "socks5://proxy.test", "http://", "https://p.test", "http://p/x"]
)
def test_a_proxy_that_is_none(setting: str) -> None:
    """Is refused when the worker starts, unquoted."""
    with pytest.raises(ValueError, match=r"must be|is not a URL"):
        proxy_for("https://api.openai.com/v1", setting)
