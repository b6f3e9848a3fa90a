"""How the bytes of an answer leave, as a list of steps that a player carries out.

A fault of the wire is another list of steps for the same bytes; nothing here touches a socket.
"""

from __future__ import annotations

from dataclasses import dataclass

_FIRST_EVENT_SHARE = 0.3
"""The part of a stream's time that passes before its first event."""
_SHORTEST_PAUSE_S = 0.002
"""Pauses below this are gathered: the clock of an event loop is no finer."""

REASONS = {
    200: "OK",
    302: "Found",
    307: "Temporary Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    413: "Payload Too Large",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    529: "Site Overloaded",
}


@dataclass(slots=True, frozen=True)
class Send:
    """Write these bytes."""

    data: bytes


@dataclass(slots=True, frozen=True)
class Pause:
    """Do nothing for so long."""

    seconds: float


@dataclass(slots=True, frozen=True)
class Charge:
    """The generation is done: from here on the call is charged."""


@dataclass(slots=True, frozen=True)
class Hang:
    """Send nothing more until the client leaves."""


@dataclass(slots=True, frozen=True)
class Cut:
    """End the connection: by a reset, or by an orderly close in the middle of the answer."""

    reset: bool = True


@dataclass(slots=True, frozen=True)
class Repeat:
    """Write *data* over and over: *times* times, or until the client leaves if None."""

    data: bytes
    times: int | None = None
    every_s: float = 0.0


Step = Send | Pause | Charge | Hang | Cut | Repeat


@dataclass(frozen=True, slots=True)
class Framing:
    """How the events of a stream stand in its body."""

    content_type: str
    before: bytes
    after: bytes
    comment: bytes
    """What a client must read over: a comment, or a blank line where there are none."""
    named: bool = False
    """Whether each event's `type` stands in a line of its own before it."""
    opening: bytes = b""
    """Before the first event."""
    between: bytes = b""
    """Before each event but the first."""
    closing: bytes = b""
    """After the last event, whatever ends the stream there."""

    def frame(self, data: bytes, kind: str, *, first: bool) -> bytes:
        """The event *data* of the type *kind* in its place."""
        name = b"event: " + kind.encode() + b"\n" if self.named else b""
        return (self.opening if first else self.between) + name + self.before + data + self.after


EVENTS = Framing("text/event-stream; charset=utf-8", b"data: ", b"\n\n", b": keep-alive\n\n")
"""Server-sent events without names."""
LINES = Framing("application/x-ndjson", b"", b"\n", b"\n")
"""One JSON document a line."""
ARRAY = Framing("application/json; charset=UTF-8", b"", b"", b"\n", opening=b"[", between=b",\r\n", closing=b"]\n")
"""One JSON array, sent item by item."""


@dataclass(slots=True)
class Packet:
    """An answer in bytes: for a stream one frame for each event, else one frame."""

    status: int
    headers: dict[str, str]
    frames: list[bytes]
    streamed: bool = False
    keep_alive: bool = True
    latency_s: float = 0.0
    declared_length: int | None = None
    """A `content-length` other than the true one; None for the truth."""
    framing: Framing = EVENTS

    @property
    def body(self) -> bytes:
        """All frames as one."""
        return b"".join(self.frames)

    def head(self) -> bytes:
        """Status line and headers, with the length or `transfer-encoding: chunked`."""
        lines = [f"HTTP/1.1 {self.status} {REASONS.get(self.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.streamed:
            lines.append("transfer-encoding: chunked")
        else:
            length = sum(map(len, self.frames)) if self.declared_length is None else self.declared_length
            lines.append(f"content-length: {length}")
        if not self.keep_alive:
            lines.append("connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    def chunks(self) -> list[bytes]:
        """The frames as they stand on the wire; the last chunk of a stream comes with its last frame."""
        if not self.streamed:
            return list(self.frames)
        chunks = [chunk(frame) for frame in self.frames if frame]
        return [*chunks[:-1], chunks[-1] + b"0\r\n\r\n"] if chunks else [b"0\r\n\r\n"]


@dataclass(slots=True)
class Delivery:
    """What a delivery fault has to work with: the bytes, and the time the answer takes."""

    head: bytes
    chunks: list[bytes]
    latency_s: float
    streamed: bool
    generated: bool = True
    """False for an error answer, and for one that is generated later: nothing is charged with it."""
    framing: Framing = EVENTS

    @property
    def wire(self) -> bytes:
        """Head and body in one."""
        return self.head + b"".join(self.chunks)

    def opening(self) -> list[Step]:
        """The time before the first byte, and the charge where one is due."""
        steps: list[Step] = [Pause(self.latency_s)] if self.latency_s > 0 else []
        return [*steps, Charge()] if self.generated else steps


def chunk(data: bytes) -> bytes:
    """*data* as one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def deliver(packet: Packet, *, generated: bool) -> Delivery:
    """*packet* made ready for the wire."""
    return Delivery(packet.head(), packet.chunks(), packet.latency_s, packet.streamed, generated, packet.framing)


def plain_steps(delivery: Delivery) -> list[Step]:
    """The honest way: wait, charge, send; a stream is paced over its time and charged before its last event."""
    if not delivery.streamed or delivery.latency_s <= 0:
        return [*delivery.opening(), Send(delivery.wire)]
    first_s = delivery.latency_s * _FIRST_EVENT_SHARE
    steps: list[Step] = [Pause(first_s), Send(delivery.head)]
    steps += _paced(delivery.chunks[:-1], delivery.latency_s - first_s)
    charge: list[Step] = [Charge()] if delivery.generated else []
    return [*steps, *charge, Send(delivery.chunks[-1])]


def _paced(chunks: list[bytes], total_s: float) -> list[Step]:
    if not chunks:
        return [Pause(total_s)]
    share_s = total_s / len(chunks)
    together = max(1, round(_SHORTEST_PAUSE_S / share_s)) if share_s < _SHORTEST_PAUSE_S else 1
    steps: list[Step] = []
    for start in range(0, len(chunks), together):
        group = chunks[start : start + together]
        steps += [Send(b"".join(group)), Pause(share_s * len(group))]
    return steps
