"""Providers' caches of prompts' beginnings: of those that share a long one, the first call goes ahead of the others.

A provider that is sent a hundred prompts with one long beginning at once reads it a hundred times at the full price: it
can be read from the cache only when a call that had it is over. So the first call of a beginning goes alone; the others
wait for its end, at most ``WAIT_S``, and go together. If it fails, the next one goes ahead. All workers know of it by
way of Redis, which a process asks once for each beginning that it does not know to be warm.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from redis.exceptions import RedisError

from penstock_schemas import keys
from penstock_store.batcher import Batcher
from penstock_worker.llm.port import CallRequest, Target
from penstock_worker.llm.prefix import prefix_digest

WAIT_S = 10.0
"""The most that a call waits for the one ahead of it."""

WARM_S = 240.0
"""How long a beginning counts as warm after a call with it: somewhat less than the five minutes that providers name."""

_LOOK_S = 0.05
_KNOWN = 1_024


@dataclass(slots=True)
class Turn:
    """One call's."""

    warmed: bool = False
    """To be set by who makes the call, once there is an answer: the provider has the beginning now."""


@dataclass(slots=True)
class _Prefix:
    """What this process knows of one beginning at one target."""

    key: str
    warm_until: float = 0.0
    """By ``time.monotonic()``."""
    ahead: asyncio.Future[None] | None = None
    """Done when the call that goes ahead, here or in another process, has ended; None when there is none."""

    @property
    def warm(self) -> bool:
        return time.monotonic() < self.warm_until


class Warming:
    """Lets calls with long beginnings in common go in the right order. One per event loop."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher
        self._known: OrderedDict[str, _Prefix] = OrderedDict()

    @asynccontextmanager
    async def turn(self, target: Target, request: CallRequest) -> AsyncIterator[Turn]:
        """Wait for the turn of a call, and make the call inside."""
        turn, digest = Turn(), prefix_digest(request) if target.prompt_cache else None
        if digest is None:
            yield turn
            return
        prefix = self._prefix(keys.warm(target.name, digest))
        goes_ahead = not prefix.warm and await self._goes_ahead(prefix)
        try:
            yield turn
        finally:
            if turn.warmed:
                prefix.warm_until = time.monotonic() + WARM_S
            if goes_ahead:
                self._over(prefix)
                await self._tell(prefix)

    def _prefix(self, key: str) -> _Prefix:
        prefix = self._known.setdefault(key, _Prefix(key))
        self._known.move_to_end(key)
        if len(self._known) > _KNOWN:
            self._known.popitem(last=False)
        return prefix

    async def _goes_ahead(self, prefix: _Prefix) -> bool:
        """Whether this call is to warm the beginning; else it has waited for the one that did, or for long enough."""
        give_up_at = time.monotonic() + WAIT_S
        while not prefix.warm and (left_s := give_up_at - time.monotonic()) > 0:
            if prefix.ahead is not None:
                await asyncio.wait([prefix.ahead], timeout=left_s)
                continue
            prefix.ahead = asyncio.get_running_loop().create_future()
            try:
                if await self._is_first(prefix, give_up_at):
                    return True
            except BaseException:
                self._over(prefix)
                raise
            self._over(prefix)
        return False

    async def _is_first(self, prefix: _Prefix, give_up_at: float) -> bool:
        """Ask Redis, and wait while another process warms it; True when that is for this one to do."""
        while time.monotonic() < give_up_at:
            try:
                found = await self._batcher.execute(
                    "SET", prefix.key, "warming", "NX", "GET", "PX", round(WAIT_S * 1000)
                )
            except (RedisError, OSError):
                return True
            if found is None:
                return True
            if found == b"warm":
                prefix.warm_until = time.monotonic() + WARM_S / 4  # it was warmed some time ago
                return False
            await asyncio.sleep(_LOOK_S)
        return False

    def _over(self, prefix: _Prefix) -> None:
        if prefix.ahead is not None:
            prefix.ahead.set_result(None)
            prefix.ahead = None

    async def _tell(self, prefix: _Prefix) -> None:
        """Let other processes know what became of it. What fails here costs them one call at the full price."""
        with suppress(RedisError, OSError):
            if prefix.warm:
                await self._batcher.execute("SET", prefix.key, "warm", "PX", round(WARM_S * 1000))
            else:
                await self._batcher.execute("DEL", prefix.key)
