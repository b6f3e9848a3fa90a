"""Arguments into values; what cannot be read is wrong usage, said in one line."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import typer

When = datetime | timedelta
"""A moment, or how long ago."""

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|d|)")
_UNITS_S = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def duration_s(text: str) -> float:
    """``90``, ``90s``, ``15m``, ``2h`` or ``7d`` as seconds."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is not a duration such as 90s, 15m, 2h or 7d")
    return float(found[1]) * _UNITS_S[found[2]]


def when(text: str) -> When:
    """A duration as a time ago, else an ISO date or time; without a zone it is local."""
    if _DURATION.fullmatch(text.strip()):
        return timedelta(seconds=duration_s(text))
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{text!r} is no time such as 2h, 7d, 2026-01-31 or 2026-01-31T12:00Z") from None


def resolved(at: When, now: datetime) -> datetime:
    """*at* as a moment."""
    return now - at if isinstance(at, timedelta) else at


def time_range(since: str | None, until: str | None) -> tuple[When | None, When | None]:
    """Both ends; the first must not be behind the second, as far as that can be told without a clock."""
    first, last = since and when(since), until and when(until)
    reversed_ = (isinstance(first, datetime) and isinstance(last, datetime) and first > last) or (
        isinstance(first, timedelta) and isinstance(last, timedelta) and first < last
    )
    if reversed_:
        raise typer.BadParameter(f"--since {since} is later than --until {until}")
    return first or None, last or None


def key_values(pairs: Iterable[str], option: str) -> dict[str, str]:
    """``key=value`` as a mapping."""
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key or key in found:
            raise typer.BadParameter(f"{option} wants key=value, each key once; not {pair[:80]!r}")
        found[key] = value
    return found


def labels_of(given: Iterable[str]) -> dict[str, str | None]:
    """``bug,billing`` and ``bug=something is broken`` as labels with their descriptions.

    Of ``praise,bug=something is broken, or wrong`` the description, which goes to the end, is that of ``bug``.
    """
    found: dict[str, str | None] = {}
    for text in given:
        names, equals, description = text.partition("=")
        labels = [name.strip() for name in names.split(",")]
        for label in labels:
            if not label or label in found:
                raise typer.BadParameter(f"--labels: {label[:80]!r} is empty or there twice")
            found[label] = None
        if equals:
            found[labels[-1]] = description.strip()
    return found


def ids_of(given: Iterable[str]) -> list[str]:
    """Job ids; ``-`` stands for those on standard input, separated by white space."""
    found: list[str] = []
    for one in given:
        found += stdin_text().split() if one == "-" else [one]
    return list(dict.fromkeys(found))


def stdin_text() -> str:
    """All of standard input, as UTF-8. A terminal is refused: nobody would know that it is waited for."""
    if sys.stdin.isatty():
        raise typer.BadParameter("standard input is a terminal; name a file, or pipe something in")
    return _decoded(sys.stdin.buffer.read(), "standard input")


def file_text(path: str) -> str:
    """A file's text; ``-`` is standard input."""
    if path == "-":
        return stdin_text()
    try:
        return _decoded(Path(path).read_bytes(), path)
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}") from None


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{name} is not UTF-8 (at byte {error.start})") from None
