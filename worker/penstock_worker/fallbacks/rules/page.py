"""Reads a text as a form: labelled values, tables and lists, each below its heading.

Reads at most 40,000 lines of at most 500 characters; what lies beyond is running text to it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from penstock_worker.fallbacks.text import WORD

_MOST_LINES: Final = 40_000
_LONGEST_LINE: Final = 500
_LABEL_WORDS: Final = 7
_MOST_PASSAGES: Final = 500


class Pair(NamedTuple):
    """A labelled value."""

    label: str
    value: str
    section: str
    """The heading above it, or ""."""


@dataclass(frozen=True, slots=True)
class Table:
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    section: str


@dataclass(slots=True)
class Listing:
    """Bulleted lines below a label or heading."""

    label: str
    items: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Page:
    pairs: list[Pair] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    listings: list[Listing] = field(default_factory=list)
    passages: list[Pair] = field(default_factory=list)
    """Running text with the heading it stands below as its label; only the first paragraph of each."""


_LABEL = r"[^\W\d_][^:=|\t]{0,58}?"
_PAIR = re.compile(
    rf"({_LABEL})\s*(?::(?![/\d])|:(?=\d{{3}})|=(?!=)|\.{{3,}}|…+|\t+| {{2,}}| [–—-] )\s*(?:\.{{3,}}\s*)?(\S.*)$"  # noqa: RUF001
)
_LABEL_ALONE = re.compile(rf"({_LABEL})\s*:$")
_BULLET = re.compile(r"(?:[-*+•◦▪–]|\d{1,3}[.)])\s+(?:\[[ xX]\]\s+)?")  # noqa: RUF001
_RULE = re.compile(r"[\s|:+=_*-]*+$")
_GAP = re.compile(r"\t+| {2,}")
_ENDS_LIKE_PROSE = (".", "!", "?", ",")


def read_page(text: str) -> Page:
    """The labelled values, tables and lists of *text*."""
    page = Page()
    lines = [line.rstrip()[:_LONGEST_LINE] for line in text.split("\n", _MOST_LINES)[:_MOST_LINES]]
    for section, block in _blocks(lines):
        rest = _take_tables(block, section, page)
        before = len(page.pairs)
        _take_pairs(rest, section, page)
        if section and rest and len(page.pairs) == before:
            _take_passage(rest, section, page)
    return page


def _take_passage(block: Sequence[str], section: str, page: Page) -> None:
    seen = page.passages and page.passages[-1].label == section
    if not seen and len(page.passages) < _MOST_PASSAGES and not any(_BULLET.match(line.strip()) for line in block):
        page.passages.append(Pair(section, " ".join(" ".join(block).split()), ""))


def _blocks(lines: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Runs of lines without a blank one, each with the heading above it."""
    section = ""
    block: list[str] = []
    for line in [*lines, ""]:
        if line.strip():
            block.append(line)
            continue
        if block and (heading := _heading(block)):
            section = heading
        elif block:
            yield section, block
        block = []


def _heading(block: Sequence[str]) -> str:
    """The text of a block that is one short line (perhaps underlined) without a value."""
    line = block[0].strip().strip("#*= ")
    if len(block) > 2 or (len(block) == 2 and not _RULE.match(block[1])):
        return ""
    if _PAIR.match(line) or _BULLET.match(line) or len(line) > 60 or line.endswith(_ENDS_LIKE_PROSE):
        return ""
    return line.rstrip(":")


def _cells(line: str) -> tuple[str, ...]:
    stripped = line.strip()
    if stripped.count("|") >= 1:
        return tuple(cell.strip().strip("*` ") for cell in stripped.strip("|").split("|"))
    for sign in ("\t", ";"):
        if sign in stripped:
            return tuple(cell.strip() for cell in stripped.split(sign))
    by_gap = tuple(_GAP.split(stripped))
    if len(by_gap) >= 3:
        return by_gap
    by_comma = tuple(cell.strip() for cell in stripped.split(","))
    return by_comma if len(by_comma) >= 3 and " " not in stripped.replace(", ", ",") else by_gap


def _take_tables(block: Sequence[str], section: str, page: Page) -> list[str]:
    """Moves the tables of *block* to *page*; returns its other lines."""
    rest: list[str] = []
    at = 0
    while at < len(block):
        end = _table_end(block, at)
        rows = [_cells(line) for line in block[at:end] if not _RULE.match(line)]
        if len(rows) >= 2 and len(rows[0]) >= 2 and _is_header(rows[0]):
            page.tables.append(Table(rows[0], tuple(rows[1:]), section))
            at = end
        else:
            rest.append(block[at])
            at += 1
    for table in page.tables[-1:]:
        if len(table.header) == 2 and not rest:
            page.pairs += [Pair(*row, section) for row in (table.header, *table.rows) if len(row) == 2]
    return rest


def _table_end(block: Sequence[str], start: int) -> int:
    """The end of the lines from *start* that have as many cells as the first (two columns only with bars)."""
    width = len(_cells(block[start]))
    least = 2 if "|" in block[start] else 3
    end = start + 1
    while width >= least and end < len(block) and (_RULE.match(block[end]) or len(_cells(block[end])) == width):
        end += 1
    return end


def _is_header(cells: Sequence[str]) -> bool:
    return all(cell and len(cell) <= 40 and not cell[0].isdigit() and WORD.search(cell) for cell in cells)


def _take_pairs(lines: Sequence[str], section: str, page: Page) -> None:
    label = ""
    listing = Listing(section)
    for raw in lines:
        line = raw.strip()
        bullet = _BULLET.match(line)
        if bullet:
            listing = _listing(page, listing, label or section)
            listing.items.append(line[bullet.end() :].strip())
        elif listing.items and raw.startswith((" ", "\t")):
            listing.items[-1] += f" {line}"
            continue
        if alone := _LABEL_ALONE.match(_bare(line)):
            label = alone[1]
            continue
        found = list(_pairs_in(line[bullet.end() :] if bullet else line, label or section))
        if not found and label and not bullet:
            found = [Pair(label, line, section)]
        page.pairs += found
        if not bullet and not raw.startswith((" ", "\t")):
            label = ""


def _listing(page: Page, current: Listing, label: str) -> Listing:
    if current.items and current.label == label:
        return current
    page.listings.append(Listing(label))
    return page.listings[-1]


def _bare(line: str) -> str:
    """*line* without the marks of Markdown and JSON around label and value."""
    line = line.replace("**", "").replace("__", "").lstrip("> ").strip("`# {}")
    if line.startswith('"'):
        line = line.replace('":', ":", 1)[1:]
    return line.strip()


def _pairs_in(line: str, section: str) -> Iterator[Pair]:
    parts = re.split(r"\s*(?:;|\s\|\s| {3,})\s*", _bare(line)) if line.count(":") > 1 else []
    several = [pair for part in parts if (pair := _pair(part, section)) is not None]
    if len(several) > 1 and len(several) == len(parts):
        yield from several
    elif (pair := _pair(_bare(line), section)) is not None:
        yield pair


def _pair(line: str, section: str) -> Pair | None:
    found = _PAIR.match(line)
    if found is None or ". " in found[1] or len(found[1].split()) > _LABEL_WORDS:
        return None
    value = found[2].strip().rstrip(",").strip()
    if value.startswith('"') and value.endswith('"'):
        value = value[1:-1]
    return Pair(found[1].strip(' "'), value, section) if value.strip(". ") else None
