"""A text cut into chunks of a bounded size, where its own structure says.

1. A chunk ends before a heading, if there is one in the second half of the room it has: the last of the highest level.
2. Else behind the last paragraph, line, sentence or word there; else between any two characters.
3. When what is left needs two chunks, these share it about evenly, so that no scrap is left over.
4. Each chunk but the first repeats the end of the one before, from the start of a sentence on, if an overlap is wanted.
5. It is told with the headings of the sections that it begins in, if there is to be room for them.

Sizes are bytes of UTF-8, since what a model makes of a text grows with its bytes in any script. Time is linear in the
text.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from penstock_worker.documents.boundaries import (
    Heading,
    first_break,
    headings,
    last_break,
    last_heading,
    next_character,
    whole_character,
)

MIN_BYTES = 64
"""No chunk is bounded to less: a character with all its marks fits."""

_MOST_HEADINGS = 200
"""Of one chunk; what has more is no text with sections."""

_MOST_OVERLAP = 4
"""At most a fourth of a chunk repeats what was before it."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a text."""

    number: int
    """From 1."""
    start: int
    """Where what is new in it begins: a place in the text, in characters."""
    end: int
    text: str
    """What is new, behind what it repeats of the chunk before."""
    bytes: int
    """Size of what is new in it."""
    headings: str = ""
    """Lines of the headings above where *text* begins, the highest first, each with its line's end; "" for none."""

    @property
    def under_headings(self) -> str:
        """Its text, below the headings of its sections."""
        return f"{self.headings}\n{self.text}" if self.headings else self.text


def size(text: str) -> int:
    """Bytes of *text* in UTF-8; a lone surrogate counts as three."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def chunks(text: str, max_bytes: int, overlap_bytes: int = 0, heading_bytes: int = 0) -> list[Chunk]:
    """Cut *text* into chunks of at most *max_bytes*, what they repeat and their headings included.

    *overlap_bytes* and *heading_bytes*, the most that the headings may have, are cut down to a fourth of *max_bytes*
    each. An empty text gives none. Raises ValueError for a bound below ``MIN_BYTES``.
    """
    if max_bytes < MIN_BYTES:
        raise ValueError(f"a chunk must be allowed {MIN_BYTES} bytes at least")
    overlap_bytes = min(max(overlap_bytes, 0), max_bytes // _MOST_OVERLAP)
    heading_bytes = min(max(heading_bytes, 0), max_bytes // _MOST_OVERLAP)
    found: list[Chunk] = []
    sections = _Sections(text, heading_bytes)
    for number, (start, end) in enumerate(_spans(text, max_bytes, max_bytes - overlap_bytes - heading_bytes), 1):
        lead = _lead(text, start, overlap_bytes) if number > 1 else start
        sections.read(start, end)
        found.append(Chunk(number, start, end, text[lead:end], size(text[start:end]), sections.above(lead)))
    return found


def _spans(text: str, first_bytes: int, other_bytes: int) -> Iterator[tuple[int, int]]:
    """What is new in each chunk; joined, these are the text."""
    start, room = 0, first_bytes
    while start < len(text):
        end = _end(text, start, room)
        yield start, end
        start, room = end, other_bytes


class _Sections:
    """Which sections a place of a text is in, for places from its start to its end."""

    def __init__(self, text: str, most_bytes: int) -> None:
        self._text, self._most_bytes = text, most_bytes
        self._ahead: deque[Heading] = deque()
        self._open: list[Heading] = []

    def read(self, start: int, end: int) -> None:
        """Note the headings of a piece."""
        if self._most_bytes:
            self._ahead.extend(islice(headings(self._text, start, end), _MOST_HEADINGS))

    def above(self, place: int) -> str:
        """The lines of the headings above *place*, the highest first, as many as there is room for."""
        while self._ahead and self._ahead[0].at < place:
            self._enter(self._ahead.popleft())
        lines, room = "", self._most_bytes - 1
        for heading in self._open:
            room -= size(heading.line) + 1
            if room < 0 or _begins_with(self._ahead, place, heading.level):
                break
            lines += f"{heading.line}\n"
        return lines

    def _enter(self, heading: Heading) -> None:
        self._open = [*(one for one in self._open if one.level < heading.level), heading]


def _begins_with(ahead: Sequence[Heading], place: int, level: int) -> bool:
    """Whether a section of this level or a higher one begins at *place*."""
    return bool(ahead) and ahead[0].at == place and ahead[0].level <= level


def _end(text: str, start: int, room: int) -> int:
    most = _reach(text, start, room)
    if most == len(text):
        return most
    least = start + max((most - start) // 2, 1)
    double = _reach(text, most, room // 2)
    if double == len(text):  # two more chunks, of about the same size
        left = len(text) - start
        least, most = start + left * 2 // 5, min(most, start + left * 3 // 5)
    at = last_heading(text, least, most)
    if at is None:
        at = last_break(text, least, most)
    return whole_character(text, most, start) if at is None else at


def _reach(text: str, start: int, room: int) -> int:
    """The furthest place such that the text from *start* up to it has at most *room* bytes."""
    piece = text[start : start + room]
    if piece.isascii():
        return start + len(piece)
    encoded = piece.encode("utf-8", "surrogatepass")
    if len(encoded) <= room:
        return start + len(piece)
    while encoded[room] & 0xC0 == 0x80:
        room -= 1
    return start + len(encoded[:room].decode("utf-8", "surrogatepass"))


def _lead(text: str, start: int, overlap_bytes: int) -> int:
    """Where the chunk whose new part begins at *start* begins to repeat: whole sentences, else words."""
    encoded = text[max(start - overlap_bytes, 0) : start].encode("utf-8", "surrogatepass")
    tail = encoded[len(encoded) - min(overlap_bytes, len(encoded)) :]
    while tail and tail[0] & 0xC0 == 0x80:
        tail = tail[1:]
    least = start - len(tail.decode("utf-8", "surrogatepass"))
    at = first_break(text, least, start)
    return next_character(text, least, start) if at is None else at
