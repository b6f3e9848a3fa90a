"""Lua scripts as package data: one file per verb, assembled from the includes that it names.

A file that needs another says so on a line of its own, ``-- include: queue``. Includes are looked for beside
the file, then in :mod:`penstock_store`'s own ``lua`` folder, and each is pasted once, in the order named.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

_INCLUDE = re.compile(r"^-- include: ([a-z_]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua text and its SHA-1 in hex, by which Redis knows it."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())


@cache
def load_script(package: str, verb: str, *, includes: tuple[str, ...] = ()) -> Script:
    """The script ``lua/<verb>.lua`` of *package*, behind its includes.

    *includes* are texts (not names) to be pasted ahead of the file, for a part that only the caller knows.
    """
    return Script("\n".join([*includes, _assemble(package, verb, set())]))


def load_include(package: str, name: str) -> str:
    """The text of ``lua/<name>.lua`` of *package* with what it includes, to be given to :func:`load_script`."""
    return _assemble(package, name, set())


def _assemble(package: str, name: str, seen: set[str]) -> str:
    text = _read(package, name)
    parts = []
    for include in _INCLUDE.findall(text):
        if include not in seen:
            seen.add(include)
            parts.append(_assemble(package, include, seen))
    return "\n".join([*parts, text])


def _read(package: str, name: str) -> str:
    beside = files(package) / "lua" / f"{name}.lua"
    shared = files("penstock_store") / "lua" / f"{name}.lua"
    return (beside if beside.is_file() else shared).read_text("utf-8")
