"""The Redis server: what the engine asks of it before it trusts it with jobs, and connections to it beside the pool."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from dataclasses import dataclass
from typing import Any

import redis
import redis.asyncio.connection as aio
import redis.asyncio.sentinel as aio_sentinel
import redis.sentinel
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from penstock_schemas.errors import ConfigurationError
from penstock_worker.engine.lease import about

logger = logging.getLogger(__name__)

_OLDEST = (7, 0)
_SHARED = (
    "host", "port", "db", "username", "password", "path", "socket_connect_timeout", "encoding",
    "ssl_keyfile", "ssl_certfile", "ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_data", "ssl_check_hostname",
    "ssl_min_version", "ssl_ciphers",
)  # fmt: skip
"""Connection arguments that mean the same to redis-py's asyncio and blocking connections."""


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

    async def at_start(self, client: Redis) -> None:
        """Raise ConfigurationError for a server that may lose jobs, or that cannot run the scripts."""
        info = await client.info()
        self._note(wrong_kind(info) or await self._unsafe(client, info) or await self._wrong_user(client))
        if self.fault is not None:
            raise ConfigurationError(f"redis {self.fault.setting}", self.fault.told)

    async def now_and_then(self, client: Redis) -> None:
        """Look again if the last look is old; a fault is logged once, and withdrawn when it is mended."""
        if time.monotonic() < self._next_at:
            return
        before = self.fault
        info = await client.info("memory", "persistence")  # type: ignore[arg-type]
        self._note(await self._unsafe(client, info))
        if self.fault is not None and before is None:
            logger.error("server_unsafe: %s", self.fault, extra=about("server_unsafe", redis=self.fault.setting))

    def _note(self, fault: Fault | None) -> None:
        self._next_at = time.monotonic() + self._every_s
        self.fault = fault

    async def _unsafe(self, client: Redis, info: dict[str, Any]) -> Fault | None:
        policy = info.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            return Fault("maxmemory-policy", f"is {policy}, so jobs could vanish; must be noeviction")
        if self._needs.persistence and not info.get("aof_enabled", 1) and await _saves(client) == "":
            return Fault(
                "appendonly",
                "is no, and save is empty, so all jobs are lost when Redis ends; turn it on, or for development set "
                "redis.allow_volatile = true (PENSTOCK_REDIS__ALLOW_VOLATILE=true)",
            )
        return None

    async def _wrong_user(self, client: Redis) -> Fault | None:
        if self._needs.own_user is None:
            return None
        try:
            user = await client.acl_whoami()
        except ResponseError:  # it may not ask: then it is not the default user
            return None
        if user not in ("default", b"default"):
            return None
        fault = Fault("user", "is default, who may do anything; give workers a user of their own with an ACL")
        if self._needs.own_user:
            return fault
        logger.warning("default_user: %s", fault, extra=about("default_user"))
        return None


def wrong_kind(info: dict[str, Any]) -> Fault | None:
    """Why a server that tells this of itself (``INFO``) can never be worked on; None when it can."""
    version = tuple(int(part) for part in re.findall(r"\d+", str(info.get("redis_version", "")))[:2])
    if version and version < _OLDEST:
        return Fault("version", f"is {version[0]}.{version[1]}, at least 7.0 is needed")
    if info.get("cluster_enabled") == 1 or info.get("redis_mode") == "cluster":
        return Fault("cluster-enabled", "is yes, and the scripts need all keys in one place; use a primary of its own")
    return None


async def _saves(client: Redis) -> str | None:
    """When snapshots are made; "" for never, None where that may not be asked."""
    try:
        found = (await client.config_get("save")).get("save")
    except ResponseError:
        return None
    return found.decode() if isinstance(found, bytes) else found


def blocking_client(client: Redis, *, timeout_s: float) -> redis.Redis:
    """A blocking client of the same Redis as *client*, with one connection and a bound on each wait.

    Follows the primary when *client* does so by Sentinel.
    """
    pool = client.connection_pool
    kwargs = {name: pool.connection_kwargs[name] for name in _SHARED if pool.connection_kwargs.get(name) is not None}
    kwargs |= {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s, "socket_keepalive": True}
    if isinstance(pool, aio_sentinel.SentinelConnectionPool):
        return _following(pool, kwargs, timeout_s)
    connection_class: type[redis.connection.AbstractConnection] = redis.Connection
    if issubclass(pool.connection_class, aio.SSLConnection):
        connection_class = redis.SSLConnection
    elif issubclass(pool.connection_class, aio.UnixDomainSocketConnection):
        connection_class = redis.UnixDomainSocketConnection
        kwargs.pop("socket_keepalive")
    return redis.Redis(
        connection_pool=redis.ConnectionPool(connection_class=connection_class, max_connections=2, **kwargs)
    )


def _following(pool: Any, kwargs: dict[str, Any], timeout_s: float) -> redis.Redis:
    sentinels = [
        (node.connection_pool.connection_kwargs["host"], node.connection_pool.connection_kwargs["port"])
        for node in pool.sentinel_manager.sentinels
    ]
    kwargs = {name: value for name, value in kwargs.items() if name not in ("host", "port")}
    if issubclass(pool.connection_class, aio.SSLConnection):
        kwargs["ssl"] = True
    manager = redis.sentinel.Sentinel(  # type: ignore[no-untyped-call]
        sentinels, sentinel_kwargs={"socket_timeout": timeout_s}, **kwargs
    )
    client: redis.Redis = manager.master_for(pool.service_name)  # type: ignore[no-untyped-call]
    return client


def sentinels(client: Any) -> list[Any]:
    """The clients with which *client* asks its sentinels, to be closed with it; none without Sentinel."""
    manager = getattr(client.connection_pool, "sentinel_manager", None)
    return list(manager.sentinels) if manager is not None else []


def own_connection(client: Redis) -> aio.AbstractConnection:
    """A connection to the same Redis as *client*, outside of its pool, not yet connected."""
    connection: aio.AbstractConnection = client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    return connection


async def ask(connection: aio.AbstractConnection, *command: str, timeout_s: float) -> Any:
    """Send one command and return its reply. Raises redis-py's errors and TimeoutError."""
    async with asyncio.timeout(timeout_s):
        await connection.send_command(*command)
        return await connection.read_response()
