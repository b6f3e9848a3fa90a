"""Which regular expressions a schema may hold: those that any engine matches in linear time, and alike.

A pattern is read by three parties: Penstock's own engine (linear by construction), a provider that turns it
into a grammar, and whoever validates the result again, often with a backtracking engine. So a pattern must
be one that all of them read the same way:

- literals, ``.``, ``^``, ``$``, ``\\b``, classes, ``\\d \\w \\s`` and their negations, ``\\p{L}`` and its like,
  plain and ``(?:...)`` groups, alternatives, ``* + ? {n} {n,} {n,m}``, greedy or lazy;
- no lookaround, backreference, named group, inline flag, or possessive quantifier;
- no unbounded repetition inside another, unless a separator keeps the rounds apart: ``(a+)+`` takes a
  backtracking engine exponential time, ``[a-z]+(-[a-z]+)*`` does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, NoReturn

MAX_LENGTH: Final = 512
"""Characters of one pattern."""
MAX_REPEAT: Final = 1_000
MAX_NESTED_GROUPS: Final = 8
MAX_STATES: Final = 10_000
"""Estimated automaton states of one pattern, repetitions written out."""

_LAST: Final = 0x10FFFF
_Ranges = list[tuple[int, int]]
_DIGIT: Final[_Ranges] = [(48, 57)]
_WORD: Final[_Ranges] = [(48, 57), (65, 90), (95, 95), (97, 122)]
_SPACE: Final[_Ranges] = [
    (9, 13),
    (32, 32),
    (0xA0, 0xA0),
    (0x1680, 0x1680),
    (0x2000, 0x200A),
    (0x2028, 0x2029),
    (0x202F, 0x202F),
    (0x205F, 0x205F),
    (0x3000, 0x3000),
    (0xFEFF, 0xFEFF),
]
_ALL: Final[_Ranges] = [(0, _LAST)]
_CONTROL: Final = {"n": 10, "r": 13, "t": 9, "f": 12, "v": 11}
_PUNCTUATION: Final = frozenset("^$\\.*+?()[]{}|/-\"'!#%&,:;<=>@_`~ ")
_MINORS: Final = {"L": "ultmo", "M": "nce", "N": "dlo", "P": "cdseifo", "S": "mcko", "Z": "slp"}
_CATEGORIES: Final = frozenset([major + minor for major, minors in _MINORS.items() for minor in ("", *minors)])
_UNICODE_STATES: Final = 1_000
_WIDE_STATES: Final = 12


class PatternError(ValueError):
    """Why a pattern is refused, as the second half of a sentence about it."""


@dataclass
class _Part:
    """A parsed piece: what it may match, how large it is, whether it repeats without end."""

    ranges: _Ranges = field(default_factory=list)
    """Characters that occur in what it matches."""
    states: int = 1
    open_ended: bool = False
    optional: bool = False
    """Whether it can match the empty string."""
    pieces: list[_Part] | None = None
    """The pieces in sequence, for a group of one alternative."""
    assertion: bool = False


def check_pattern(pattern: str) -> int:
    """Return the estimated number of states of *pattern*, or raise PatternError saying what to change.

    Takes time linear in the pattern; the estimate is at most 10,000.
    """
    if len(pattern) > MAX_LENGTH:
        raise PatternError(f"is longer than {MAX_LENGTH} characters")
    states = _Parser(pattern).parse().states
    if states > MAX_STATES:
        raise PatternError("is too large with its repetitions written out")
    return states


class _Parser:
    def __init__(self, pattern: str) -> None:
        self.text = pattern
        self.at = 0
        self.groups = 0

    def parse(self) -> _Part:
        part = self.alternatives()
        if self.at < len(self.text):
            self.fail("has a ) without a (")
        return part

    def fail(self, why: str) -> NoReturn:
        raise PatternError(f"{why} (at character {self.at + 1})")

    def peek(self, expected: str) -> bool:
        return self.text.startswith(expected, self.at)

    def take(self, expected: str) -> bool:
        found = self.peek(expected)
        if found:
            self.at += len(expected)
        return found

    def next(self) -> str:
        if self.at >= len(self.text):
            self.fail("ends too early")
        self.at += 1
        return self.text[self.at - 1]

    def alternatives(self) -> _Part:
        branches = [self.sequence()]
        while self.take("|"):
            branches.append(self.sequence())
        return branches[0] if len(branches) == 1 else _joined(branches, optional=any)

    def sequence(self) -> _Part:
        pieces: list[_Part] = []
        while self.at < len(self.text) and not self.peek("|") and not self.peek(")"):
            pieces.append(self.repeated())
        part = _joined(pieces, optional=all)
        part.pieces = pieces
        return part

    def repeated(self) -> _Part:
        part = self.atom()
        bounds = self.quantifier()
        if bounds is None:
            return part
        if part.assertion:
            self.fail("repeats an assertion")
        low, high = bounds
        self.take("?")
        if self.at < len(self.text) and (self.text[self.at] in "*+?{"):
            self.fail("has two quantifiers in a row; put a group around the first")
        large = high is None or high - low > 16
        if large and part.open_ended and not _separated(part):
            self.fail("repeats a repetition with nothing to keep the rounds apart")
        times = max(high if high is not None else low + 1, 1)
        return _Part(
            ranges=part.ranges,
            states=part.states * times + 1,
            open_ended=part.open_ended or large,
            optional=part.optional or low == 0,
        )

    def quantifier(self) -> tuple[int, int | None] | None:
        for symbol, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self.take(symbol):
                return bounds
        return self.counted() if self.take("{") else None

    def counted(self) -> tuple[int, int | None]:
        inner, closed, _ = self.text[self.at :].partition("}")
        low, comma, high = inner.partition(",")
        if not closed or not _is_count(low) or (high and not _is_count(high)):
            self.fail(r"has a { that begins no count; write \{")
        least, most = int(low), int(high) if high else None if comma else int(low)
        if max(least, most or 0) > MAX_REPEAT:
            self.fail(f"repeats more than {MAX_REPEAT} times")
        if most is not None and most < least:
            self.fail("has a count whose end is below its start")
        self.at += len(inner) + 1
        return least, most

    def atom(self) -> _Part:
        char = self.next()
        if char == "(":
            return self.group()
        if char == "[":
            return self.char_class()
        if char == ".":
            return _Part(ranges=_ALL, states=_WIDE_STATES)
        if char in "^$":
            return _Part(states=1, assertion=True, optional=True)
        if char == "\\":
            return self.escaped()
        if char in "*+?{":
            self.at -= 1
            self.fail("has a quantifier with nothing before it; escape it to mean the character")
        if char in "]}":
            self.at -= 1
            self.fail(f"has a {char} that closes nothing; escape it to mean the character")
        return _Part(ranges=[(ord(char), ord(char))])

    def group(self) -> _Part:
        if self.peek("?") and not self.take("?:"):
            self.fail("uses lookaround, a named group or a flag; only (...) and (?:...) are supported")
        self.groups += 1
        if self.groups > MAX_NESTED_GROUPS:
            self.fail(f"nests more than {MAX_NESTED_GROUPS} groups")
        part = self.alternatives()
        if not self.take(")"):
            self.fail("has a ( without a )")
        self.groups -= 1
        part.assertion = False
        return part

    def escaped(self) -> _Part:
        if self.peek("b") or self.peek("B"):
            self.at += 1
            return _Part(assertion=True, optional=True)
        ranges, unicode_class = self.escape()
        return _Part(ranges=ranges, states=_UNICODE_STATES) if unicode_class else _class(ranges)

    def escape(self) -> tuple[_Ranges, bool]:
        """What stands after a backslash, in a class or out of it, and whether it is a Unicode category."""
        char = self.next()
        shorthand = {"d": _DIGIT, "w": _WORD, "s": _SPACE}.get(char.lower())
        if shorthand is not None:
            return (shorthand if char.islower() else _complement(shorthand)), False
        if char in "pP":
            return self.category(), True
        if char in _CONTROL:
            return [(_CONTROL[char], _CONTROL[char])], False
        if char in "xu":
            return [self.code_point(2 if char == "x" else 4)], False
        if char in _PUNCTUATION:
            return [(ord(char), ord(char))], False
        self.at -= 1
        return self.fail("uses a backreference" if char.isdigit() else "has an escape that is not supported")

    def category(self) -> _Ranges:
        name, closed, _ = self.text[self.at + 1 :].partition("}")
        if not self.peek("{") or not closed or name not in _CATEGORIES:
            self.fail(r"has an unknown \p; a general category such as \p{L} or \p{Nd} is supported")
        self.at += len(name) + 2
        return _ALL

    def code_point(self, digits: int) -> tuple[int, int]:
        code = self.text[self.at : self.at + digits]
        if len(code) < digits or not all(c in "0123456789abcdefABCDEF" for c in code):
            self.fail("has an incomplete \\x or \\u escape")
        self.at += digits
        number = int(code, 16)
        if 0xD800 <= number <= 0xDFFF or number == 0:
            self.fail("escapes NUL or half of a surrogate pair")
        return number, number

    def char_class(self) -> _Part:
        negated = self.take("^")
        ranges: _Ranges = []
        categories = 0
        while not self.take("]"):
            categories += self.peek("\\p") or self.peek("\\P")
            ranges += self.class_item()
        if not ranges:
            self.fail("has an empty class")
        part = _class(_complement(ranges) if negated else ranges)
        part.states += categories * _UNICODE_STATES
        return part

    def class_item(self) -> _Ranges:
        first = self.class_member()
        if not self.peek("-") or self.peek("-]"):
            return first
        self.at += 1
        last = self.class_member()
        if len(first) > 1 or len(last) > 1 or first[0][0] != first[0][1] or last[0][0] != last[0][1]:
            self.fail("has a class range that does not go from one character to another")
        if first[0][0] > last[0][0]:
            self.fail("has a class range that goes backwards")
        return [(first[0][0], last[0][0])]

    def class_member(self) -> _Ranges:
        char = self.next()
        if char == "\\":
            return self.escape()[0]
        if char == "[" or (char in "&~-" and self.peek(char)):
            self.at -= 1
            self.fail(f"has a bare {char} in a class that engines read differently; escape it")
        return [(ord(char), ord(char))]


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5


def _class(ranges: _Ranges) -> _Part:
    wide = sum(last > 127 for _, last in ranges)
    return _Part(ranges=ranges, states=_WIDE_STATES + 3 * (wide - 1) if wide else 1)


def _joined(parts: list[_Part], *, optional: Callable[[Iterable[bool]], bool]) -> _Part:
    return _Part(
        ranges=_merged([one for part in parts for one in part.ranges]),
        states=sum(part.states for part in parts) + 1,
        open_ended=any(part.open_ended for part in parts),
        optional=optional(part.optional for part in parts),
    )


def _separated(body: _Part) -> bool:
    """Whether each round of a repeated sequence begins or ends with a character found nowhere else in it."""
    pieces = [piece for piece in body.pieces or [] if not piece.assertion]
    if len(pieces) < 2:
        return bool(pieces) and len(pieces) == 1 and pieces[0].pieces is not None and _separated(pieces[0])
    first, last = pieces[0], pieces[-1]
    return _is_separator(first, pieces[1:]) or _is_separator(last, pieces[:-1])


def _is_separator(piece: _Part, others: list[_Part]) -> bool:
    return not piece.optional and not piece.open_ended and not any(_overlap(piece, one) for one in others)


def _overlap(one: _Part, other: _Part) -> bool:
    apart = len(_merged(one.ranges)) + len(_merged(other.ranges))
    return len(_merged(one.ranges + other.ranges)) < apart


def _merged(ranges: _Ranges) -> _Ranges:
    """The same characters as sorted ranges that do not overlap (neighbours stay apart)."""
    merged: _Ranges = []
    for first, last in sorted(set(ranges)):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def _complement(ranges: _Ranges) -> _Ranges:
    gaps: _Ranges = []
    start = 0
    for first, last in _merged(ranges):
        if first > start:
            gaps.append((start, first - 1))
        start = last + 1
    return [*gaps, (start, _LAST)] if start <= _LAST else gaps
