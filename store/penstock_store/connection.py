"""How a process of ours connects to Redis, and what it makes of Redis' refusals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import (
    BusyLoadingError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from penstock_schemas.errors import ConfigurationError, UnavailableError

TIMEOUT_S = 2.0
"""Bound on each connect and each reply: what is away is noticed within it."""

_REFUSALS = ("OOM", "MISCONF", "BUSY", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "UNBLOCKED")
"""First words of error replies that say "not now"; LOADING and READONLY have classes of their own."""


def connect(url: str, *, max_connections: int, timeout_s: float = TIMEOUT_S, blocking: bool = False) -> Redis:
    """A client with at most *max_connections*; a caller beyond them waits at most *timeout_s*.

    *blocking* is for a connection that waits for messages: its replies may take for ever. Nothing is sent yet. Raises ConfigurationError for a URL that is not one of Redis.
    """
    check_url(url)
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=max_connections,
        timeout=timeout_s,
        socket_timeout=None if blocking else timeout_s,
        socket_connect_timeout=timeout_s,
        socket_keepalive=True,
    )
    return Redis.from_pool(pool)


def check_url(url: str) -> None:
    """Raise ConfigurationError unless *url* is a usable ``redis://``, ``rediss://`` or ``unix://`` URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigurationError("redis.url", "its port is not a number from 1 to 65535") from None
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ConfigurationError("redis.url", "must begin with redis://, rediss:// or unix://")
    if port == 0 or (parts.scheme != "unix" and not parts.hostname):
        raise ConfigurationError("redis.url", "must name a host and a port, as in redis://localhost:6379/0")


def is_away(error: BaseException) -> bool:
    """Whether *error* says that Redis is not there or does not take writes now, so that later may be better."""
    if isinstance(error, RedisConnectionError | RedisTimeoutError | BusyLoadingError | ReadOnlyError):
        return True
    if isinstance(error, ResponseError):
        return str(error).startswith(_REFUSALS)
    return isinstance(error, OSError | TimeoutError)


@contextmanager
def translated() -> Iterator[None]:
    """Turn redis-py's errors into UnavailableError where Redis is away; let others pass."""
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        if not is_away(error):
            raise
        raise UnavailableError(f"Redis is unavailable ({type(error).__name__}); try again") from error
