"""Making text that came from elsewhere harmless to show.

A terminal obeys escape sequences, and shows text in another order than it stands when it is told to by a character
that nobody sees. So whatever is neither visible nor an ordinary space is shown as an escape, such as ``\\x1b``.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime
from decimal import Decimal

_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_SUSPECT = re.compile(r"[^\x20-\x7e]")
_JSON_SUSPECT = re.compile(r"[^\x00-\x7e]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_MARKS_IN_A_ROW = 4
_MARKS = {"Mn", "Me"}


def one_line(text: str, most: int | None = None) -> str:
    """*text* for a place where it must not break the line; cut to *most* characters, with an ellipsis."""
    if most is not None and len(text) > most:
        text = text[: most - 1] + "…"
    return _SUSPECT.sub(_shown, _few_marks(text))


def block(text: str) -> str:
    """*text* for a terminal, its line breaks and tabs kept."""
    return "\n".join("\t".join(one_line(part) for part in line.split("\t")) for line in text.split("\n"))


def safe_json(text: str) -> str:
    """JSON that means the same, with escapes for what is not visible outside ASCII."""
    return _JSON_SUSPECT.sub(_json_shown, text)


def local_time(at: datetime | None) -> str:
    """A moment in the reader's own time zone, to the second; empty for None."""
    return "" if at is None else at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def dollars(amount: Decimal | None) -> str:
    """An amount as USD, exact; ``unknown`` for None."""
    return "unknown" if amount is None else "$" + exact(amount)


def exact(amount: Decimal) -> str:
    """A decimal without exponent and without zeros that say nothing."""
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _shown(match: re.Match[str]) -> str:
    char = match[0]
    if unicodedata.category(char) not in _INVISIBLE:
        return char
    code = ord(char)
    return _SHORT.get(char) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )


def _json_shown(match: re.Match[str]) -> str:
    char = match[0]
    if unicodedata.category(char) not in _INVISIBLE:
        return char
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def _few_marks(text: str) -> str:
    """*text* with at most some combining marks in a row: more of them climb over the lines around."""
    if text.isascii():
        return text
    kept, run = [], 0
    for char in text:
        run = run + 1 if unicodedata.category(char) in _MARKS else 0
        if run <= _MARKS_IN_A_ROW:
            kept.append(char)
    return "".join(kept)
