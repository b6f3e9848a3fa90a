"""One JSON document on each line, from bytes in any split; no I/O."""

from collections.abc import Iterator

from penstock_worker.llm.lines import LineDecoder
from penstock_worker.llm.sse import MAX_EVENT_BYTES, ServerEvent


class NdjsonDecoder:
    """Turns chunks into events without a name, one for each line that is not blank."""

    def __init__(self, max_line_bytes: int = MAX_EVENT_BYTES) -> None:
        self._lines = LineDecoder(max_line_bytes)

    def feed(self, chunk: bytes) -> Iterator[ServerEvent]:
        """Yield the lines that *chunk* completes. Raises EventTooLargeError; the decoder is of no use then."""
        for line in self._lines.feed(chunk):
            if line.strip():
                yield ServerEvent("", line)

    def end(self) -> ServerEvent | None:
        """Return the last line when it has no line end, which the last one need not have."""
        rest = self._lines.end()
        return ServerEvent("", rest) if rest.strip() else None
