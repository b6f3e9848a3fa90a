"""Connections to providers: one pool per endpoint, httpx' transport over aiohttp, and nothing of a browser.

The transport is used without ``httpx.AsyncClient``, which would add what must not be here: cookies, redirects,
proxies and keys from the environment, and a log line with the URL; leaving it out also saves a third of the CPU
of a call. TLS is verified, 1.2 or newer.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import aiohttp
import certifi
import httpx
from httpx_aiohttp import AiohttpTransport
from httpx_aiohttp.transport import AiohttpResponseStream

from penstock_worker.llm.body import BodyDecoder
from penstock_worker.llm.endpoint import PROGRESS, CheckedResolver, Progress, TellingConnector, check_base_url
from penstock_worker.llm.errors import CallError, ConnectFailedError
from penstock_worker.llm.foreign import CAUGHT, translate
from penstock_worker.llm.port import Target

_SETTLE_S = 0.05
_LIBRARY_LOGGERS = ("httpx", "httpcore", "aiohttp", "openai")


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """How connections are kept."""

    max_connections: int = 2048
    """Per endpoint; at least the worker's concurrency, for waiting counts as connecting."""
    keepalive_s: float = 4.0
    """How long an idle connection is kept: less than the 5 s after which uvicorn (vLLM) hangs up."""


class Connections:
    """The pools of one event loop, made when first used."""

    def __init__(self, settings: PoolSettings | None = None) -> None:
        self._settings = settings or PoolSettings()
        self._endpoints: dict[tuple[str, str | None, bool, str | None], Endpoint] = {}
        self._closed = False
        quiet_libraries()

    def endpoint(self, target: Target) -> "Endpoint":
        """Return the endpoint of *target*. Raises ConnectFailedError for an address that is not permitted."""
        key = (target.base_url, target.ca_file, target.allow_private, target.proxy)
        found = self._endpoints.get(key)
        if found is None:
            found = self._endpoints[key] = self._open(target)
        return found

    def _open(self, target: Target) -> "Endpoint":
        try:
            if self._closed:
                raise ValueError("the client is closed")
            url = check_base_url(target.base_url, allow_private=target.allow_private)
            return Endpoint(url, _transport(target, self._settings))
        except (ValueError, OSError) as error:
            reason = str(error) if isinstance(error, ValueError) else "ca_file cannot be read"
        raise ConnectFailedError(sent=False, retry=False, detail=f"base_url {reason}")

    async def aclose(self) -> None:
        """Close all connections, those in use too."""
        self._closed = True
        endpoints, self._endpoints = list(self._endpoints.values()), {}
        for endpoint in endpoints:
            await endpoint.aclose()


class Endpoint:
    """One base URL and its connections."""

    def __init__(self, base_url: httpx.URL, transport: AiohttpTransport) -> None:
        self._base = str(base_url).rstrip("/")
        self._urls: dict[str, httpx.URL] = {}
        self._transport = transport

    async def send(
        self, method: str, path: str, headers: dict[str, str], body: bytes, connect_s: float, progress: Progress
    ) -> "Exchange":
        """Send and wait for the status and headers. Raises CallError and TimeoutError of an outer clock."""
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = httpx.URL(self._base + path)
        request = httpx.Request(method, url, headers=headers, content=body, extensions={"timeout": {"pool": connect_s}})
        PROGRESS.set(progress)
        failure: CallError
        try:
            return Exchange(await self._transport.handle_async_request(request))
        except CAUGHT as error:
            failure = translate(error, connected=progress.connected)
        raise failure

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()


class Exchange:
    """A response that has begun: status and headers are there, the body is not."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers.raw}
        self._response = response
        self._body = _body_of(response)
        self._decoder: BodyDecoder | None = None
        self._lull: asyncio.Future[None] | None = None

    async def read(self, max_bytes: int) -> Iterable[bytes] | None:
        """Return the decoded pieces of what came next, None at the end. Raises CallError.

        *max_bytes* bounds the whole decoded body; the first read sets it. The pieces are decoded while they
        are iterated, and must be before the next read.
        """
        if self._decoder is None:
            self._decoder = BodyDecoder(self.headers.get("content-encoding", ""), max_bytes)
        chunk = await self._next()
        if chunk is not None:
            return self._decoder.feed(chunk)
        self._decoder.end()
        return None

    async def lull(self, seconds: float) -> None:
        """Let what comes pile up for so long, or until the body has ended: one reading of much costs less than many."""
        if self._body.is_eof():
            return
        loop = asyncio.get_running_loop()
        if self._lull is None:
            self._body.on_eof(self._wake)
        self._lull = loop.create_future()
        timer = loop.call_later(seconds, self._wake)
        try:
            await self._lull
        finally:
            timer.cancel()

    def _wake(self) -> None:
        if self._lull is not None and not self._lull.done():
            self._lull.set_result(None)

    async def settle(self) -> None:
        """Read the last bytes of a finished stream for at most 50 ms, so that its connection can serve again."""
        with contextlib.suppress(TimeoutError, CallError):
            async with asyncio.timeout(_SETTLE_S):
                for _ in range(16):
                    if await self._next() is None:
                        return

    async def aclose(self) -> None:
        """Give the connection back if the body was read to its end; else cut it."""
        with contextlib.suppress(*CAUGHT):
            await self._response.aclose()

    async def _next(self) -> bytes | None:
        failure: CallError
        try:
            return await self._body.readany() or None
        except CAUGHT as error:
            failure = translate(error, connected=True)
        raise failure


def _body_of(response: httpx.Response) -> aiohttp.StreamReader:
    """aiohttp's own reader: what stands between it and us costs more for each piece than all that we do with it."""
    stream = cast(AiohttpResponseStream, response.stream)
    return stream._aiohttp_response.content


def _transport(target: Target, settings: PoolSettings) -> AiohttpTransport:
    context = tls_context(target.ca_file)

    def session() -> aiohttp.ClientSession:
        connector = TellingConnector(
            ssl=context,
            limit=settings.max_connections,
            keepalive_timeout=settings.keepalive_s,
            resolver=CheckedResolver(allow_private=target.allow_private or target.proxy is not None),
            ttl_dns_cache=30,
        )
        return aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, auto_decompress=False
        )

    proxy = httpx.Proxy(target.proxy) if target.proxy else None
    return AiohttpTransport(verify=context, trust_env=False, client=session, proxy=proxy)


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Verify names and certificates against *ca_file*, or the bundled authorities; TLS 1.2 or newer.

    Nothing is read from the environment. Raises OSError when *ca_file* cannot be read or is no PEM file.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(ca_file or certifi.where())
    return context


def quiet_libraries() -> None:
    """Silence the loggers of the HTTP libraries: they write URLs and headers. A repeat changes nothing."""
    for name in _LIBRARY_LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.CRITICAL + 1)
        logger.propagate = False
