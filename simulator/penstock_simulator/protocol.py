"""HTTP/1.1 on asyncio, close enough to the socket to stall, drip and reset.

Requests are parsed by httptools. An answer without pauses is written in the same turn of the event loop,
without a task; any other is played by a task that ends when its client leaves.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import cast

import httptools

from penstock_simulator.ask import Request
from penstock_simulator.delivery import REASONS, Charge, Cut, Hang, Pause, Repeat, Send, Step
from penstock_simulator.provider import Performance, Provider

MAX_BODY_BYTES = 64 * 1_048_576
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER on, zero seconds: close(2) sends a RST and drops what was not sent yet."""

Control = Callable[[Request], tuple[int, bytes]]
"""Answers a request to the control endpoints with a status and JSON."""


class HttpProtocol(asyncio.Protocol):
    """One connection."""

    def __init__(self, provider: Provider, control: Control, connections: set[HttpProtocol]) -> None:
        self._provider = provider
        self._control = control
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._begin()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one, though not by class
        self._connections.add(self)
        self._provider.stats.connected()

    def connection_lost(self, _error: Exception | None) -> None:
        """End the call that is being answered."""
        self._connections.discard(self)
        self._provider.stats.open_connections -= 1
        self._waiting.clear()
        self._writable.set()
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """Parse; what is not HTTP is answered with 400 and the end of the connection."""
        if self._transport.is_closing():
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._write_plain(400, b'{"error":{"message":"not HTTP/1.1"}}', keep_alive=False)

    def pause_writing(self) -> None:
        """The socket is full: a task that writes much waits."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The socket has room again."""
        self._writable.set()

    def close(self) -> None:
        """End the connection at once, whatever is in flight."""
        self._transport.abort()

    # What httptools calls while parsing.

    def on_url(self, url: bytes) -> None:
        """Gather the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Gather a header."""
        self._headers[name.lower().decode("latin-1")] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Let a client that asks first go on."""
        if self._headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        """Gather the body; beyond the limit the connection ends."""
        self._size += len(data)
        if self._size > MAX_BODY_BYTES:
            self._write_plain(413, b'{"error":{"message":"request too large"}}', keep_alive=False)
            return
        self._body.append(data)

    def on_message_complete(self) -> None:
        """Answer, or wait until the request before is answered."""
        path, _, query = self._url.decode("latin-1").partition("?")
        method = self._parser.get_method().decode("latin-1")
        keep_alive = self._parser.should_keep_alive()
        request = Request(method, path, self._headers, b"".join(self._body), keep_alive, query)
        self._begin()
        if self._task is None:
            self._answer(request)
        else:
            self._waiting.append(request)

    def _begin(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._size = 0

    def _answer(self, request: Request) -> None:
        wire = self._provider.wire_for(request.method, request.path)
        if wire is None:
            status, body = self._control(request)
            self._write_plain(status, body, keep_alive=request.keep_alive)
            return
        performance = self._provider.handle(wire, request)
        if performance.due_in_s is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(performance.due_in_s, self._provider.complete, performance)
        if all(type(step) in _INSTANT for step in performance.steps):
            self._play_at_once(performance, request.keep_alive)
            return
        self._task = asyncio.get_running_loop().create_task(self._play(performance, request.keep_alive))

    def _play_at_once(self, performance: Performance, keep_alive: bool) -> None:
        data = b"".join(step.data for step in performance.steps if type(step) is Send)
        if any(type(step) is Charge for step in performance.steps):
            self._provider.charge(performance)
        self._provider.finish(performance, "sent", len(data))
        self._transport.write(data)
        if not keep_alive:
            self._transport.close()

    async def _play(self, performance: Performance, keep_alive: bool) -> None:
        self._provider.bill.write(performance.call)
        player = _Player(self._provider, performance, self._transport, self._writable)
        try:
            outcome = await player.play()
        except asyncio.CancelledError:
            outcome = "client_left"
        self._provider.finish(performance, outcome, player.sent_bytes)
        self._task = None
        if outcome == "sent":
            self._next(keep_alive)

    def _next(self, keep_alive: bool) -> None:
        if not keep_alive:
            self._transport.close()
        while self._waiting and self._task is None:
            self._answer(self._waiting.popleft())

    def _write_plain(self, status: int, body: bytes, *, keep_alive: bool) -> None:
        head = (
            f"HTTP/1.1 {status} {REASONS.get(status, 'Unknown')}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n" + ("" if keep_alive else "connection: close\r\n") + "\r\n"
        )
        self._transport.write(head.encode() + body)
        if not keep_alive:
            self._transport.close()


_INSTANT = frozenset({Send, Charge})


class _Player:
    """Plays the steps of one performance on one transport."""

    def __init__(
        self,
        provider: Provider,
        performance: Performance,
        transport: asyncio.Transport,
        writable: asyncio.Event,
    ) -> None:
        self._provider = provider
        self._performance = performance
        self._transport = transport
        self._writable = writable
        self.sent_bytes = 0

    async def play(self) -> str:
        """Carry out all steps; `sent`, or `cut` if a step ended the connection."""
        for step in self._performance.steps:
            if isinstance(step, Cut):
                await self._cut(step)
                return "cut"
            await self._step(step)
        return "sent"

    async def _step(self, step: Step) -> None:
        match step:
            case Send(data):
                await self._write(data)
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case Charge():
                self._provider.charge(self._performance)
                self._provider.bill.write(self._performance.call)
            case Hang():
                await asyncio.get_running_loop().create_future()
            case Repeat(data, times, every_s):
                await self._repeat(data, times, every_s)

    async def _write(self, data: bytes) -> None:
        self._transport.write(data)
        self.sent_bytes += len(data)
        if not self._writable.is_set():
            await self._writable.wait()

    async def _repeat(self, data: bytes, times: int | None, every_s: float) -> None:
        done = 0
        while times is None or done < times:
            await self._write(data)
            await asyncio.sleep(every_s)
            done += 1

    async def _cut(self, step: Cut) -> None:
        if not step.reset:
            self._transport.close()
            return
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()
