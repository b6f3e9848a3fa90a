"""What the engine asks of the Redis server it runs on: that it keeps what it accepted, and can run the scripts."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from penstock_schemas.errors import ConfigurationError

logger = logging.getLogger(__name__)

_OLDEST = (7, 0)


@dataclass(frozen=True, slots=True)
class ServerNeeds:
    """What a worker wants of Redis beyond what it always does."""

    persistence: bool = False
    """An append-only file or snapshots. A server that does not tell whether it has them is believed."""
    own_user: bool | None = None
    """Not Redis' default user, who may do anything: True refuses it, False warns of it, None does not look."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, by the name of the setting."""

    setting: str
    told: str

    def __str__(self) -> str:
        return f"redis {self.setting}: {self.told}"


class ServerCheck:
    """Checks at the start, and again every *every_s* seconds at most."""

    def __init__(self, needs: ServerNeeds, *, every_s: float = 5.0) -> None:
        self._needs = needs
        self._every_s = every_s
        self._next_at = 0.0
        self.fault: Fault | None = None
        """Why the server is not safe to run on at present; None while it is."""

    async def at_start(self, redis: Redis) -> None:
        """Raise ConfigurationError for a server that may lose jobs, or that cannot run the scripts."""
        info = await redis.info()
        self._note(wrong_kind(info) or await self._unsafe(redis, info) or await self._wrong_user(redis))
        if self.fault is not None:
            raise ConfigurationError(f"redis {self.fault.setting}", self.fault.told)

    async def now_and_then(self, redis: Redis) -> None:
        """Look again if the last look is old; a fault is logged once, and withdrawn when it is mended."""
        if time.monotonic() < self._next_at:
            return
        before = self.fault
        info = await redis.info("memory", "persistence")  # type: ignore[arg-type]
        self._note(await self._unsafe(redis, info))
        if self.fault is not None and before is None:
            logger.error("server_unsafe: %s", self.fault)

    def _note(self, fault: Fault | None) -> None:
        self._next_at = time.monotonic() + self._every_s
        self.fault = fault

    async def _unsafe(self, redis: Redis, info: dict[str, Any]) -> Fault | None:
        policy = info.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            return Fault("maxmemory-policy", f"is {policy}, so jobs could vanish; must be noeviction")
        if self._needs.persistence and not info.get("aof_enabled", 1) and await _saves(redis) == "":
            return Fault(
                "appendonly",
                "is no, and save is empty, so all jobs are lost when Redis ends; turn it on, or for development set "
                "redis.allow_volatile = true (PENSTOCK_REDIS__ALLOW_VOLATILE=true)",
            )
        return None

    async def _wrong_user(self, redis: Redis) -> Fault | None:
        if self._needs.own_user is None:
            return None
        try:
            user = await redis.acl_whoami()
        except ResponseError:  # it may not ask: then it is not the default user
            return None
        if user not in ("default", b"default"):
            return None
        fault = Fault("user", "is default, who may do anything; give workers a user of their own with an ACL")
        if self._needs.own_user:
            return fault
        logger.warning("default_user: %s", fault)
        return None


def wrong_kind(info: dict[str, Any]) -> Fault | None:
    """Why a server that tells this of itself (``INFO``) can never be worked on; None when it can."""
    version = tuple(int(part) for part in re.findall(r"\d+", str(info.get("redis_version", "")))[:2])
    if version and version < _OLDEST:
        return Fault("version", f"is {version[0]}.{version[1]}, at least 7.0 is needed")
    if info.get("cluster_enabled") == 1 or info.get("redis_mode") == "cluster":
        return Fault("cluster-enabled", "is yes, and the scripts need all keys in one place; use a primary of its own")
    return None


async def _saves(redis: Redis) -> str | None:
    """When snapshots are made; "" for never, None where that may not be asked."""
    try:
        found = (await redis.config_get("save")).get("save")
    except ResponseError:
        return None
    return found.decode() if isinstance(found, bytes) else found
