"""Bars in a terminal, for amounts of which a part may be uncertain."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

LEAST, MOST = 8, 60
"""Columns of a bar: below the least there is none, and wider than the most says nothing more."""

_EIGHTHS = " ▏▎▍▌▋▊▉"
_FULL, _UNSURE = "█", "░"
_PLAIN_FULL, _PLAIN_UNSURE = "#", "."

CHARACTERS = _EIGHTHS + _FULL + _UNSURE
"""What has to be writable for bars with fractions; else they are made of ``#`` and ``.``."""


def bar(sure: int, unsure: int, most: int, width: int, *, plain: bool = False) -> str:
    """What is known in full blocks, and behind it what may come to it, of *width* columns for *most*.

    Anything above 0 shows, if only as the thinnest mark. *plain*: ASCII alone.
    """
    if most <= 0 or sure + unsure <= 0:
        return ""
    steps = 1 if plain else 8
    filled = _scaled(sure, most, width * steps)
    whole, part = divmod(filled, steps)
    text = (_PLAIN_FULL if plain else _FULL) * whole + (_EIGHTHS[part] if part else "")
    if unsure > 0:
        to = max(_scaled(sure + unsure, most, width), 1 if not text else len(text))
        text += (_PLAIN_UNSURE if plain else _UNSURE) * (to - len(text))
    return text


def room(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Columns that a terminal of this width has left for bars beside these columns; 0 for too few.

    The width is that of ``COLUMNS``, else of the terminal, else 80.
    """
    widths = [max(len(cell) for cell in column) for column in zip(headers, *rows, strict=True)]
    left = shutil.get_terminal_size().columns - sum(widths) - 2 * len(widths)
    return min(left, MOST) if left >= LEAST else 0


def _scaled(amount: int, most: int, width: int) -> int:
    """*amount* of *most* in parts of *width*, rounded half up, and 1 at least for what is not nothing."""
    return max((2 * amount * width + most) // (2 * most), 1) if amount > 0 else 0
