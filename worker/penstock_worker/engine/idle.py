"""Where the main loop sleeps: until a slot is free, a watched key changes, a job is due, or a poll is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from penstock_worker.engine.wake import Waker


class Idle:
    """One sleeper, woken from the same event loop."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()
        self._for_work = False
        self._armed = False
        self.waker: Waker | None = None
        """Tells when watched keys change; without one, sleeps end by polling."""

    def look(self) -> None:
        """Call before looking for work: what happens from now on ends the next sleep."""
        self._woken.clear()

    def work_appeared(self) -> None:
        """A watched key has changed: there may be work for a free slot."""
        self._armed = False
        if self._for_work:
            self._woken.set()

    def slot_freed(self, *, always: bool = False) -> None:
        """A slot is free, which matters to a worker that had none; *always*: to any."""
        if always or not self._for_work:
            self._woken.set()

    async def rest(self, watched: Sequence[tuple[str, ...]], *, has_slots: bool, most_s: float) -> None:
        """Sleep at most *most_s*. A worker with free slots arms its keys first and, where that is new, returns at once:
        what came between its last look and the arming would be missed otherwise."""
        self._for_work = has_slots
        if has_slots and not self._armed and await self._arm(watched):
            return
        timer = asyncio.get_running_loop().call_later(most_s, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            timer.cancel()

    async def _arm(self, watched: Sequence[tuple[str, ...]]) -> bool:
        """Watch the keys; False when that cannot be had at present, and polling has to do."""
        if self.waker is None:
            return False
        self._armed = True  # before the reads: a change that comes while they are under way disarms again
        can_watch = await self.waker.arm(watched) is not None
        self._armed = self._armed and can_watch
        return can_watch
