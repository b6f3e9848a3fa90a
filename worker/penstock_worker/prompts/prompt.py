"""A prompt is a file, ``name@version.md``, of two parts; untrusted text can only ever reach the second.

``[system]`` is fixed text: a variable in it is an error. ``[user]`` has variables in double braces; all of them
must be given and no other. ``{{text}}`` is the untrusted text and is put between two lines with a random marker
that does not occur in it, so that the text cannot pretend to end. Values are put in once and are not looked at
again, so braces in a value stay what they are.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from penstock_schemas.errors import ConfigurationError
from penstock_worker.prompts.lock import check_locked

_PARTS = re.compile(r"\A\[system\]\n(?P<system>.+?)\n+\[user\]\n(?P<user>.+?)\n*\Z", re.DOTALL)
VARIABLE = re.compile(r"\{\{([a-z_]+)\}\}")
"""A variable in the user part."""
_NAME = re.compile(r"[a-z][a-z0-9_-]*@[0-9]+")

FENCE = "TEXT-"
"""What a fence's marker begins with; 16 hex digits follow."""


def _marker() -> str:
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt that was read and found well-formed."""

    name: str
    """``name@version``."""
    system: str
    user: str
    digest: str
    """SHA-256 of the file, in hex: a text that changed under the same name shows."""

    @property
    def short_digest(self) -> str:
        """Enough of the digest to tell two texts apart: 16 hex digits."""
        return self.digest[:16]

    @property
    def variables(self) -> frozenset[str]:
        """The names that :meth:`render` wants, ``text`` included."""
        return frozenset(VARIABLE.findall(self.user))

    def render(self, text: str, variables: Mapping[str, str], *, marker: Callable[[], str] = _marker) -> str:
        """The user part with *variables* and the fenced *text*.

        Raises ValueError when a variable is missing or one is given that the prompt does not have.
        """
        given = {**variables, "text": fenced(text, marker)}
        if given.keys() != self.variables:
            odd = ", ".join(sorted(given.keys() ^ self.variables))
            raise ValueError(f"prompt {self.name}: variables missing or unknown: {odd}")
        return VARIABLE.sub(lambda found: given[found.group(1)], self.user)

    def prefix(self, variables: Mapping[str, str]) -> str:
        """What stands before the text in all that :meth:`render` gives with these *variables*."""
        return VARIABLE.sub(lambda found: variables[found.group(1)], self.user.partition("{{text}}")[0])


def fenced(text: str, marker: Callable[[], str] = _marker, *, what: str = "The text") -> str:
    """*text*, which is not to be trusted, between two lines with a marker that does not occur in it."""
    mark = FENCE + marker()
    while mark in text:
        mark = FENCE + marker()
    return f"{what} stands between the two lines {mark}.\n{mark}\n{text}\n{mark}"


def load_prompt(folder: Path, name: str) -> Prompt:
    """Read ``<name>.md`` in *folder*.

    Raises ConfigurationError if it is missing or malformed, or has another text than the one that was released under
    its name (see :mod:`~penstock_worker.prompts.lock`).
    """
    prompt = read_prompt(folder, name)
    check_locked(folder, name, prompt.digest)
    return prompt


def read_prompt(folder: Path, name: str) -> Prompt:
    """Read ``<name>.md`` in *folder*, released or not. Raises ConfigurationError if it is missing or malformed."""
    key = f"prompt {name}"
    if not _NAME.fullmatch(name):
        raise ConfigurationError(key, "a prompt is named name@version, as in summarize@1")
    path = folder / f"{name}.md"
    try:
        source = path.read_text("utf-8")
    except OSError as error:
        raise ConfigurationError(key, f"cannot be read from {path} ({error.strerror})") from None
    parts = _PARTS.match(source)
    if not parts:
        raise ConfigurationError(key, "must have a [system] part and then a [user] part")
    prompt = Prompt(name, parts["system"], parts["user"], hashlib.sha256(source.encode()).hexdigest())
    if VARIABLE.search(prompt.system):
        raise ConfigurationError(key, "has a variable in its [system] part; only the [user] part may have them")
    if "text" not in prompt.variables:
        raise ConfigurationError(key, "does not use {{text}} in its [user] part")
    return prompt
