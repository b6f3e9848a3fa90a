"""Finds out, while an answer streams in, that the model is no longer saying anything.

Three shapes, all of which run to the output cap and are paid for: white space without end, one piece repeated over
and over, and digits without end. What is looked for is exact and long, so that lists of equal values and
pretty-printed JSON pass. The work is done once every 256 characters, by string searches.
"""

import re

MAX_BLANK_CHARS = 520
"""White space in a row: more than the indentation of an answer, which is nested at most 32 deep, by 16 a level."""

MAX_BLANK_PIECES = 150
"""The same in pieces that hold nothing else. A piece is a token or more, so a loop costs less than 200 of them."""

MAX_DIGITS = 1024
"""Digits in a row, more than any number has."""

MIN_REPEATED_CHARS = 2048
MIN_REPEATS = 8
"""A loop is a piece of at most 1,024 characters, repeated at least eight times and over at least 2,048 characters."""

_MAX_PIECE = 1024
_TAIL = _MAX_PIECE * MIN_REPEATS
_EVERY = 256
_PROBE = 64
_DIGITS = re.compile(rf"[0-9]{{{MAX_DIGITS}}}\Z")


class LoopFinder:
    """Takes an answer piece by piece."""

    def __init__(self) -> None:
        self._tail = ""
        self._new: list[str] = []
        self._new_chars = 0
        self._blank = 0
        self._blank_pieces = 0
        self._pieces = 0
        self._chars = 0

    @property
    def tokens(self) -> int:
        """About how many tokens were seen: a piece is at least one, and has four characters or so for each."""
        return max(self._pieces, self._chars // 4)

    def feed(self, text: str) -> str | None:
        """Take the next piece; return ``white_space``, ``repetition`` or ``digits`` once it is clear, else None."""
        if not text:
            return None
        self._pieces, self._chars = self._pieces + 1, self._chars + len(text)
        if self._is_blank(text):
            return "white_space"
        self._new.append(text)
        self._new_chars += len(text)
        if self._new_chars < _EVERY:
            return None
        self._tail = (self._tail + "".join(self._new))[-_TAIL:]
        self._new, self._new_chars = [], 0
        if is_loop(self._tail):
            return "repetition"
        return "digits" if _DIGITS.search(self._tail, max(0, len(self._tail) - MAX_DIGITS)) else None

    def _is_blank(self, text: str) -> bool:
        after = len(text) - len(text.rstrip())
        if after == len(text):
            self._blank, self._blank_pieces = self._blank + after, self._blank_pieces + 1
        else:
            self._blank, self._blank_pieces = after, 0
        return self._blank > MAX_BLANK_CHARS or self._blank_pieces > MAX_BLANK_PIECES


def is_loop(tail: str) -> bool:
    """Whether *tail* ends in one piece repeated, as often and as long as the constants of this module say."""
    if len(tail) < MIN_REPEATED_CHARS:
        return False
    before = tail.rfind(tail[-_PROBE:], 0, -1)
    if before < 0:
        return False
    period = len(tail) - _PROBE - before
    length = max(MIN_REPEATED_CHARS, period * MIN_REPEATS)
    window = tail[-length:]
    return len(window) == length and window[period:] == window[:-period]
