"""The clocks over one call: first content, idle content, the whole call, and the job's deadline.

Each is a moment; the earliest counts. Content moves only the idle clock, and only later, which costs an
attribute write: the one timer looks at the clocks when it fires, and sleeps again if nothing is due.
"""

import asyncio
import time
from operator import itemgetter
from types import TracebackType
from typing import Self

from penstock_worker.llm.errors import (
    CallDeadlineError,
    CallError,
    FirstContentTimeoutError,
    IdleTimeoutError,
    WholeCallTimeoutError,
)
from penstock_worker.llm.port import CallLimits


class Watchdog:
    """Cancels the body of its ``async with`` when a clock runs out, and then leaves with TimeoutError.

    ``reason`` then says which clock it was. A cancellation from outside stays a cancellation.
    """

    def __init__(self, limits: CallLimits, deadline: float | None, *, streaming: bool) -> None:
        self.started = time.monotonic()
        self._reason: type[CallError] = CallError
        self._limits = limits
        self._whole = self.started + limits.whole_call_s
        self._deadline = deadline
        self._first = self.started + limits.first_content_s if streaming else None
        self._first_at: float | None = None
        self._last_at: float | None = None
        self._timeout = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self._arm()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def content(self) -> None:
        """Note that content came just now."""
        self._last_at = time.monotonic()
        if self._first_at is None:
            self._first_at = self._last_at
            self._arm()  # the idle clock starts, and may be due before the timer that is set

    @property
    def reason(self) -> type[CallError] | None:
        """The error to raise, when the body was ended by a clock; None when it was not."""
        return self._reason if self._timeout.expired() else None

    @property
    def first_content_ms(self) -> int | None:
        """From the start to the first content; None before it."""
        return None if self._first_at is None else round((self._first_at - self.started) * 1000)

    @property
    def took_ms(self) -> int:
        """From the start until now."""
        return round((time.monotonic() - self.started) * 1000)

    def _due(self) -> tuple[float, type[CallError]]:
        clocks: list[tuple[float, type[CallError]]] = [(self._whole, WholeCallTimeoutError)]
        if self._last_at is not None:
            clocks.append((self._last_at + self._limits.content_idle_s, IdleTimeoutError))
        elif self._first is not None:
            clocks.append((self._first, FirstContentTimeoutError))
        if self._deadline is not None:
            clocks.append((self._deadline, CallDeadlineError))
        return min(clocks, key=itemgetter(0))

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._timeout.expired():
            return
        moment, reason = self._due()
        wait_s = moment - time.monotonic()
        loop = asyncio.get_running_loop()
        if wait_s > 0:
            self._timer = loop.call_later(wait_s, self._arm)
        else:
            self._timer, self._reason = None, reason
            self._timeout.reschedule(loop.time())
