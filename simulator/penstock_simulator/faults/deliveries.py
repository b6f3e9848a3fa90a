"""Faults of the wire: when, how slowly, and whether the bytes get through."""

from __future__ import annotations

from penstock_simulator.delivery import Charge, Cut, Delivery, Hang, Pause, Repeat, Send, Step, chunk, plain_steps
from penstock_simulator.faults.kinds import Params

_MIB = 1_048_576
_TICK_S = 0.01
_BLOCK = b"lorem ipsum dolor sit amet, consectetur. " * 1600


def delay(params: Params, delivery: Delivery) -> list[Step]:
    """So much more time before the first byte."""
    return [Pause(params.number("seconds")), *plain_steps(delivery)]


def hang(_params: Params, _delivery: Delivery) -> list[Step]:
    """Nothing, until the client leaves."""
    return [Hang()]


def hang_headers(_params: Params, delivery: Delivery) -> list[Step]:
    """Status and headers, then nothing."""
    return [*delivery.opening(), Send(delivery.head), Hang()]


def hang_middle(params: Params, delivery: Delivery) -> list[Step]:
    """Headers and part of the body, then nothing."""
    return [*delivery.opening(), Send(_part(delivery, params.number("at"))), Hang()]


def drip(params: Params, delivery: Delivery) -> list[Step]:
    """Headers at once, then the body at so many bytes a second."""
    rate = max(params.number("bytes_per_s"), 0.001)
    size = max(int(rate * _TICK_S), 1)
    body = b"".join(delivery.chunks)
    steps: list[Step] = [*delivery.opening(), Send(delivery.head)]
    for start in range(0, len(body), size):
        part = body[start : start + size]
        steps += [Send(part), Pause(len(part) / rate)]
    return steps


def slow_events(params: Params, delivery: Delivery) -> list[Step]:
    """A stream with so much time between two events."""
    steps: list[Step] = [*delivery.opening(), Send(delivery.head)]
    for part in delivery.chunks:
        steps += [Send(part), Pause(params.number("every"))]
    return steps


def comments_only(params: Params, delivery: Delivery) -> list[Step]:
    """A stream of keep-alive comments and nothing else, until the client leaves."""
    return [*delivery.opening(), Send(_stream_head(delivery)), _forever(delivery.framing.comment, params)]


def endless_events(params: Params, delivery: Delivery) -> list[Step]:
    """The first event of the stream over and over, until the client leaves."""
    again = delivery.chunks[0] if delivery.streamed else chunk(b" ")
    start: list[Step] = [*delivery.opening(), Send(_stream_head(delivery))]
    return [*start, Repeat(again, None, params.number("every"))]


def cut_before(params: Params, _delivery: Delivery) -> list[Step]:
    """The connection ends when the request has arrived; nothing was generated."""
    return [_cut(params)]


def cut_lost(params: Params, delivery: Delivery) -> list[Step]:
    """The generation is done and charged; the connection ends before its first byte."""
    return [*delivery.opening(), _cut(params)]


def cut_headers(params: Params, delivery: Delivery) -> list[Step]:
    """Charged; the connection ends after the headers."""
    return [*delivery.opening(), Send(delivery.head), _cut(params)]


def cut_middle(params: Params, delivery: Delivery) -> list[Step]:
    """Charged; the connection ends after part of the body."""
    return [*delivery.opening(), Send(_part(delivery, params.number("at"))), _cut(params)]


def cut_last(params: Params, delivery: Delivery) -> list[Step]:
    """Charged; the connection ends one byte before the end."""
    return [*delivery.opening(), Send(delivery.wire[:-1]), _cut(params)]


def huge_body(params: Params, delivery: Delivery) -> list[Step]:
    """A chunked body of one JSON string, so many MiB long, on one line."""
    framing = delivery.framing
    opening = framing.opening + framing.before + b'{"x":"' if delivery.streamed else b'{"x":"'
    times = max(params.integer("mib") * _MIB // len(_BLOCK), 1)
    closing = b'"}' + framing.after if delivery.streamed else b'"}'
    return [
        *delivery.opening(),
        Send(_stream_head(delivery) + chunk(opening)),
        Repeat(chunk(_BLOCK), times),
        Send(chunk(closing) + b"0\r\n\r\n"),
    ]


def endless_headers(params: Params, delivery: Delivery) -> list[Step]:
    """So many response headers, or without end for 0."""
    count = params.integer("count")
    lines = b"".join(b"x-filler-%d: %b\r\n" % (number, b"y" * 40) for number in range(200))
    repeat = Repeat(lines, max(count // 200, 1) if count else None)
    status_line, rest = delivery.head.split(b"\r\n", 1)
    ending = Send(rest + b"".join(delivery.chunks))
    return [*delivery.opening(), Send(status_line + b"\r\n"), repeat, ending]


def long_header(params: Params, delivery: Delivery) -> list[Step]:
    """One response header of so many KiB."""
    status_line, rest = delivery.head.split(b"\r\n", 1)
    filler = b"x-filler: " + b"y" * (params.integer("kib") * 1024) + b"\r\n"
    return [*delivery.opening(), Send(status_line + b"\r\n" + filler + rest + b"".join(delivery.chunks))]


def not_http(_params: Params, _delivery: Delivery) -> list[Step]:
    """Bytes that are no HTTP, then the end of the connection."""
    return [Send(b"\x15\x03\x01\x00\x02\x02\x50 SSH-2.0-nope\r\n"), Cut(reset=False)]


def is_charged(steps: list[Step]) -> bool:
    """Whether *steps* charge the call somewhere."""
    return any(isinstance(step, Charge) for step in steps)


def _cut(params: Params) -> Cut:
    return Cut(reset=params.text("how") != "fin")


def _part(delivery: Delivery, share: float) -> bytes:
    body = b"".join(delivery.chunks)
    return delivery.head + body[: int(len(body) * min(max(share, 0.0), 1.0))]


def _stream_head(delivery: Delivery) -> bytes:
    """The head of a chunked body, whatever the honest one was."""
    lines = [line for line in delivery.head.split(b"\r\n") if not line.startswith(b"content-length:")]
    if delivery.streamed:
        return delivery.head
    return b"\r\n".join([*lines[:-2], b"transfer-encoding: chunked", b"", b""])


def _forever(data: bytes, params: Params) -> Repeat:
    return Repeat(chunk(data), None, params.number("every"))
