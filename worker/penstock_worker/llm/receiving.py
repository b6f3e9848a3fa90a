"""What comes back for one call: whole, piece by piece, or a refusal; read by the call's family, under its clocks."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from penstock_worker.llm.degenerate import LoopFinder
from penstock_worker.llm.endpoint import Progress
from penstock_worker.llm.errors import CallError, DegenerateError
from penstock_worker.llm.family import AnswerStream, Family, Reply
from penstock_worker.llm.http import Exchange
from penstock_worker.llm.port import CallRequest, KeptId, Target
from penstock_worker.llm.refusal import refusal
from penstock_worker.llm.watchdog import Watchdog

MAX_ERROR_BODY_BYTES = 64 * 1024
STREAM_OVERHEAD = 16
"""A stream may have this many times ``max_body_bytes`` on the wire: each token comes in an envelope."""

LULL_PIECES, LONGEST_LULL_S = 5, 0.25
"""Of a stream that nobody asked for, so many pieces are looked at together, at the pace at which they come; but none
waits longer. The end of the answer waits for nothing."""

OnDelta = Callable[[str], None]


class Call:
    """What is known of one call while it runs."""

    __slots__ = (
        "family",
        "input_bytes",
        "kept",
        "key",
        "loops",
        "on_delta",
        "progress",
        "request",
        "stream",
        "target",
        "watch",
    )

    def __init__(
        self,
        target: Target,
        request: CallRequest,
        family: Family,
        deadline: float | None = None,
        on_delta: OnDelta | None = None,
        kept: KeptId | None = None,
    ) -> None:
        self.target = target
        self.kept = (kept or KeptId()) if target.options.get("background") else None
        self.request = request = replace(request, stream=False) if self.kept is not None else request
        self.on_delta = on_delta
        self.family = family
        self.watch = Watchdog(target.limits, deadline, streaming=request.stream)
        self.progress = Progress()
        self.progress.connected = self.kept is not None and self.kept.id is not None
        self.stream: AnswerStream | None = None
        self.loops = LoopFinder() if request.stream and target.limits.stop_loops else None
        self.key: str | None = None
        self.input_bytes = 0


async def read(call: Call, exchange: Exchange) -> Reply:
    """The answer in a response that has begun. Raises CallError, also for one that is no 200."""
    if exchange.status != 200:
        raise await refused(call, exchange)
    if call.request.stream and not _is_one_document(exchange):
        return await _read_stream(call, exchange)
    body = await read_whole(exchange, call.target.limits.max_body_bytes, call.watch.content)
    return _told(call, call.family.read_answer(body))


def worked_out(call: Call, body: bytes) -> Reply:
    """What work in the background has come to. Raises CallError."""
    try:
        return _told(call, call.family.read_answer(body))
    except CallError as error:
        error.if_sent = "unknown" if error.if_sent == "no" else error.if_sent  # it worked before it failed
        raise


def _told(call: Call, reply: Reply) -> Reply:
    """A whole answer, told as the one piece that it is."""
    if call.on_delta is not None and reply.text:
        call.on_delta(reply.text)
    return reply


def _is_one_document(exchange: Exchange) -> bool:
    """Whether the body is one JSON document, and not a stream of events or of lines."""
    kind = exchange.headers.get("content-type", "").partition(";")[0]
    return "json" in kind and not kind.strip().endswith(("ndjson", "jsonl", "stream+json"))


async def read_whole(exchange: Exchange, max_bytes: int, content: Callable[[], None] | None = None) -> bytes:
    """The whole body; *content* hears of each piece that is not blank."""
    parts = []
    while (pieces := await exchange.read(max_bytes)) is not None:
        for piece in pieces:
            parts.append(piece)
            if content is not None and not piece.isspace():  # some providers send empty lines while they think
                content()
    return b"".join(parts)


async def _read_stream(call: Call, exchange: Exchange) -> Reply:
    stream = call.stream = call.family.open_stream(call.target)
    max_bytes = call.target.limits.max_body_bytes * STREAM_OVERHEAD
    seen, first_at = 0, 0.0
    while not stream.done and (pieces := await exchange.read(max_bytes)) is not None:
        for piece in pieces:
            for text in stream.feed(piece):
                _progress(call, text)
                seen += 1
        if seen and call.on_delta is None and not stream.done:
            first_at = first_at or time.monotonic()
            pace_s = (time.monotonic() - first_at) / seen
            await exchange.lull(min(pace_s * LULL_PIECES, LONGEST_LULL_S, call.target.limits.content_idle_s / 2))
    if stream.done:
        await exchange.settle()
    return stream.finish()


def _progress(call: Call, text: str) -> None:
    if not text.isspace():
        call.watch.content()
    shape = call.loops.feed(text) if call.loops is not None else None
    if shape is not None:
        raise _cut(call, shape)
    if text and call.on_delta is not None:
        call.on_delta(text)


def _cut(call: Call, shape: str) -> DegenerateError:
    error = DegenerateError(detail=shape)
    assert call.loops is not None
    error.saved_tokens = max(call.request.max_output_tokens - call.loops.tokens, 0)
    return error


async def refused(call: Call, exchange: Exchange) -> CallError:
    """Make the error for a status other than 200, with what its headers say about a retry."""
    try:
        body = await read_whole(exchange, MAX_ERROR_BODY_BYTES, call.watch.content)
    except CallError:
        body = b""  # the status says enough
    if call.key:
        body = body.replace(call.key.encode(), b"[key]")
    return refusal(call.family, exchange.status, exchange.headers, body, datetime.now(UTC))
