"""Server-sent events from bytes in any split; no I/O.

The format is WHATWG HTML, "Server-sent events": lines end with LF, CR LF or CR; ``data`` lines of one event
are joined by LF; a line that begins with a colon is a comment; an empty line ends the event.
"""

from collections.abc import Iterator
from typing import NamedTuple

_BOM = b"\xef\xbb\xbf"


class ServerEvent(NamedTuple):
    """One event. Its data stays bytes: JSON is parsed from bytes, and no line is cut inside a character."""

    name: str
    """The ``event`` field; empty when there was none."""
    data: bytes


class EventTooLargeError(Exception):
    """A line or an event is larger than the decoder's limit."""


class SseDecoder:
    """Turns chunks into events. Comments, ``id``, ``retry`` and unknown fields give nothing."""

    def __init__(self, max_event_bytes: int = 1024 * 1024) -> None:
        self._max = max_event_bytes
        self._parts: list[bytes] = []
        self._held = 0
        self._skip_lf = False
        self._at_start = True
        self._name = ""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[ServerEvent]:
        """Yield the events that *chunk* completes. Raises EventTooLargeError; the decoder is of no use then."""
        for line in self._lines(chunk):
            if not line:
                event = self._take()
                if event is not None:
                    yield event
            else:
                self._field(line)

    def end(self) -> ServerEvent | None:
        """Return what the stream left without a final empty line, if it is an event at all.

        The standard drops it; some servers end with ``data: [DONE]`` and one line end, or none.
        """
        rest = self._join(b"").removeprefix(_BOM if self._at_start else b"")
        if rest:
            self._field(rest)
        return self._take()

    def _lines(self, chunk: bytes) -> list[bytes]:
        if self._skip_lf and chunk:
            chunk, self._skip_lf = chunk.removeprefix(b"\n"), False
        if b"\n" not in chunk and b"\r" not in chunk:
            return self._hold(chunk)
        lines = self._join(chunk).splitlines()
        if self._at_start:
            lines[0], self._at_start = lines[0].removeprefix(_BOM), False
        self._skip_lf = chunk.endswith(b"\r")
        if chunk[-1:] not in (b"\n", b"\r"):
            self._hold(lines.pop())
        return lines

    def _hold(self, part: bytes) -> list[bytes]:
        """Keep the beginning of a line; joined only once, so that a dripping line costs no squares."""
        if part:
            self._parts.append(part)
            self._held += len(part)
        if self._held > self._max:
            raise EventTooLargeError
        return []

    def _join(self, chunk: bytes) -> bytes:
        if not self._parts:
            return chunk
        self._parts.append(chunk)
        whole = b"".join(self._parts)
        self._parts, self._held = [], 0
        return whole

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._size += len(value)
            if self._size > self._max:
                raise EventTooLargeError
            self._data.append(value)
        elif name == b"event":
            self._name = value[:64].decode("utf-8", "replace")

    def _take(self) -> ServerEvent | None:
        name, data = self._name, self._data
        self._name, self._data, self._size = "", [], 0
        return ServerEvent(name, b"\n".join(data)) if data else None
