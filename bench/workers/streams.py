"""Many streams at once: a server that sends each piece on time with the moment in it, and what reading them takes.

No piece is sent before all streams are open, and the measuring begins with the first: what it takes to open so many
connections is not what it takes to read them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import orjson

from bench.support import Bench, latency_columns
from penstock_worker.llm.client import HttpModelClient
from penstock_worker.llm.port import CallLimits, CallRequest, Target

PIECES_PER_S = 20.0
"""Of each stream; models write 20 to 100 tokens a second."""

PIECES = 100
"""Of each stream."""

_TICK_S = 0.002
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _event(data: bytes) -> bytes:
    line = b"data: " + data + b"\n\n"
    return b"%x\r\n" % len(line) + line + b"\r\n"


def _chunk(choices: list[Any], usage: Any = None) -> bytes:
    top = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "m"}
    return _event(orjson.dumps({**top, "system_fingerprint": "fp", "choices": choices, "usage": usage}))


def _piece(text: str) -> bytes:
    return _chunk([{"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}])


_USAGE = {"prompt_tokens": 9, "completion_tokens": PIECES, "total_tokens": 9 + PIECES}
_END = _chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}]) + _chunk([], _USAGE) + _event(b"[DONE]")


class PacedAnswer(asyncio.Protocol):
    """Answers each request with a stream that takes its time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.left = 0
        self._held = b""

    def data_received(self, data: bytes) -> None:
        self._held += data
        end = self._held.find(b"\r\n\r\n")
        if end < 0:
            return
        length = int(self._held[:end].lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        if len(self._held) < end + 4 + length:
            return
        self._held = b""
        self.left = PIECES
        self.transport.write(_HEAD)
        STREAMS.append(self)
        self.next_at = 0.0


STREAMS: list[PacedAnswer] = []


async def pace(many: int, pipe: Connection) -> None:
    """Whenever so many streams are open, tell it, and send all their pieces, each when it is due."""
    while True:
        await asyncio.sleep(_TICK_S)
        if len(STREAMS) < many:
            continue
        await asyncio.sleep(0.5)
        pipe.send("all are open")
        now = time.monotonic()
        for number, stream in enumerate(STREAMS):
            stream.next_at = now + number / many / PIECES_PER_S
        await _send_all()


async def _send_all() -> None:
    while STREAMS:
        await asyncio.sleep(_TICK_S)
        for stream in STREAMS[:]:
            now = time.monotonic()
            if now < stream.next_at:
                continue
            stream.next_at += 1 / PIECES_PER_S
            stream.left -= 1
            stream.transport.write(_piece(f" {now:.4f}"))
            if not stream.left:
                stream.transport.write(_END + b"0\r\n\r\n")
                STREAMS.remove(stream)


@dataclass
class Delays:
    """From the sending of a piece to its arrival."""

    seconds: list[float]

    def take(self, text: str) -> None:
        self.seconds.append(time.monotonic() - float(text))


async def read(bench: Bench, base_url: str, pipe: Connection, streams: int, *, asked: bool) -> dict[str, object]:
    """Read so many streams at once. *asked*: each piece is handed on, and its delay noted."""
    client = HttpModelClient()
    limits = CallLimits(whole_call_s=600)
    target = Target("bench/m", "openai", "m", base_url, limits=limits, allow_private=True)
    request = CallRequest(system="Be brief.", user="Go.", max_output_tokens=PIECES, stream=True)
    delays = Delays([])
    on_delta: Callable[[str], None] | None = delays.take if asked else None
    try:
        calls = [asyncio.create_task(client.call(target, request, on_delta=on_delta)) for _ in range(streams)]
        await asyncio.to_thread(pipe.recv)
        watch = bench.stopwatch()
        await asyncio.gather(*calls)
        run = watch.stop(streams * PIECES)
    finally:
        await client.aclose()
    row: dict[str, object] = {
        "what": f"{streams} streams, pieces {'handed on' if asked else 'nobody asked for'}",
        "pieces": run.items,
        "per_s": run.per_s,
        "cpu_us_per_piece": run.cpu_s * 1e6 / run.items,
    }
    return {**row, **(latency_columns(delays.seconds) if asked else dict.fromkeys(latency_columns([0.0]), ""))}
