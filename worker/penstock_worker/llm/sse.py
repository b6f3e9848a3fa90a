"""Server-sent events from bytes in any split; no I/O.

The format is WHATWG HTML, "Server-sent events": lines end with LF, CR LF or CR; ``data`` lines of one event
are joined by LF; a line that begins with a colon is a comment; an empty line ends the event.
"""

from collections.abc import Iterator
from typing import NamedTuple

from penstock_worker.llm.lines import EventTooLargeError, LineDecoder

MAX_EVENT_BYTES = 1024 * 1024


class ServerEvent(NamedTuple):
    """One event. Its data stays bytes: JSON is parsed from bytes, and no line is cut inside a character."""

    name: str
    """The ``event`` field; empty when there was none."""
    data: bytes


class SseDecoder:
    """Turns chunks into events. Comments, ``id``, ``retry`` and unknown fields give nothing."""

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max = max_event_bytes
        self._lines = LineDecoder(max_event_bytes)
        self._name = ""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[ServerEvent]:
        """Yield the events that *chunk* completes. Raises EventTooLargeError; the decoder is of no use then."""
        if self._lines.between and not self._data and not self._name and chunk.endswith(b"\n\n") and b"\r" not in chunk:
            yield from self._whole(chunk)
        else:
            yield from self._by_line(chunk)

    def _whole(self, chunk: bytes) -> Iterator[ServerEvent]:
        """Most chunks are whole events of one line of data each: those need no look at each line."""
        for block in chunk[:-2].split(b"\n\n"):
            if block.startswith(b"data: ") and b"\n" not in block and len(block) <= self._max:
                yield ServerEvent("", block[6:])
            else:
                yield from self._by_line(block + b"\n\n")

    def _by_line(self, chunk: bytes) -> Iterator[ServerEvent]:
        for line in self._lines.feed(chunk):
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
        rest = self._lines.end()
        if rest:
            self._field(rest)
        return self._take()

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


__all__ = ["EventTooLargeError", "ServerEvent", "SseDecoder"]
