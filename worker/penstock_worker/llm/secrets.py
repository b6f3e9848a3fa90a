"""API keys by reference: where a key is, never what it is, until the moment a request needs it.

A :class:`SecretRef` is what settings, targets, logs and exceptions hold. Its value is read from the
environment or a file for a call and kept for at most :data:`REREAD_S`; no repr, message or URL has it.
"""

import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

REREAD_S = 30.0
"""A value is read again when it is older than this, so that a rotated key is in use within a minute."""

MAX_SECRET_BYTES = 16 * 1024


class SecretUnavailableError(Exception):
    """A reference names no usable value; the message names the reference and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class SecretRef:
    """A reference to a secret: the name of an environment variable, or the path of a file; exactly one."""

    env: str | None = None
    """Name of an environment variable."""
    file: str | None = None
    """Path of a file whose content, without surrounding white space, is the secret."""

    def __post_init__(self) -> None:
        if bool(self.env) == bool(self.file):
            raise ValueError("a secret reference has exactly one of env and file")

    def __str__(self) -> str:
        return f"env:{self.env}" if self.env else f"file:{self.file}"

    def warning(self) -> str | None:
        """Say what is unsafe about the file (its mode is wider than 0600), or None. Does not read it."""
        if self.file is None:
            return None
        try:
            mode = stat.S_IMODE(os.stat(self.file).st_mode)
        except OSError:
            return None
        if mode & 0o077:
            return f"{self} can be read by others (mode {mode:04o}); use chmod 600"
        return None


class SecretReader:
    """Reads references and keeps what it read for *reread_s*; one per worker, safe to use from any thread."""

    def __init__(self, reread_s: float = REREAD_S) -> None:
        self._reread_s = reread_s
        self._held: dict[SecretRef, tuple[float, str]] = {}
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"SecretReader({len(self._held)} held)"

    def read(self, ref: SecretRef, *, now: float | None = None) -> str:
        """Return the value, from memory if it was read less than *reread_s* ago.

        *now* is monotonic seconds, for tests. A file that vanished or became unreadable is an error, not the
        old value: a removed key is a revoked key. Raises SecretUnavailableError.
        """
        moment = time.monotonic() if now is None else now
        held = self._held.get(ref)
        if held is not None and moment - held[0] < self._reread_s:
            return held[1]
        value = _load(ref)
        with self._lock:
            self._held[ref] = (moment, value)
        return value

    def forget(self, ref: SecretRef) -> None:
        """Read *ref* afresh next time; called when a provider refused the key."""
        with self._lock:
            self._held.pop(ref, None)


def _load(ref: SecretRef) -> str:
    value = (os.environ.get(ref.env, "") if ref.env else _load_file(ref)).strip()
    if not value:
        raise SecretUnavailableError(f"{ref} is not set or empty")
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise SecretUnavailableError(f"{ref} has characters that a header cannot carry")
    return value


def _load_file(ref: SecretRef) -> str:
    try:
        with Path(str(ref.file)).open("rb") as handle:
            raw = handle.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise SecretUnavailableError(f"{ref} cannot be read: {error.strerror}") from None
    if len(raw) > MAX_SECRET_BYTES:
        raise SecretUnavailableError(f"{ref} is larger than {MAX_SECRET_BYTES} bytes")
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError:
        raise SecretUnavailableError(f"{ref} has characters that a header cannot carry") from None
