"""Waiting for a condition: the one place in the tests that sleeps, and only between two looks."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")

_INTERVAL_S = 0.01


@overload
async def until(predicate: Callable[[], Awaitable[T]], timeout_s: float = ..., *, what: str | None = ...) -> T: ...
@overload
async def until(predicate: Callable[[], T], timeout_s: float = ..., *, what: str | None = ...) -> T: ...
async def until(predicate: Callable[[], T | Awaitable[T]], timeout_s: float = 30.0, *, what: str | None = None) -> T:
    """Look until *predicate* gives something true, and return that.

    It is called at least twice, and once more after *timeout_s*. What it raises comes through at once. Raises
    ``AssertionError`` naming *what* (else the predicate itself) and the last value seen.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        late = time.monotonic() > deadline
        seen = predicate()
        value: T = await seen if inspect.isawaitable(seen) else seen
        if value:
            return value
        if late:
            raise AssertionError(_message(predicate, what, timeout_s, value))
        await asyncio.sleep(_INTERVAL_S)


def wait_until(predicate: Callable[[], T], timeout_s: float = 30.0, *, what: str | None = None) -> T:
    """``until`` for code that is not async."""
    deadline = time.monotonic() + timeout_s
    while True:
        late = time.monotonic() > deadline
        if value := predicate():
            return value
        if late:
            raise AssertionError(_message(predicate, what, timeout_s, value))
        time.sleep(_INTERVAL_S)


def _message(predicate: Callable[[], object], what: str | None, timeout_s: float, value: object) -> str:
    if what is None:
        try:
            what = inspect.getsource(predicate).strip()
        except (OSError, TypeError):
            what = repr(predicate)
    return f"still not so after {timeout_s:g} s: {what}\nlast value: {value!r}"
