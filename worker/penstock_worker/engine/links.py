"""Connections beside the pool: a blocking client for the heartbeat's thread, single ones for the wake-up."""

from __future__ import annotations

import asyncio
from typing import Any

import redis
import redis.asyncio.connection as aio
import redis.asyncio.sentinel as aio_sentinel
import redis.sentinel
from redis.asyncio import Redis

_SHARED = (
    "host", "port", "db", "username", "password", "path", "socket_connect_timeout", "encoding",
    "ssl_keyfile", "ssl_certfile", "ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_data", "ssl_check_hostname",
    "ssl_min_version", "ssl_ciphers",
)  # fmt: skip
"""Connection arguments that mean the same to redis-py's asyncio and blocking connections."""


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
