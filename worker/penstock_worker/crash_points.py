"""Places at which a test may have the process kill itself, as a power cut would: between two writes, not near them.

``PENSTOCK_CRASH_POINT=settle.post`` names the place, ``PENSTOCK_CRASH_ONCE=/path`` a file that is made first, so that
of all processes with these variables one crashes, once. Both are refused unless ``PENSTOCK_TEST_CRASHES=1`` was set
too when the process started; nothing of a job can set them.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping

from penstock_schemas.errors import ConfigurationError

ALLOWED, POINT, ONCE = "PENSTOCK_TEST_CRASHES", "PENSTOCK_CRASH_POINT", "PENSTOCK_CRASH_ONCE"

POINTS = (
    "claim.post",  # the job is leased; nothing else has been done
    "intent.pre",  # a call is about to be written down
    "intent.post",  # it is, and the request is not yet sent
    "settle.pre",  # the answer, or the error, is there, and only in memory
    "settle.post",  # it is written down, and not yet looked at
    "finish.pre",  # the outcome is about to be written
    "finish.post",  # the run has ended
    "retry.pre",  # the job is about to be given back
    "retry.post",  # it is
)

RARE_POINTS = (
    "attach.post",  # the id is kept under which a provider goes on with a call
    "tool.pre",  # a tool that changes something is written down as begun, and is about to be called
    "tool.post",  # a tool was called, and what came of it is only in memory
)
"""Places that only some jobs come by."""


def _pass(label: str) -> None:
    """Nobody wants a crash."""


reach: Callable[[str], None] = _pass
"""Called at each place with its label."""


def arm(environment: Mapping[str, str]) -> None:
    """Take note of the place that *environment* names; without one nothing happens at any.

    Raises ConfigurationError when a place is named where that is not allowed, or one that there is not.
    """
    global reach
    point, once = environment.get(POINT), environment.get(ONCE)
    if point is None and once is None:
        reach = _pass
        return
    if environment.get(ALLOWED) != "1":
        raise ConfigurationError(POINT if point is not None else ONCE, f"is for tests, and {ALLOWED} is not 1")
    if point not in (*POINTS, *RARE_POINTS):
        raise ConfigurationError(POINT, f"there is no {point!r}; there are {', '.join((*POINTS, *RARE_POINTS))}")

    def crash(label: str) -> None:
        if label == point and (once is None or _first(once)):
            os.kill(os.getpid(), signal.SIGKILL)

    reach = crash


def _first(path: str) -> bool:
    """Whether this process is the one that makes the file."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return False
    return True
