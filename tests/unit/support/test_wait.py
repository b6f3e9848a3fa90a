"""Waiting: what it returns, and what it says when it fails."""

from collections.abc import Iterator

import pytest

from tests.support.wait import until, wait_until


def counting() -> Iterator[int]:
    yield from range(1_000_000)


async def test_until_gives_the_first_true_value() -> None:
    """The predicate may be async or not."""
    numbers = counting()
    assert await until(lambda: next(numbers)) == 1

    async def predicate() -> str:
        return "x" * next(numbers)

    assert await until(predicate) == "xx"


async def test_until_names_what_was_missing_and_the_last_value() -> None:
    """By default the predicate's own text."""
    numbers = counting()
    with pytest.raises(AssertionError, match=r"0.02 s: a million\nlast value: False"):
        await until(lambda: next(numbers) == 1_000_000, 0.02, what="a million")
    with pytest.raises(AssertionError, match=r"lambda: numbers is None"):
        await until(lambda: numbers is None, 0.0)
    assert next(numbers) >= 2


async def test_what_the_predicate_raises_comes_through() -> None:
    """An error is not a reason to wait."""
    with pytest.raises(ZeroDivisionError):
        await until(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        wait_until(lambda: 1 / 0)


def test_wait_until_is_the_same_without_a_loop() -> None:
    """Value and message as with until."""
    numbers = counting()
    assert wait_until(lambda: next(numbers)) == 1
    with pytest.raises(AssertionError, match=r"nothing\nlast value: None"):
        wait_until(lambda: None, 0.0, what="nothing")
