"""Faults of status, headers and body as they are written."""

from __future__ import annotations

import re
import struct
import zlib
from functools import lru_cache

from penstock_simulator.delivery import Packet
from penstock_simulator.faults.kinds import Params

_MIB = 1_048_576
_ID = re.compile(rb'"(?:id|item_id|responseId|created_at)":"')
_PAGE = (
    "<!DOCTYPE html><html><head><title>{status} {title}</title></head><body><center><h1>{status} {title}</h1>"
    "</center><hr><center>gateway</center></body></html>\n"
)


def html(params: Params, packet: Packet) -> Packet:
    """A gateway's page in place of the answer."""
    status = params.integer("status")
    title = "Sign in to the network" if status == 200 else "Bad Gateway"
    page = _PAGE.format(status=status, title=title)
    return _replaced(packet, page.encode(), "text/html; charset=utf-8", status)


def empty_body(_params: Params, packet: Packet) -> Packet:
    """The good status and no body at all."""
    return _replaced(packet, b"", packet.headers["content-type"])


def content_type(params: Params, packet: Packet) -> Packet:
    """The true body under another content type."""
    packet.headers["content-type"] = params.text("type")
    return packet


def not_json(_params: Params, packet: Packet) -> Packet:
    """A body that is no JSON; in a stream one such event among the others."""
    if packet.streamed:
        framing = packet.framing
        packet.frames.insert(len(packet.frames) // 2, framing.between + framing.before + b"{not json" + framing.after)
        return packet
    return _replaced(packet, b"upstream connect error or disconnect/reset before headers", "application/json")


def cut_body(params: Params, packet: Packet) -> Packet:
    """The body cut at a byte, with the length of the cut body: complete HTTP, incomplete JSON."""
    whole = packet.body
    at = min(params.integer("byte"), max(len(whole) - 1, 0))
    packet.frames = [whole[:at]]
    return packet


def short_body(params: Params, packet: Packet) -> Packet:
    """Fewer bytes than `content-length` says, then the end of the connection."""
    missing = params.integer("missing")
    if not packet.streamed:
        packet.declared_length = sum(map(len, packet.frames)) + missing
    packet.keep_alive = False
    return packet


def bad_utf8(_params: Params, packet: Packet) -> Packet:
    """Bytes that are not UTF-8 inside an id, or what stands for one."""
    packet.frames = [_ID.sub(b"\\g<0>\xff\xfe", frame, count=1) for frame in packet.frames]
    return packet


def trailing(_params: Params, packet: Packet) -> Packet:
    """More text after the JSON document."""
    if not packet.streamed:
        packet.frames = [*packet.frames, b"\n<!-- served by cache-7 -->"]
    return packet


def redirect(params: Params, packet: Packet) -> Packet:
    """A redirect to somewhere else."""
    packet.headers["location"] = params.text("location")
    return _replaced(packet, b"", "text/plain", params.integer("status"))


def set_cookie(params: Params, packet: Packet) -> Packet:
    """A cookie that the client should not keep."""
    packet.headers["set-cookie"] = params.text("cookie")
    return packet


def header(params: Params, packet: Packet) -> Packet:
    """One more header, or another value of one."""
    packet.headers[params.text("name").lower()] = params.text("value")
    return packet


def comments(params: Params, packet: Packet) -> Packet:
    """Keep-alive comments before every event; to be ignored."""
    if packet.streamed:
        note = packet.framing.comment * params.integer("count")
        packet.frames = [note + frame for frame in packet.frames]
    return packet


def crlf(_params: Params, packet: Packet) -> Packet:
    """Lines that end in CR LF, as the format allows."""
    if packet.streamed:
        packet.frames = [frame.replace(b"\n", b"\r\n") for frame in packet.frames]
    return packet


def split_bytes(params: Params, packet: Packet) -> Packet:
    """Chunks that end in the middle of lines and of UTF-8 sequences."""
    size = params.integer("size")
    if packet.streamed:
        whole = packet.body
        packet.frames = [whole[start : start + size] for start in range(0, len(whole), size)]
    return packet


def gzip_bomb(params: Params, packet: Packet) -> Packet:
    """A small gzip body that unpacks to so many MiB of blanks before the answer's JSON."""
    packet.headers["content-encoding"] = "gzip"
    packet.frames = [_gzip_blanks(params.integer("mib"), b"" if packet.streamed else packet.body)]
    return packet


@lru_cache(maxsize=4)
def _gzip_blanks(mib: int, ending: bytes) -> bytes:
    """A gzip member (RFC 1952) of *mib* MiB of blanks and *ending*; one compressed block, repeated."""
    block = b" " * _MIB
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    closing = last.compress(ending) + last.flush()
    checksum = 0
    for _ in range(mib):
        checksum = zlib.crc32(block, checksum)
    checksum = zlib.crc32(ending, checksum)
    trailer = struct.pack("<II", checksum, (mib * _MIB + len(ending)) & 0xFFFFFFFF)
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff" + packed * mib + closing + trailer


def _replaced(packet: Packet, body: bytes, kind: str, status: int | None = None) -> Packet:
    packet.frames, packet.streamed = [body], False
    packet.headers["content-type"] = kind
    packet.status = packet.status if status is None else status
    return packet
