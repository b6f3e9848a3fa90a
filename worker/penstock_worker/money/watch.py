"""What is unusual enough to be told, or stopped: pasted into the scripts as text, so that a call carries none of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Watch:
    """When spending is far above its usual, and how often fallbacks may answer."""

    window: Literal["hour", "day"] = "day"
    """What is compared: hours with hours, or days with days (UTC)."""
    factor: float = 10.0
    """From how many times the usual on a prompt, a route or a tenant spends too much: in the window so far against the
    median of those before it, or by the call against the median of their means."""
    min_nanousd: int = 1_000_000_000
    """Below so much in the window nothing is too much."""
    history: int = 14
    """How many earlier windows, in which there were calls, make the usual."""
    min_history: int = 3
    """Below so many there is none yet."""
    stop: bool = True
    """Whether a prompt or a route that spends too much is stopped until the window turns; it is told in any case."""
    fallback_ratio: float = 0.02
    """The part of a task's jobs of an hour from which on it is told that fallbacks answered them."""
    fallback_min_jobs: int = 50
    """Below so many jobs of the hour the ratio says nothing."""

    def lua(self) -> str:
        """The table ``WATCH`` that the scripts read."""
        return (
            f'local WATCH = {{window = "{self.window}", factor = {self.factor!r}, min_nanousd = {self.min_nanousd},'
            f" history = {self.history}, min_history = {self.min_history}, stop = {str(self.stop).lower()},"
            f" fallback_ratio = {self.fallback_ratio!r}, fallback_min_jobs = {self.fallback_min_jobs}}}\n"
        )
