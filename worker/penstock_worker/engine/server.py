"""What the engine asks of the Redis server it runs on: that it never evicts, and that it can run the scripts."""

from __future__ import annotations

import logging
import re
import time
from typing import Any

from redis.asyncio import Redis

from penstock_schemas.errors import ConfigurationError

logger = logging.getLogger(__name__)

_CHECK_EVERY_S = 5.0
_OLDEST = (7, 0)


class ServerCheck:
    """Checks at the start, and again now and then."""

    def __init__(self) -> None:
        self._next_at = 0.0
        self.complaint: str | None = None
        """Why the server is not safe to run on at present; None while it is."""

    async def at_start(self, redis: Redis) -> None:
        """Raise ConfigurationError when the server may evict jobs or is too old."""
        info = await redis.info()
        version = tuple(int(part) for part in re.findall(r"\d+", str(info.get("redis_version", "")))[:2])
        if version and version < _OLDEST:
            raise ConfigurationError("redis", f"is version {version[0]}.{version[1]}, at least 7.0 is needed")
        self._note(info)
        if self.complaint is not None:
            raise ConfigurationError("redis maxmemory-policy", self.complaint)

    async def now_and_then(self, redis: Redis) -> None:
        """Look again if the last look is old; a complaint is logged once, and withdrawn when it is mended."""
        if time.monotonic() < self._next_at:
            return
        before = self.complaint
        self._note(await redis.info("memory"))
        if self.complaint is not None and before is None:
            logger.error("redis maxmemory-policy %s", self.complaint)

    def _note(self, info: dict[str, Any]) -> None:
        self._next_at = time.monotonic() + _CHECK_EVERY_S
        policy = info.get("maxmemory_policy", "noeviction")
        self.complaint = None if policy == "noeviction" else f"is {policy}, so jobs could vanish; must be noeviction"
