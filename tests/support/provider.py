"""A provider on a real socket whose every byte the test decides."""

import asyncio
import gzip
import json
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self


@dataclass
class Request:
    """One request as it arrived, and the way to answer it."""

    head: bytes
    body: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    headers: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        rows = (line.split(": ", 1) for line in self.head.decode("latin-1").split("\r\n")[1:] if line)
        self.headers = {name.lower(): value for name, value in rows}

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    async def send(self, *parts: bytes) -> None:
        """Write the parts, each on its own."""
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def gone(self) -> None:
        """Wait until the client has closed its side."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass


Script = Callable[[Request], Awaitable[None]]


class Provider:
    """Serves *script* for each request; a connection lives on unless the script closes it."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.arrived = asyncio.Event()
        self.hung_up = asyncio.Event()
        self._script = script
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls, limit=2**24)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def base_url(self) -> str:
        """What a target's ``base_url`` is set to."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while True:
                await self._one(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.hung_up.set()
        except asyncio.CancelledError:
            pass  # asyncio's streams would log it
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        _, named, after = head.lower().partition(b"content-length: ")
        length = int(after.split(b"\r\n")[0]) if named else 0
        request = Request(head[:-4], await reader.readexactly(length), reader, writer)
        self.requests.append(request)
        self.arrived.set()
        await self._script(request)


def response(
    body: bytes, *, status: str = "200 OK", kind: str = "application/json", headers: Sequence[str] = ()
) -> bytes:
    """A whole response with its length."""
    head = [f"HTTP/1.1 {status}", f"content-type: {kind}", f"content-length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def completion(
    text: str | None = "hello", *, finish: str | None = "stop", usage: Any = "some", **fields: Any
) -> dict[str, Any]:
    """A Chat Completions body."""
    body = {
        "id": "chatcmpl-1",
        "model": "test-model-2025",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15} if usage == "some" else usage,
    }
    return body | fields


def dumped(value: Any) -> bytes:
    """JSON as a provider writes it."""
    return json.dumps(value).encode()


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: req-s\r\ntransfer-encoding: chunked\r\n\r\n"
)
LAST_CHUNK = b"0\r\n\r\n"


def http_chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def event(value: Any) -> bytes:
    """One server-sent event, as an HTTP chunk."""
    data = value if isinstance(value, str) else json.dumps(value)
    return http_chunk(f"data: {data}\n\n".encode())


def delta(text: str | None = None, *, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    """A chunk of a streamed answer; *fields* go into the delta."""
    inner = ({} if text is None else {"content": text}) | fields
    return {
        "id": "chatcmpl-1",
        "model": "test-model-2025",
        "choices": [{"index": 0, "delta": inner, "finish_reason": finish}],
    }


def usage_chunk(prompt: int = 12, completion_tokens: int = 3) -> dict[str, Any]:
    """The last chunk before the end marker."""
    total = prompt + completion_tokens
    usage = {"prompt_tokens": prompt, "completion_tokens": completion_tokens, "total_tokens": total}
    return {"id": "chatcmpl-1", "choices": [], "usage": usage}


def gzip_bomb(size: int) -> bytes:
    """*size* zero bytes, compressed about a thousandfold."""
    return gzip.compress(bytes(size))
