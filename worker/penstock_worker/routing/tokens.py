"""How many tokens a text may be, and how much of it fits a model: upper bounds, learned from what providers count.

    estimates = TokenEstimates()
    estimates.tokens(target, text)                          a bound of the text's tokens
    estimates.of_request(target, request)                   the same for all that is sent
    estimates.room_tokens(target, max_output_tokens=600)    input tokens that fit; None: the window is not known
    estimates.room_bytes(target, text, max_output_tokens=600)   the same in bytes of such a text: how long a part may be

1. A text is of one of three kinds, told by two counts: ``words`` (mostly ASCII, with spaces), ``dense`` (ASCII
   without: code, tables, base64) and ``wide`` (other scripts). Each begins with a bound that real text keeps to.
2. Each answer whose usage can be believed tells how many tokens a byte has been, for its target, kind and size (the
   overhead of a request weighs less in a large one). The highest of the last 256 to 512 counts, and a tenth more.
3. A size of which too little has been seen takes what the next smaller one has, which is never too low.
4. What one process has seen the others learn within seconds (:mod:`.exchange`), at no cost to any call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple

from penstock_schemas.results import Usage
from penstock_worker.llm.port import CallRequest, Target
from penstock_worker.money.usage import OVERHEAD_TOKENS

Kind = Literal["words", "dense", "wide"]

PER_BYTES = 3_000_000
"""Tokens are counted for so many bytes, in whole numbers."""
FIRST: Final[Mapping[Kind, int]] = {"words": 1_000_000, "dense": 1_800_000, "wide": 2_100_000}
"""How many there are at most as long as nothing is known: a third, 0.6 and 0.7 of a token for a byte."""

LEAST_SEEN = 16
"""Calls without which a bound is not learned."""
FORGET_AFTER = 256
"""Calls after which a maximum gives way to that of the calls that follow, and is forgotten after as many more."""
MARGIN = 1.1
_LEAST_BYTES = 256
_MOST = 2 * PER_BYTES
_ROOMY_BYTES = 32_768
_ALL_OF, _ONE_OF = 100, 8


class Extent(NamedTuple):
    """What is known of a text without its tokens."""

    bytes: int
    kind: Kind


class Seen(NamedTuple):
    """What calls of one target, kind and size came to."""

    calls: int = 0
    """Since the last maximum was put aside."""
    highest: int = 0
    """Tokens for ``PER_BYTES``, of these."""
    before: int = 0
    """Of those before them."""

    def and_also(self, count: int, highest: int) -> Seen:
        """With so many more calls. The exchange's script does the same."""
        seen = Seen(self.calls + count, max(self.highest, highest), self.before)
        return Seen(0, 0, seen.highest) if seen.calls >= FORGET_AFTER else seen

    @property
    def bound(self) -> int | None:
        """Tokens for ``PER_BYTES`` at most; None while too little is known."""
        if not self.before and self.calls < LEAST_SEEN:
            return None
        return int(max(self.highest, self.before) * MARGIN)


Cell = tuple[str, Kind, int]
"""Target, kind, and size: the binary logarithm of the bytes, halved."""


class TokenEstimates:
    """What is known of all models; one for a process."""

    def __init__(self) -> None:
        self._seen: dict[Cell, Seen] = {}
        self._untold: dict[Cell, Seen] = {}
        self._calls = 0

    def tokens(self, target: Target, text: str) -> int:
        """A bound of the tokens of *text* for the model of *target*."""
        return self._bound(target, extent(text))

    def of_request(self, target: Target, request: CallRequest) -> int:
        """A bound of the input tokens of *request*: prompt, schema and what stands around them."""
        return self.of_extent(target, request_extent(request))

    def of_extent(self, target: Target, sent: Extent, *, strict: bool = False) -> int:
        """The same of what is known to be sent.

        *strict* holds for any text, however odd: each token of a byte-level vocabulary stands for a byte at least.
        """
        return (max(sent.bytes, self._bound(target, sent)) if strict else self._bound(target, sent)) + OVERHEAD_TOKENS

    def fits(self, target: Target, request: CallRequest) -> bool:
        """Whether input and output cap fit the window for sure; True too where the window is not known."""
        if target.context_window is None or _surely_small(target.context_window, request):
            return True
        return self.of_request(target, request) + request.max_output_tokens <= target.context_window

    def room_tokens(self, target: Target, *, max_output_tokens: int, other_tokens: int = 0) -> int | None:
        """Tokens of input that fit beside the output cap and *other_tokens* of input; None: the window is not known."""
        if target.context_window is None:
            return None
        return max(0, target.context_window - max_output_tokens - other_tokens - OVERHEAD_TOKENS)

    def room_bytes(self, target: Target, text: str, *, max_output_tokens: int, other_tokens: int = 0) -> int | None:
        """UTF-8 bytes of text like *text* that fit for sure; None: the window is not known."""
        room = self.room_tokens(target, max_output_tokens=max_output_tokens, other_tokens=other_tokens)
        if room is None:
            return None
        rough = extent(text)
        return room * PER_BYTES // self._rate(target, Extent(min(rough.bytes, room), rough.kind))

    def learn(self, target: Target, request: CallRequest, usage: Usage | None) -> None:
        """Take in what a provider counted for *request*. Figures that are estimated or suspect teach nothing.

        After the first hundred every eighth call is looked at.
        """
        self._calls += 1
        if self._calls > _ALL_OF and self._calls % _ONE_OF:
            return
        if usage is None or usage.estimated or usage.suspect or usage.input_tokens is None:
            return
        counted = usage.input_tokens + (usage.cache_read_tokens or 0) + (usage.cache_write_tokens or 0)
        self._note(target, request_extent(request), counted, 1)

    def learn_too_long(self, target: Target, request: CallRequest) -> None:
        """Take in that a provider found *request* too long for its window; believed at once."""
        if target.context_window is not None:
            least = target.context_window - request.max_output_tokens
            self._note(target, request_extent(request), least, LEAST_SEEN)

    def untold(self) -> dict[Cell, Seen]:
        """What was seen since the last call of this; then it counts as told."""
        told, self._untold = self._untold, {}
        return told

    def replace(self, cells: Iterable[tuple[Cell, Seen]]) -> None:
        """Take over what all processes have seen, this one included but for what it has not told."""
        for cell, seen in cells:
            more = self._untold.get(cell, Seen())
            self._seen[cell] = seen.and_also(more.calls, more.highest)

    def _note(self, target: Target, of: Extent, tokens: int, count: int) -> None:
        if of.bytes < _LEAST_BYTES or tokens <= 0:
            return
        rate = min(_MOST, -(-tokens * PER_BYTES // of.bytes))
        cell = (target.name, of.kind, size_of(of.bytes))
        self._seen[cell] = self._seen.get(cell, Seen()).and_also(count, rate)
        untold = self._untold.get(cell, Seen())
        self._untold[cell] = Seen(untold.calls + count, max(untold.highest, rate))

    def _bound(self, target: Target, of: Extent) -> int:
        return -(-of.bytes * self._rate(target, of) // PER_BYTES)

    def _rate(self, target: Target, of: Extent) -> int:
        for size in range(size_of(of.bytes), size_of(_LEAST_BYTES) - 1, -1):
            seen = self._seen.get((target.name, of.kind, size))
            if seen is not None and (bound := seen.bound) is not None:
                return bound
        return FIRST[of.kind]


def size_of(count_bytes: int) -> int:
    """The class of sizes: each is four times the one before."""
    return count_bytes.bit_length() // 2


def extent(*texts: str) -> Extent:
    """Bytes and kind of all *texts* together."""
    chars = sum(map(len, texts))
    count_bytes = sum(len(text.encode("utf-8", "replace")) for text in texts)
    if 10 * count_bytes > 11 * chars:
        return Extent(count_bytes, "wide")
    spaces = sum(text.count(" ") + text.count("\n") for text in texts)
    return Extent(count_bytes, "words" if 12 * spaces >= chars else "dense")


def request_extent(request: CallRequest) -> Extent:
    """Bytes of all that is sent, and the kind of its text."""
    text = extent(request.system, request.user, *(turn.text for turn in request.turns))
    more = len(str(request.schema or "")) + (_tools_bytes(request) if request.tools else 0)
    return Extent(text.bytes + more, text.kind)


def _tools_bytes(request: CallRequest) -> int:
    """What is said of tools: the offer, and the calls that were made."""
    offered = sum(len(tool.description.encode()) + len(str(tool.parameters)) for tool in request.tools)
    called = sum(len(call.arguments.encode()) for turn in request.turns for call in turn.calls)
    return offered + called + sum(len(str(turn.carry)) for turn in request.turns)


def _surely_small(window: int, request: CallRequest) -> bool:
    """No character has more than four bytes, and no byte more than one token."""
    chars = len(request.system) + len(request.user) + sum(len(turn.text) for turn in request.turns)
    return 4 * chars + request.max_output_tokens + _ROOMY_BYTES < window
