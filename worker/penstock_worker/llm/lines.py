"""Lines from bytes in any split; no I/O. They end with LF, CR LF or CR."""

_BOM = b"\xef\xbb\xbf"


class EventTooLargeError(Exception):
    """A line or an event is larger than the decoder's limit."""


class LineDecoder:
    """Turns chunks into lines without their ends. A byte order mark before the first is dropped."""

    def __init__(self, max_line_bytes: int) -> None:
        self._max = max_line_bytes
        self._parts: list[bytes] = []
        self._held = 0
        self._skip_lf = False
        self._at_start = True

    @property
    def between(self) -> bool:
        """Whether the next byte begins a line, and is not the first of all."""
        return not (self._held or self._skip_lf or self._at_start)

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that *chunk* completes. Raises EventTooLargeError; the decoder is of no use then."""
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

    def end(self) -> bytes:
        """Return what came after the last line end; empty when nothing did."""
        return self._join(b"").removeprefix(_BOM if self._at_start else b"")

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
