"""A TCP proxy between any two parts, which can do to a connection what a network does.

It runs in a thread of its own, so that it goes on when the event loop of the test is busy; every method may be
called from any thread and has taken effect when it returns.
"""

import asyncio
import math
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeVar, cast
from urllib.parse import urlsplit

T = TypeVar("T")

_HOST = "127.0.0.1"
_TAIL_BYTES = 256  # a text looked for may be spread over two pieces
_CONTROL_TIMEOUT_S = 10.0
_RST_ON_CLOSE = struct.pack("ii", 1, 0)  # linger for 0 s: close sends RST instead of FIN


class TcpProxy:
    """Forwards what it is sent to ``host:port`` and the answers back, in order, until told otherwise.

    ``with TcpProxy.to(server.url) as proxy: connect(proxy.url)``
    """

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.port = 0
        """Where it listens on 127.0.0.1; the same for its whole life."""
        self._url = f"tcp://{host}:{port}"
        self._loop: asyncio.AbstractEventLoop
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._closing = asyncio.Event()
        self._delay_s, self._flowing = 0.0, True
        self._armed: bytes | None = None
        self.refusing = False
        self.corruption = b"", b""
        self.clients: set[_Client] = set()
        self.reply_dropped = threading.Event()

    @classmethod
    def to(cls, url: str) -> Self:
        """A proxy before the server of *url*; its own ``url`` differs in host and port only."""
        parts = urlsplit(url)
        if parts.hostname is None or parts.port is None:
            raise ValueError(f"a proxy needs a URL with host and port, not {url!r}")
        proxy = cls(parts.hostname, parts.port)
        proxy._url = url
        return proxy

    @property
    def url(self) -> str:
        """The URL by which the target is reached through this proxy."""
        return urlsplit(self._url)._replace(netloc=f"{_HOST}:{self.port}").geturl()

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        return self._call(lambda: len(self.clients))

    def retarget(self, url: str) -> None:
        """Lead to the server of *url* from now on, and ``cut`` what leads elsewhere: as a name that moves."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        target = (parts.hostname, parts.port)
        self._call(lambda: setattr(self, "target", target))
        self.cut()

    def pass_through(self) -> None:
        """Forward everything at once, what was held back included; the end of delay, freeze and refuse."""
        self._call(self._set_mode)

    def delay(self, delay_s: float) -> None:
        """Forward each piece *delay_s* after it came, in either direction (a round trip takes twice that)."""
        self._call(lambda: self._set_mode(delay_s=delay_s))

    def freeze(self) -> None:
        """Accept, forward nothing, end nothing: a network that has gone silent."""
        self._call(lambda: self._set_mode(flowing=False))

    def cut(self) -> None:
        """End every open connection by RST, on both sides; new ones are accepted as before."""
        self._call(self._cut)

    def refuse(self) -> None:
        """``cut``, and do the same to every new connection until ``pass_through``."""
        self._call(self._refuse)

    def corrupt(self, old: bytes, new: bytes) -> None:
        """Put *new*, of the same length, in the place of *old* in every piece of a reply from now on."""
        if len(old) != len(new):
            raise ValueError("what is put in its place must be as long, or what follows moves")
        self._call(lambda: setattr(self, "corruption", (old, new)))

    def drop_next_reply(self, containing: bytes = b"") -> None:
        """Let the next request with these bytes reach the target, swallow the reply, and cut its connection.

        To the client the connection broke; the target has done what was asked. ``wait_dropped`` tells when.
        """
        self._call(lambda: self._arm(containing))

    def wait_dropped(self, timeout_s: float = 10.0) -> None:
        """Wait until the reply armed last was swallowed; raises ``AssertionError`` when there was none."""
        if not self.reply_dropped.wait(timeout_s):
            raise AssertionError(f"no reply was dropped within {timeout_s:g} s (waiting for {self._armed!r})")

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(_CONTROL_TIMEOUT_S):
            raise RuntimeError("the proxy did not start")
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._call(self._closing.set)
        self._thread.join(_CONTROL_TIMEOUT_S)

    def _call(self, action: Callable[[], T]) -> T:
        """Do it in the proxy's thread, and wait for what it gives."""

        async def run() -> T:
            return action()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(_CONTROL_TIMEOUT_S)

    # From here on: in the proxy's thread only.

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await self._loop.create_server(lambda: _Client(self), _HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._closing.wait()
        server.close()
        self._cut()

    def _set_mode(self, *, delay_s: float = 0.0, flowing: bool = True, refusing: bool = False) -> None:
        self._delay_s, self._flowing, self.refusing = delay_s, flowing, refusing
        for client in list(self.clients):
            client.flush()
            client.target.flush()

    def _arm(self, containing: bytes) -> None:
        self._armed = containing
        self.reply_dropped.clear()

    def _refuse(self) -> None:
        """In one step: what is held of open connections must not pass in between."""
        self._cut()
        self._set_mode(refusing=True)

    def _cut(self) -> None:
        for client in list(self.clients):
            client.reset()
            client.target.reset()

    def hold_s(self, came_at: float) -> float:
        """How long what came at this moment of the loop's clock has still to wait; infinite while frozen."""
        return came_at + self._delay_s - self._loop.time() if self._flowing else math.inf

    def disarm(self, tail: bytes, request: bytes) -> bool:
        """Whether the reply to this request, before which *tail* came, is to be swallowed; true only once."""
        if self._armed is None:
            return False
        overlap = len(self._armed) - 1
        if self._armed not in (tail[-overlap:] if overlap > 0 else b"") + request:
            return False
        self._armed = None
        return True


class _Side(asyncio.Protocol):
    """One side of a connection: what comes in is kept in order until it may go to the other side."""

    _RESET = None
    _END = b""

    peer: "_Side"

    def __init__(self, proxy: TcpProxy) -> None:
        self._proxy = proxy
        self._transport: asyncio.Transport | None = None
        self._arrived: deque[tuple[float, bytes | None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.peer.flush()

    def data_received(self, data: bytes) -> None:
        self.keep(data)

    def eof_received(self) -> bool:
        self.keep(self._END)
        return True  # the other direction stays open

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self.keep(self._RESET)

    def keep(self, piece: bytes | None) -> None:
        """Take in what came: bytes, the end, or a reset."""
        self._arrived.append((asyncio.get_running_loop().time(), piece))
        self.flush()

    def flush(self) -> None:
        """Forward what may go now, and come back when the next may."""
        if self._timer is not None:
            self._timer.cancel()
        while self._arrived and self.peer._transport is not None:
            wait_s = self._proxy.hold_s(self._arrived[0][0])
            if wait_s > 0:
                if not math.isinf(wait_s):
                    self._timer = asyncio.get_running_loop().call_later(wait_s, self.flush)
                return
            self._forward(self._arrived.popleft()[1])

    def _forward(self, piece: bytes | None) -> None:
        if piece is self._RESET:
            self.peer.reset()
        elif piece == self._END:
            self._ended = True
            self.peer.end()
            if self.peer._ended:
                self.close()
                self.peer.close()
        else:
            self.peer.write(piece)

    def write(self, piece: bytes) -> None:
        """Send to this side, unless it is gone."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(piece)

    def end(self) -> None:
        """Tell this side that no more will come."""
        if self._transport is not None and not self._transport.is_closing():
            with suppress(OSError):  # it went away in between
                self._transport.write_eof()

    def close(self) -> None:
        """Close this side when all is sent."""
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """Close this side at once, by RST."""
        if self._transport is not None and not self._transport.is_closing():
            connection = self._transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
            self._transport.abort()


class _Client(_Side):
    def __init__(self, proxy: TcpProxy) -> None:
        super().__init__(proxy)
        self.peer = self.target = _Target(proxy, self)
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._proxy.refusing:
            self.reset()
            return
        self._proxy.clients.add(self)
        self._connecting = asyncio.create_task(self._connect())

    def connection_lost(self, exc: Exception | None) -> None:
        self._proxy.clients.discard(self)
        super().connection_lost(exc)

    async def _connect(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self.target, *self._proxy.target)
        except OSError:
            self.target.keep(self._RESET)
        else:
            if self._transport is None or self._transport.is_closing():
                self.target.reset()

    def _forward(self, piece: bytes | None) -> None:
        if piece:
            if self._proxy.disarm(self._tail, piece):
                self.target.doomed = True
            self._tail = (self._tail + piece)[-_TAIL_BYTES:]
        super()._forward(piece)


class _Target(_Side):
    def __init__(self, proxy: TcpProxy, client: _Client) -> None:
        super().__init__(proxy)
        self.peer = client
        self.doomed = False
        """Whether replies are swallowed. A reply proves that the target works on what it was sent; it may be the
        reply to an earlier request, so that the target is left to read to the end before the drop counts."""

    def _forward(self, piece: bytes | None) -> None:
        old, new = self._proxy.corruption
        if piece and old:
            piece = piece.replace(old, new)
        if not self.doomed:
            super()._forward(piece)
        elif piece:
            self.peer.reset()
            self.end()
        else:
            self.peer.reset()
            self.close()
            self._proxy.reply_dropped.set()
