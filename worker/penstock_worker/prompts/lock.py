"""Released prompts, by digest: ``prompts.lock`` in a folder of prompts, one line for each.

    summarize@1 sha256:6f1c…

A prompt is immutable once its line is there. Results, ledger and experiments speak of ``summarize@1``; two texts under
that name would make them lie. So a worker refuses to start with a text that is not the one that was locked; a prompt
without a line is a draft, and may change. A line stays when its file goes, so that a name is never used again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from penstock_schemas.errors import ConfigurationError

LOCK_FILE: Final = "prompts.lock"

_LINE: Final = re.compile(r"(?P<name>[a-z][a-z0-9_-]*@[0-9]+) sha256:(?P<digest>[0-9a-f]{64})")
_HEAD: Final = (
    "# Released prompts: each text is fixed. To change one, give it a new version; then: penstock prompts lock\n"
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A folder's prompts beside its lock."""

    released: tuple[str, ...]
    """Names whose text is the locked one."""
    changed: tuple[str, ...]
    """Names whose text is another."""
    drafts: tuple[str, ...]
    """Names without a line."""
    gone: tuple[str, ...]
    """Names with a line and without a file."""


def read_lock(folder: Path) -> dict[str, str]:
    """Name -> digest (SHA-256 in hex); empty without a lock. Raises ConfigurationError for one that cannot be read."""
    path = folder / LOCK_FILE
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(str(path), f"cannot be read ({type(error).__name__})") from None
    return dict(_read_line(path, number, line) for number, line in enumerate(lines, 1) if line and line[0] != "#")


def check_locked(folder: Path, name: str, digest: str) -> None:
    """Raise ConfigurationError when the folder's lock has another text under *name*."""
    locked = read_lock(folder).get(name)
    if locked is not None and locked != digest:
        stem, _, version = name.partition("@")
        raise ConfigurationError(
            f"prompt {name}",
            f"was released with another text ({LOCK_FILE} in {folder}); call the new one {stem}@{int(version) + 1},"
            " and leave the old one as it was",
        )


def compare(folder: Path, digests: dict[str, str]) -> Comparison:
    """The prompts of a folder, name -> digest, beside its lock. Raises ConfigurationError as :func:`read_lock` does."""
    locked = read_lock(folder)
    return Comparison(
        released=tuple(sorted(name for name in digests if locked.get(name) == digests[name])),
        changed=tuple(sorted(name for name in digests if locked.get(name, digests[name]) != digests[name])),
        drafts=tuple(sorted(digests.keys() - locked.keys())),
        gone=tuple(sorted(locked.keys() - digests.keys())),
    )


def lock(folder: Path, digests: dict[str, str]) -> Comparison:
    """Add lines for the drafts; what it was before. Changes no line that is there, and nothing when one is changed."""
    found = compare(folder, digests)
    if found.drafts and not found.changed:
        locked = read_lock(folder) | digests
        lines = [f"{name} sha256:{locked[name]}\n" for name in sorted(locked)]
        (folder / LOCK_FILE).write_text(_HEAD + "".join(lines), "utf-8")
    return found


def _read_line(path: Path, number: int, line: str) -> tuple[str, str]:
    found = _LINE.fullmatch(line.strip())
    if found is None:
        raise ConfigurationError(str(path), f"line {number} is not `name@version sha256:<64 hex digits>`")
    return found["name"], found["digest"]
