"""The clocks over a call: the earliest counts, and a cancellation from outside is none of theirs."""

import asyncio
import time

import pytest

from penstock_worker.llm.errors import (
    CallDeadlineError,
    CallError,
    FirstContentTimeoutError,
    IdleTimeoutError,
    WholeCallTimeoutError,
)
from penstock_worker.llm.port import CallLimits
from penstock_worker.llm.watchdog import Watchdog

LONG = {"first_content_s": 60.0, "content_idle_s": 60.0, "whole_call_s": 60.0}


async def hang(
    limits: dict[str, float], *, streaming: bool, content: bool, deadline_s: float | None = None
) -> Watchdog:
    deadline = None if deadline_s is None else time.monotonic() + deadline_s
    watch = Watchdog(CallLimits(**{**LONG, **limits}), deadline, streaming=streaming)
    try:
        async with watch:
            if content:
                watch.content()
            await asyncio.Event().wait()
    except TimeoutError:
        return watch
    raise AssertionError


@pytest.mark.parametrize(
    ("limits", "streaming", "content", "reason"),
    [
        ({"first_content_s": 0.02}, True, False, FirstContentTimeoutError),
        ({"first_content_s": 0.02, "content_idle_s": 0.04}, True, True, IdleTimeoutError),
        ({"content_idle_s": 0.02}, True, True, IdleTimeoutError),
        ({"first_content_s": 0.02, "whole_call_s": 0.04}, False, False, WholeCallTimeoutError),
        ({"content_idle_s": 0.02, "whole_call_s": 0.04}, True, False, WholeCallTimeoutError),
    ],
)
async def test_the_earliest_clock_counts(
    limits: dict[str, float], streaming: bool, content: bool, reason: type[CallError]
) -> None:
    """First content counts in a stream until it comes; then idle; the whole call always."""
    assert (await hang(limits, streaming=streaming, content=content)).reason is reason


async def test_the_deadline_is_a_clock() -> None:
    """It ends a call before any limit does."""
    watch = await hang({}, streaming=True, content=True, deadline_s=0.02)
    assert watch.reason is CallDeadlineError


async def test_content_moves_the_idle_clock() -> None:
    """A call that keeps giving content outlives its idle limit many times over."""
    watch = Watchdog(CallLimits(first_content_s=5, content_idle_s=0.5, whole_call_s=60), None, streaming=True)
    async with watch:
        until = time.monotonic() + 1.2
        while time.monotonic() < until:
            watch.content()
            await asyncio.sleep(0.005)  # the pace of a fast model
    assert watch.reason is None
    assert watch.first_content_ms is not None
    assert watch.first_content_ms < watch.took_ms


async def test_a_cancellation_from_outside_stays_one() -> None:
    """The clocks do not take the credit for somebody else's cancellation."""
    watch = Watchdog(CallLimits(), None, streaming=True)
    inside = asyncio.Event()

    async def body() -> None:
        async with watch:
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(body())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert watch.reason is None


async def test_an_error_inside_comes_through() -> None:
    """What the body raises is raised, a foreign TimeoutError too, and no clock is blamed."""
    watch = Watchdog(CallLimits(), None, streaming=False)
    with pytest.raises(TimeoutError, match="foreign"):
        async with watch:
            raise TimeoutError("foreign")
    assert watch.reason is None
