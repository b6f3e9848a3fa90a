"""One step of a job in parts: asked for, waited for where it is not long, and, without an answer, why."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from penstock_worker.attempt.asking import first_request
from penstock_worker.attempt.attempt import Attempt
from penstock_worker.attempt.calling import NotCalled
from penstock_worker.attempt.deciding import Trouble
from penstock_worker.attempt.outcome import Succeeded
from penstock_worker.attempt.walking import Walk, Walker
from penstock_worker.routing.conditions import GROUPS

WAIT_S = 5.0
"""A target that is closed for no longer is waited for: the other parts go on, and the job's slot is theirs too."""

WAIT_IN_ALL_S = 30.0
"""So long one step is waited for in an attempt; then the job gives its slot back."""

_SLICE_S = 0.25


class Unfinished(Exception):
    """A step got no answer."""

    def __init__(self, step: Attempt, troubles: list[Trouble], *, tried_before: bool) -> None:
        super().__init__(step.step)
        self.troubles = troubles
        """What each target came to."""
        self.tried_before = tried_before
        """Whether it got none in an earlier attempt either."""

    @property
    def too_long(self) -> bool:
        """Whether there was no target that takes so much."""
        return bool(self.troubles) and all_too_long(self.troubles)


def all_too_long(troubles: Sequence[Trouble]) -> bool:
    """Whether the length of the text was all that was in the way."""
    return all(each.code in GROUPS["too_long"] for each in troubles)


def gravity(error: Exception) -> int:
    """The least decides for the whole: what is for good comes before what may go better later."""
    if isinstance(error, NotCalled):
        return 0
    if not isinstance(error, Unfinished):
        return 1
    return 3 if any(trouble.retry for trouble in error.troubles) else 2


@dataclass(slots=True)
class Stepper:
    """Asks for the steps of one attempt."""

    walker: Walker
    done: list[Succeeded] = field(default_factory=list)
    """Answers of all steps, in no order."""
    fresh: int = 0
    """Steps that were answered now, and not in an earlier attempt."""

    async def answer(self, step: Attempt) -> Succeeded:
        """The answer to one step. Raises Unfinished, NotCalled."""
        got = await self.walker.asker.kept(step)
        if got is None:
            got = await self._asked(step)
            self.fresh += 1
        self.done.append(got)
        return got

    async def _asked(self, step: Attempt) -> Succeeded:
        assert step.step is not None
        tried_before, waited_s = step.journal.tried(step.step), 0.0
        while True:
            walk = Walk(step, first_request(step))
            got = await self.walker.run(walk)
            if got is not None:
                return got
            wait_s = _wait_s(walk.troubles)
            waited_s += wait_s or 0.0
            if wait_s is None or waited_s > WAIT_IN_ALL_S or step.late_by(wait_s):
                raise Unfinished(step, walk.troubles, tried_before=tried_before)
            await _wait(step, wait_s)


def _wait_s(troubles: Sequence[Trouble]) -> float | None:
    """How long to wait for the target that opens first; None when it is too long, or waiting would not help."""
    if not troubles or any(each.charged for each in troubles):
        return None
    waits = [each.retry_after_s for each in troubles if each.retry and each.retry_after_s is not None]
    return max(min(waits), 0.01) if waits and min(waits) <= WAIT_S else None


async def _wait(step: Attempt, wait_s: float) -> None:
    """Raises NotCalled when the worker is told to stop meanwhile."""
    while wait_s > 0 and not step.lease.leaving:
        await asyncio.sleep(min(wait_s, _SLICE_S))
        wait_s -= _SLICE_S
    if step.lease.leaving:
        raise NotCalled("leaving")
