"""Finds the prompt's own words in an answer: a model that was talked into reciting its instructions.

What is looked for are pieces of the prompt's fixed text, 32 characters long, one after the other, in lower case and
with white space made one; so any 63 characters in a row that are repeated hold one of them. What stands in the job
itself (its text, its variables, its schema) may be repeated. The marker of a fence may not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final

from penstock_worker.prompts.prompt import FENCE, VARIABLE, Prompt

PIECE_CHARS: Final = 32

_MARK: Final = re.compile(rf"{FENCE}[0-9a-f]{{16}}")


def leaked(prompt: Prompt, output: Any, known: Callable[[], str]) -> bool:
    """Whether *output*, plain JSON, repeats the fixed text of *prompt* or a fence's marker.

    *known* gives what the job itself holds; it is asked only when something was found.
    """
    said = "\n".join(_strings(output))
    if FENCE in said and any(mark not in known() for mark in _MARK.findall(said)):
        return True
    plain = _plain(said)
    found = [piece for piece in pieces(prompt) if piece in plain]
    if not found:
        return False
    mine = _plain(known())
    return any(piece not in mine for piece in found)


@lru_cache(maxsize=256)
def pieces(prompt: Prompt) -> tuple[str, ...]:
    """The pieces of the prompt's fixed text that are looked for."""
    parts = [prompt.system, *VARIABLE.split(prompt.user)[::2]]
    return tuple(piece for part in parts for piece in _pieces(_plain(part)))


def _pieces(text: str) -> Iterator[str]:
    for at in range(0, len(text) - PIECE_CHARS + 1, PIECE_CHARS):
        yield text[at : at + PIECE_CHARS]


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _strings(value: Any) -> Iterator[str]:
    """All strings of a value and the names of its members."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, part in value.items():
            yield name
            yield from _strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part)
