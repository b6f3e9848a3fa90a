"""Whether a text has to be worked on in parts, how large these are, and what all of it can take at most.

A route says from which size on, and how large; models say by their windows. What was planned first is kept with the
job, so that a run stays with it, whatever settings and estimates become meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import orjson

from penstock_worker.documents.chunking import MIN_BYTES, Chunk, chunks, size
from penstock_worker.money.usage import BYTES_PER_TOKEN
from penstock_worker.routing.routes import Route

DEFAULT_CHUNK_TOKENS = 8_000
"""Of a chunk, where the route does not say; a window may ask for less."""

LEAST_CHUNK_BYTES = 8 * MIN_BYTES
"""A model with no room for so much is of no use for a long text."""

HEADING_BYTES = 300
"""Of the headings above a chunk, at most; of a small chunk an eighth."""

NOTES = 3
"""Notes on a part have at most so small a part of its size: as many of them fit into one call."""

_BETWEEN = "\n\n"

_SLICE_CHARS = 16_384


@dataclass(frozen=True, slots=True)
class Plan:
    """How the text of one run is worked on in parts."""

    chunk_bytes: int
    overlap_bytes: int

    @property
    def answer_bytes(self) -> int:
        """How long notes on a part may be."""
        return self.chunk_bytes // NOTES - len(_BETWEEN)

    def as_json(self) -> bytes:
        """As it is kept with the job."""
        return orjson.dumps({"chunk_bytes": self.chunk_bytes, "overlap_bytes": self.overlap_bytes})

    def cut(self, text: str) -> list[Chunk]:
        """The chunks of *text*; what is white space only is none."""
        found = chunks(text, self.chunk_bytes, self.overlap_bytes, min(HEADING_BYTES, self.chunk_bytes // 8))
        return [each for each in found if not text[each.start : each.end].isspace()]


def read_plan(kept: bytes) -> Plan:
    """The plan that :meth:`Plan.as_json` kept. Raises ValueError if it is none."""
    try:
        plan = Plan(**orjson.loads(kept))
        plan.cut("")
    except TypeError:
        raise ValueError("not a plan") from None
    return plan


def over_limit(limit: int, text: str) -> bool:
    """Whether *text* has more than *limit* bytes."""
    return 4 * len(text) > limit and size(text) > limit


def slices(text: str) -> Iterator[str]:
    """The text in pieces, each of one kind more likely than the whole."""
    return (text[start : start + _SLICE_CHARS] for start in range(0, len(text), _SLICE_CHARS))


def make_plan(route: Route, text: str, room_bytes: int | None) -> Plan | None:
    """The plan for *text*, where a call has room for *room_bytes* of it; None: for as much as anybody likes.

    None when there is too little room, or too little text.
    """
    wanted = route.chunk_bytes or DEFAULT_CHUNK_TOKENS * BYTES_PER_TOKEN
    bounds = [wanted, *(bound for bound in (route.whole_bytes, room_bytes) if bound is not None)]
    text_bytes = size(text)
    chunk_bytes = min(*bounds, max(LEAST_CHUNK_BYTES, text_bytes * 5 // 8))
    if chunk_bytes < LEAST_CHUNK_BYTES or chunk_bytes >= text_bytes:
        return None
    return Plan(chunk_bytes, min(route.overlap_bytes, chunk_bytes // 4))


def packed(notes: Sequence[str], most_bytes: int) -> list[str]:
    """*notes* in order, put together as long as they have *most_bytes*; a longer one stays alone."""
    groups: list[list[str]] = []
    filled = most_bytes
    for note in notes:
        more = size(note) + len(_BETWEEN)
        if filled + more > most_bytes:
            groups.append([])
            filled = 0
        groups[-1].append(note)
        filled += more
    return [_BETWEEN.join(group) for group in groups]


def most_calls(chunk_count: int, *, joined: bool) -> int:
    """Calls that the parts need when each is answered at once; *joined*: notes on them are joined by a model."""
    calls = left = chunk_count
    while joined and left > NOTES:
        left = -(-left // NOTES)
        calls += left
    return calls + joined
