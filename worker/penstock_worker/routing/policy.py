"""How a provider is spared: when a breaker opens and closes, how fast a target comes back, what it may be sent.

The numbers are pasted into the scripts as text, so that a call carries none of them. Two workers with different
numbers share the state all the same; each decides by its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

BUCKETS = 6
"""Parts of the breaker's window; it slides by one of them at a time."""


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a target is left alone, for how long, and how it is tried again."""

    enabled: bool = True
    """False leaves it to something between us and the provider; a stated wait is obeyed all the same."""
    window_s: float = 30.0
    """How far back failures count."""
    min_calls: int = 20
    """Below so many calls in the window the rate of failures says nothing."""
    failure_ratio: float = 0.5
    """The part of the window's calls, over 0 to 1, from which on the breaker opens."""
    all_failed_calls: int = 5
    """So many failures without one success in the window open it too: the rule for targets with few calls."""
    open_s: float = 5.0
    """How long it is open at first; each opening that follows on another takes twice as long."""
    max_open_s: float = 60.0
    """The longest that doubling leads to. A provider that asks for longer gets it."""
    access_open_s: float = 30.0
    """The same for a refused key, an empty account or an unknown model."""
    max_access_open_s: float = 60.0
    """So that a key that was changed, or an account that was filled, is noticed within a minute."""
    probes: int = 3
    """Calls that are let through to a target whose time is over; it closes when as many have gone well."""
    ramp_s: float = 10.0
    """From a reopening to full speed: five calls in the first second, twice as many in each that follows."""


@dataclass(frozen=True, slots=True)
class TargetLimits:
    """What one target may be sent by all workers together; None is no limit."""

    requests_per_min: int | None = None
    tokens_per_min: int | None = None
    """Input and output. A call counts with an estimate when it starts, and with its usage when it ends."""
    max_in_flight: int | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """All of it for one worker."""

    breaker: BreakerPolicy = BreakerPolicy()
    limits: Mapping[str, TargetLimits] = field(default_factory=dict)
    """Provider -> limits of each of its targets."""

    def lua(self) -> str:
        """The tables ``RULE`` and ``LIMITS`` that the scripts read, times in ms."""
        rule = {name.removesuffix("_s"): _ms(name, value) for name, value in _values(self.breaker)}
        rule["bucket"] = rule["window"] / BUCKETS
        limits = {provider: dict(_values(limits)) for provider, limits in self.limits.items()}
        rows = [f"[{_quoted(provider)}] = {_table(row)}" for provider, row in sorted(limits.items()) if row]
        return f"local RULE = {_table(rule)}\nlocal LIMITS = {{{', '.join(rows)}}}\n"


def _values(section: BreakerPolicy | TargetLimits) -> list[tuple[str, float]]:
    pairs = [(item.name, getattr(section, item.name)) for item in fields(section)]
    return [(name, value) for name, value in pairs if value is not None]


def _ms(name: str, value: float) -> float:
    return value * 1000 if name.endswith("_s") else value


def _table(row: Mapping[str, float]) -> str:
    return "{" + ", ".join(f"{name} = {repr(value).lower()}" for name, value in row.items()) + "}"


def _quoted(text: str) -> str:
    """A Lua string of these bytes, whatever they are."""
    return '"' + "".join(f"\\{byte:03d}" for byte in text.encode()) + '"'
