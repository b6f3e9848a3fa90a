"""What is made of a URL, and of every error that redis-py has."""

import inspect
from typing import Any

import pytest
from redis import exceptions

from penstock import ConfigurationError, UnavailableError
from penstock_store.connection import connect, is_away, translated

UNAVAILABLE = {
    "ConnectionError",
    "TimeoutError",
    "BusyLoadingError",
    "MaxConnectionsError",
    "OutOfMemoryError",
    "ReadOnlyError",
    "ClusterDownError",
    "MasterDownError",
    "TryAgainError",
}
DENIED = {"AuthenticationError", "AuthenticationWrongNumberOfArgsError", "AuthorizationError", "NoPermissionError"}
OURS = {
    "RedisError",
    "ResponseError",
    "InvalidResponse",
    "DataError",
    "PubSubError",
    "WatchError",
    "NoScriptError",
    "ExecAbortError",
    "ModuleError",
    "LockError",
    "LockNotOwnedError",
    "ChildDeadlockedError",
    "RedisClusterException",
    "ClusterError",
    "ClusterCrossSlotError",
    "AskError",
    "MovedError",
    "SlotNotCoveredError",
}
"""Faults of ours, or of a kind of server or command that is not used: they come through as they are."""

CLASSES = {
    name: kind
    for name, kind in inspect.getmembers(exceptions, inspect.isclass)
    if issubclass(kind, Exception) and kind.__module__ == exceptions.__name__
}


def made(kind: type[Exception]) -> Exception:
    """One of them; some want a slot and an address, as MOVED tells it."""
    try:
        return kind("1 127.0.0.1:6379")
    except TypeError:
        return kind()


def test_every_error_of_the_client_is_in_one_of_the_lists() -> None:
    """A new one in a later version is to be thought about."""
    assert set(CLASSES) == UNAVAILABLE | DENIED | OURS


@pytest.mark.parametrize("name", sorted(UNAVAILABLE | DENIED | OURS))
def test_each_error_becomes_what_its_list_says(name: str) -> None:
    """Away, denied, or as it is."""
    error = made(CLASSES[name])
    expected: type[Exception] = type(error)
    if name in UNAVAILABLE:
        expected = UnavailableError
    elif name in DENIED:
        expected = ConfigurationError
    with pytest.raises(expected) as raised, translated():
        raise error
    assert type(raised.value) is expected
    assert is_away(error) == (name in UNAVAILABLE)


@pytest.mark.parametrize(
    ("reply", "away"),
    [
        ("MISCONF Redis is configured to save RDB snapshots, but it is not able to persist on disk.", True),
        ("BUSY Redis is busy running a script.", True),
        ("NOREPLICAS Not enough good replicas to write.", True),
        ("UNBLOCKED force unblock from blocking operation", True),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", False),
        ("ERR unknown command", False),
    ],
)
def test_replies_that_have_no_class_are_told_by_their_first_word(reply: str, away: bool) -> None:
    """Not now, or never."""
    assert is_away(exceptions.ResponseError(reply)) == away


def test_what_the_network_says_is_away() -> None:
    """Any OSError, a time-out among them."""
    for error in (OSError(113, "No route to host"), ConnectionResetError(), TimeoutError()):
        with pytest.raises(UnavailableError) as raised, translated():
            raise error
        assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        "http://localhost",
        "redis://",
        "redis:///0",
        "redis://localhost:port",
        "redis://localhost:0",
        "redis://localhost:99999",
        "redis://localhost?socket_timeout=soon",
    ],
)
def test_a_url_that_is_none_of_redis_is_a_wrong_setting(url: str) -> None:
    """Named, before anything is sent, without what the URL may hold of secrets."""
    with pytest.raises(ConfigurationError) as refusal:
        connect(url.replace("localhost", "user:secret@localhost"), max_connections=1)
    assert refusal.value.key == "redis.url"
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost?decode_responses=True&protocol=3&socket_timeout=60",
        "rediss://localhost:6380/2",
        "unix:///run/redis.sock",
    ],
)
def test_the_query_of_a_url_cannot_change_what_we_rely_on(url: str) -> None:
    """Bytes, RESP2, our time limits."""
    pool = connect(url, max_connections=3, timeout_s=1.5).connection_pool
    settings: dict[str, Any] = pool.connection_kwargs
    assert pool.max_connections == 3
    assert (settings["decode_responses"], settings["protocol"]) == (False, 2)
    assert (settings["socket_timeout"], settings["socket_connect_timeout"]) == (1.5, 1.5)
    pool.make_connection()
