"""Which arm of an experiment a job is in.

The arm follows from the experiment's name and the job's key alone: no state, no luck, the same on every worker. A job
whose calls so far were made in an arm stays in it, even when the weights change meanwhile.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock_worker.routing.routes import Route


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of doing a task's jobs."""

    name: str
    weight: float
    """Its share is this part of the sum of all weights; over 0."""
    route: Route
    """What its jobs use; its own ``arm`` names experiment and arm."""


class Experiment:
    """The arms of a route, and who goes where."""

    def __init__(self, name: str, arms: Sequence[Arm]) -> None:
        self.name = name
        self.arms = tuple(arms)
        self._by_label = {arm.route.arm: arm for arm in arms}
        total = sum(arm.weight for arm in arms)
        self._edges = [edge / total for edge in accumulate(arm.weight for arm in arms)][:-1]

    def arm(self, key: str, made_in: Iterable[str | None] = ()) -> Arm:
        """The arm of the job with this *key*; *made_in* are the arms of its calls so far, oldest first."""
        for label in made_in:
            if label in self._by_label:
                return self._by_label[label]
        return self.arms[bisect_right(self._edges, share_of(f"{self.name}\0{key}"))]


def share_of(text: str) -> float:
    """A number in [0, 1) that follows from *text*, spread evenly (the first 53 bits of its SHA-256)."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return (int.from_bytes(digest[:8]) >> 11) / 2**53


def arm_label(experiment: str, arm: str) -> str:
    """How an arm is named on results, in the ledger and in events: ``<experiment>/<arm>``."""
    return f"{experiment}/{arm}"
