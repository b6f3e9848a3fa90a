"""Where a text may be cut, from the best place to the worst.

a heading of the first level ... of the last    a chunk then begins with a section
an empty line                                   ... a paragraph
the end of a line, of a sentence                ... a sentence, also in scripts that do not put spaces between them
white space                                     ... a word
between any two characters that are not one     never within a code point, nor before what only changes the one
                                                before it
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

_HEADING = re.compile(
    r"""^(?![\r\n])(?:
        [ ]{0,3}(?P<marks>\#{1,6})[ \t]+\S                              # Markdown
      | (?=[^\n]{1,120}\n[ ]{0,3}(?P<rule>=|-)(?P=rule){2,}[ \t]*\r?$)\S   # a line that is underlined
      | (?P<word>(?i:chapter|part|section|article|appendix|annex|kapitel|teil|abschnitt|artikel|anhang|chapitre
          |partie|titre|cap[ií]tulo|parte|secci[oó]n|se[cç][aã]o|capitolo|глава|раздел|часть)[ \t]+[\dIVXLC]{1,6}\b
          |§[ \t]?\d|第[\d一二三四五六七八九十百千]+[章节節条條編编部回篇])[^\n]{0,100}$
      | (?P<number>\d{1,3}(?:\.\d{1,3}){0,5})[.)]?[ \t]+(?=\w)[^\W\d_][^\n]{0,100}
          (?<![.,;:\u3002\uff0c\uff1b])\r?$(?=\r?\n[ \t]*\r?$)      # with an empty line behind it
    )""",
    re.MULTILINE | re.VERBOSE,
)
_PARAGRAPH = re.compile(r"(?:\r?\n[ \t\u3000]*){2,}|\f")
_LINE = re.compile(r"\r?\n|\r|\u2028|\u2029")
_CLOSERS = r"[\"'”’»)\]」』）】]*"  # noqa: RUF001
_SENTENCE = re.compile(
    rf"[.!?…؟]{_CLOSERS}(?=\s)\s+|[。！？｡…।॥۔]{_CLOSERS}\s*"  # noqa: RUF001
)
_SPACE = re.compile(r"\s+")

_STEP_BACK = 64
"""So many characters at most are looked at for the start of the one that a cut would break."""

_JOINER = "\u200d"


def last_heading(text: str, least: int, most: int) -> int | None:
    """The start of a heading's line in [least, most]: the last one of the highest level; None without any."""
    best: tuple[int, int] | None = None
    for found in _HEADING.finditer(text, _line_start(text, least), min(len(text), most + 200)):
        at = found.start()
        if least <= at <= most and (best is None or _level(found) <= best[0]):
            best = (_level(found), at)
    return best[1] if best else None


class Heading(NamedTuple):
    """A line that begins a section."""

    at: int
    level: int
    """From 1, the highest."""
    line: str


def headings(text: str, start: int, end: int) -> Iterator[Heading]:
    """Those that begin in [start, end)."""
    for found in _HEADING.finditer(text, _line_start(text, start), end):
        at = found.start()
        stop = text.find("\n", at, end)
        yield Heading(at, _level(found), text[at : end if stop < 0 else stop].strip())


def _line_start(text: str, at: int) -> int:
    return at if at == 0 or text[at - 1] in "\n\r" else max(text.find("\n", at) + 1, at)


def _level(found: re.Match[str]) -> int:
    if found["marks"]:
        return len(found["marks"])
    if found["rule"]:
        return 1 if found["rule"] == "=" else 2
    return 1 if found["word"] else 2 + found["number"].count(".")


def last_break(text: str, least: int, most: int) -> int | None:
    """The best place in [least, most] that is no heading: behind a paragraph, a line, a sentence or a word."""
    for kind in (_PARAGRAPH, _LINE, _SENTENCE, _SPACE):
        if (at := _last_end(kind, text, least, most)) is not None:
            return at
    return None


def first_break(text: str, least: int, most: int) -> int | None:
    """The first place in [least, most) behind a line or a sentence; else behind a word; None without any."""
    starts = [at for kind in (_LINE, _SENTENCE) if (at := _first_end(kind, text, least, most)) is not None]
    return min(starts) if starts else _first_end(_SPACE, text, least, most)


def _first_end(kind: re.Pattern[str], text: str, least: int, most: int) -> int | None:
    for found in kind.finditer(text, max(least - 8, 0), most):
        if least <= found.end() < most:
            return found.end()
    return None


def _last_end(kind: re.Pattern[str], text: str, least: int, most: int) -> int | None:
    last = None
    for found in kind.finditer(text, least, most):
        last = found.end()
    return last


def whole_character(text: str, at: int, after: int = -1) -> int:
    """The nearest place at or before *at*, but behind *after*, that breaks no character.

    Characters of several code points are a pair of surrogates, a letter and its marks, joined signs, CR and LF. One
    that is longer than anybody writes is broken at *at*, between code points.
    """
    least = max(at - _STEP_BACK, after + 1, 0)
    place = at
    while 0 < place < len(text) and _belong_together(text[place - 1], text[place]):
        place -= 1
        if place < least:
            return at - _is_pair(text[at - 1], text[at])
    return place


def next_character(text: str, at: int, most: int) -> int:
    """The nearest place at or behind *at* that breaks no character; *most* if there is none before that."""
    while 0 < at < most and _belong_together(text[at - 1], text[at]):
        at += 1
    return at


def _is_pair(before: str, after: str) -> bool:
    return "\ud800" <= before <= "\udbff" and "\udc00" <= after <= "\udfff"


def _belong_together(before: str, after: str) -> bool:
    if after < "\u0300":
        return after == "\n" and before == "\r"
    return (
        after == _JOINER
        or before == _JOINER
        or unicodedata.combining(after) != 0
        or unicodedata.category(after) in ("Mn", "Mc", "Me")
        or "\ufe00" <= after <= "\ufe0f"
        or "\U0001f3fb" <= after <= "\U0001f3ff"
        or _is_pair(before, after)
    )
