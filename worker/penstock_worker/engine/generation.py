"""Tells when Redis is not the one that it was: empty, older than it was, or another server.

1. A random name is written once and stands for the dataset. Another name: Redis came back empty, was flushed, or is
   a different one.
2. With each beat a worker counts its own mark up. One that has fallen back: Redis was rewound, to what a replica or
   an old append-only file had, and this worker's last mark was in the part that is lost.
3. Another server process under the same name proves nothing, but says when to look: whoever wrote something in the
   last seconds can see whether it is there.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Any

import redis
from redis.exceptions import NoScriptError

from penstock_schemas import keys
from penstock_store.scripts import load_script

_MARK = load_script("penstock_worker.engine", "mark")
_KEPT_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Change:
    """Redis is not the one that it was at the beat before."""

    lost: bool
    """State is known to be lost; if not, another server has taken over, and may have all of it."""


class Generation:
    """One worker's look at Redis, once with each beat. For one thread."""

    def __init__(self) -> None:
        self._mark_key = keys.mark(secrets.token_hex(8))
        self._name: bytes | None = None
        self._server: bytes = b""
        self._marks = 0
        """Those that Redis has acknowledged."""
        self._marked_at = 0.0

    def look(self, client: redis.Redis) -> Change | None:
        """Leave the next mark; what has changed since the last one, None for nothing. Raises redis-py's errors."""
        args: list[Any] = [
            keys.GENERATION,
            self._mark_key,
            secrets.token_hex(8),
            self._marks + 1,
            round(_KEPT_S * 1000),
        ]
        try:
            reply: Any = client.evalsha(_MARK.sha, 2, *args)
        except NoScriptError:
            reply = client.eval(_MARK.text, 2, *args)
        name, before, server = reply
        change = self._change(name, int(before or 0), server)
        self._name, self._server = name, server
        self._marks, self._marked_at = self._marks + 1, time.monotonic()
        return change

    def _change(self, name: bytes, before: int, server: bytes) -> Change | None:
        if self._name is None:
            return None
        fell_back = before < self._marks and time.monotonic() - self._marked_at < _KEPT_S / 2
        if name != self._name or fell_back:
            return Change(lost=True)
        return Change(lost=False) if server != self._server else None
