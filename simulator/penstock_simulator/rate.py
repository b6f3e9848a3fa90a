"""A provider's rate limits: requests and tokens per minute.

Each limit is a bucket that holds a minute's worth and refills evenly. As at OpenAI, a call counts its prompt
and its output cap when it is let in, whatever it generates, and a refused call counts nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from penstock_simulator.ask import RefusedError, trouble


@dataclass(frozen=True, slots=True)
class Standing:
    """How one limit stands, for the headers that tell of it."""

    name: str
    """`requests` or `tokens`."""
    limit: int
    remaining: int
    full_in_s: float
    """Seconds until nothing of it is used."""
    at_s: float
    """When this was so, in seconds since the epoch."""


@dataclass(slots=True)
class _Bucket:
    """One limit; `level` is what is left of it."""

    per_minute: int
    level: float
    at_s: float = 0.0

    def refill(self, now_s: float) -> None:
        passed_s = max(now_s - self.at_s, 0.0)
        self.level = min(self.level + passed_s * self.per_minute / 60, float(self.per_minute))
        self.at_s = now_s

    def wait_s(self, amount: int) -> float:
        """Seconds until *amount* fits; 0 if it does now."""
        return max(min(amount, self.per_minute) - self.level, 0.0) * 60 / self.per_minute

    def full_in_s(self) -> float:
        return (self.per_minute - self.level) * 60 / self.per_minute


class RateLimits:
    """The limits of one key over all models; without any, every call is let in and no header is sent."""

    def __init__(self, requests_per_min: int | None = None, tokens_per_min: int | None = None) -> None:
        """ValueError for a limit below 1; None is no limit."""
        limits = {"requests": requests_per_min, "tokens": tokens_per_min}
        for name, limit in limits.items():
            if limit is not None and limit < 1:
                raise ValueError(f"{name} per minute must be at least 1, not {limit}")
        self._limits = {name: limit for name, limit in limits.items() if limit is not None}
        self._buckets: dict[str, _Bucket] = {}
        self.reset()

    def reset(self) -> None:
        """Fill all buckets."""
        self._buckets = {name: _Bucket(limit, float(limit)) for name, limit in self._limits.items()}

    def admit(self, model: str, tokens: int, now_s: float) -> tuple[Standing, ...]:
        """Let a call of *tokens* in and tell what is left; RefusedError with how long to wait if it does not fit."""
        if not self._buckets:
            return ()
        amounts = {"requests": 1, "tokens": tokens}
        for name, bucket in self._buckets.items():
            bucket.refill(now_s)
            wait_s = bucket.wait_s(amounts[name])
            if wait_s > 0:
                facts = {"model": model, "about": name, "limit": self._limits[name], "wait_s": wait_s}
                raise RefusedError(trouble("rate_limit", **facts, standings=self._standings()))
        for name, bucket in self._buckets.items():
            bucket.level -= amounts[name]
        return self._standings()

    def _standings(self) -> tuple[Standing, ...]:
        return tuple(
            Standing(name, bucket.per_minute, max(int(bucket.level), 0), bucket.full_in_s(), bucket.at_s)
            for name, bucket in self._buckets.items()
        )


def duration(seconds: float) -> str:
    """`20ms`, `1.5s` or `6m0s`, as OpenAI writes them."""
    if seconds < 1:
        return f"{max(int(seconds * 1000), 0)}ms"
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}m{int(rest)}s" if minutes else f"{rest:.3g}s"
