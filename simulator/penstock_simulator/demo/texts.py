"""The texts the demo works on: files that the user names, or its own samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from penstock import Limits

SAMPLES = Path(__file__).parent / "inputs"


class NotATextError(Exception):
    """A file cannot be worked on; the message names it and says why."""


def read_texts(files: Sequence[Path]) -> list[tuple[str, str]]:
    """Name and text of each of *files*; the demo's own samples when there is none. Raises NotATextError."""
    chosen = list(files) or sorted(SAMPLES.glob("*.txt"))
    return [(path.name, _read(path)) for path in chosen]


def _read(path: Path) -> str:
    most = Limits().text_bytes
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise NotATextError(f"{path}: {error.strerror}") from None
    if len(content) > most:
        raise NotATextError(f"{path}: more than {most} bytes, which is the most that a job's text may have")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise NotATextError(f"{path}: is not UTF-8 text") from None
    if not text.strip():
        raise NotATextError(f"{path}: is empty")
    return text
