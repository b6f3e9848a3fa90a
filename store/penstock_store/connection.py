"""How a process of ours connects to Redis, and what it makes of Redis' refusals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    AuthorizationError,
    ClusterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from penstock_schemas.errors import ConfigurationError, UnavailableError

TIMEOUT_S = 2.0
"""Bound on each connect and each reply: what is away is noticed within it."""

LOST = (RedisConnectionError, RedisTimeoutError, OSError)
"""The connection is gone. Whether Redis carried out what was asked is unknown. (A TimeoutError is an OSError.)"""

DENIED = (AuthenticationError, AuthenticationWrongNumberOfArgsError, AuthorizationError, NoPermissionError)
"""Redis knows us not, or does not let us: nothing that time mends."""

_NOT_NOW = (OutOfMemoryError, ReadOnlyError, ClusterDownError, TryAgainError)
_NOT_NOW_WORDS = ("MISCONF", "BUSY", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "UNBLOCKED", "OOM")
"""First words of error replies that say "not now", for those that redis-py has no class for.

Of those it has a class for, it takes the first word off the message.
"""


def connect(url: str, *, max_connections: int, timeout_s: float = TIMEOUT_S, blocking: bool = False) -> Redis:
    """A client with at most *max_connections*; a caller beyond them waits at most *timeout_s*.

    *blocking* is for a connection that waits for messages: its replies may take for ever. Replies are bytes, in
    RESP2, whatever the URL's query says. Nothing is sent yet. Raises ConfigurationError for a URL that is not one
    of Redis.
    """
    check_url(url)
    try:
        pool = BlockingConnectionPool.from_url(url)
    except ValueError as error:
        raise ConfigurationError("redis.url", f"cannot be read: {error}") from None
    pool.max_connections = max_connections
    pool.timeout = timeout_s  # type: ignore[assignment]  # seconds of any kind, though typed as int
    pool.connection_kwargs.update(
        socket_timeout=None if blocking else timeout_s,
        socket_connect_timeout=timeout_s,
        decode_responses=False,
        protocol=2,
    )
    if not url.startswith("unix:"):
        pool.connection_kwargs["socket_keepalive"] = True
    mend(pool)
    return Redis.from_pool(pool)


def mend(pool: ConnectionPool) -> None:
    """Let what *pool* makes from now on say ConnectionError also where uvloop says RuntimeError.

    That is what uvloop answers, in place of an OSError, when a connection was closed in the moment of sending.
    """
    kind = pool.connection_class
    if not issubclass(kind, _Mended):
        pool.connection_class = type(f"Mended{kind.__name__}", (_Mended, kind), {})


class _Mended(AbstractConnection):
    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:
            raise RedisConnectionError("the connection was closed") from error


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
    if isinstance(error, DENIED):
        return False
    if isinstance(error, ResponseError):
        return isinstance(error, _NOT_NOW) or str(error).startswith(_NOT_NOW_WORDS)
    return isinstance(error, LOST)


@contextmanager
def translated() -> Iterator[None]:
    """Turn redis-py's errors into ours: UnavailableError where Redis is away, ConfigurationError where it denies us.

    Others pass: they are faults of ours, not of Redis.
    """
    try:
        yield
    except (RedisError, OSError) as error:
        if isinstance(error, DENIED):
            raise ConfigurationError("redis.url", f"Redis denies this user ({type(error).__name__})") from error
        if not is_away(error):
            raise
        raise UnavailableError(f"Redis is unavailable ({type(error).__name__}); try again") from error
