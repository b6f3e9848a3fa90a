"""Lua scripts as package data: one file per verb, assembled from the includes that it names.

A file that needs another says so on a line of its own, ``-- include: queue``. Includes are looked for beside
the file, then in :mod:`penstock_store`'s own ``lua`` folder, and each is pasted once, in the order named.

One include is made here, from the one module that knows key names: ``-- include: keys`` gives a table ``KEY``
with what stands before the variable parts of each key (``KEY.arq_retry .. job_id``) and with each fixed key
(``KEY.PAUSED``); a script has one such table, of the keys that it names, since Redis makes it anew at every call. A
line ``#!lua flags=...`` of a file comes first in the script, as Redis wants it.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from penstock_schemas import keys

_FLAGS = re.compile(r"^#!lua.*\n", re.MULTILINE)
_KEY_TABLE = re.compile(r"^local KEY = \{.*\}\n", re.MULTILINE)
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
    text = _with_one_key_table("\n".join([*includes, _assemble(package, verb, set())]))
    flags = _FLAGS.search(text)
    return Script((flags.group() if flags else "") + _FLAGS.sub("", text))


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


def _with_one_key_table(text: str) -> str:
    """*text* with one table of keys, where its first was, that has the keys that it uses."""
    used = set(re.findall(r"\bKEY\.(\w+)", text))
    tables = iter([_key_table(used) + "\n"])
    return _KEY_TABLE.sub(lambda _: next(tables, ""), text)


def _key_table(used: Collection[str] | None = None) -> str:
    """The Lua table of key names, or of those that are *used*."""
    named = {name: text for name, text in _key_names().items() if used is None or name in used}
    return "local KEY = {" + ", ".join(f'{name} = "{value}"' for name, value in sorted(named.items())) + "}"


@cache
def _key_names() -> dict[str, str]:
    """What stands before the gaps of each key, found by calling each function of the keys module with marks in them."""
    names = {name: value for name, value in vars(keys).items() if name.isupper()}
    for name, make in inspect.getmembers(keys, inspect.isfunction):
        gaps = len(inspect.signature(make).parameters)
        text = make(*["\0"] * gaps)
        names[name] = text.removeprefix("\0").split("\0")[0]
    return names


def _read(package: str, name: str) -> str:
    if name == "keys":
        return _key_table()
    beside = files(package) / "lua" / f"{name}.lua"
    shared = files("penstock_store") / "lua" / f"{name}.lua"
    return (beside if beside.is_file() else shared).read_text("utf-8")
