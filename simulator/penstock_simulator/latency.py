"""How long a generation takes: constant, uniform or log-normal, drawn from a seeded generator."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

_DURATION = re.compile(r"^\s*([0-9]*\.?[0-9]+)\s*(ms|s|m|)\s*$")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "": 1.0}
_Z_P99 = 2.3263478740408408
"""The standard normal deviate below which 99 % lie."""


def parse_duration_s(text: str) -> float:
    """Seconds in `200ms`, `1.5s`, `2m` or a bare number of seconds; ValueError for anything else."""
    match = _DURATION.match(text)
    if match is None:
        raise ValueError(f"not a duration: {text!r}; write 200ms, 1.5s or 2m")
    return float(match[1]) * _UNITS_S[match[2]]


@dataclass(frozen=True, slots=True)
class Latency:
    """A distribution of whole-answer times; a stream spreads its drawn time over its events."""

    text: str
    draw_s: Callable[[Random], float]
    """One time in seconds, >= 0."""

    @classmethod
    def parse(cls, text: str) -> Latency:
        """Read `200ms`, `uniform:200ms..800ms` or `lognormal:median=800ms,p99=6s`.

        ValueError says which part is wrong. The log-normal's sigma is ln(p99 / median) / 2.326.
        """
        kind, _, rest = text.partition(":")
        if not rest:
            constant_s = parse_duration_s(text)
            return cls(text, lambda _random: constant_s)
        if kind == "uniform":
            return cls(text, _uniform(rest))
        if kind == "lognormal":
            return cls(text, _lognormal(rest))
        raise ValueError(f"unknown latency {kind!r}; write 200ms, uniform:… or lognormal:…")


def _uniform(rest: str) -> Callable[[Random], float]:
    low, separator, high = rest.partition("..")
    if not separator:
        raise ValueError(f"uniform needs low..high, not {rest!r}")
    low_s, high_s = parse_duration_s(low), parse_duration_s(high)
    if high_s < low_s:
        raise ValueError(f"uniform needs low <= high, not {rest!r}")
    return lambda random: random.uniform(low_s, high_s)


def _lognormal(rest: str) -> Callable[[Random], float]:
    fields = dict(part.partition("=")[::2] for part in rest.split(","))
    if set(fields) != {"median", "p99"}:
        raise ValueError(f"lognormal needs median=… and p99=…, not {rest!r}")
    median_s, p99_s = parse_duration_s(fields["median"]), parse_duration_s(fields["p99"])
    if not 0 < median_s <= p99_s:
        raise ValueError(f"lognormal needs 0 < median <= p99, not {rest!r}")
    sigma = math.log(p99_s / median_s) / _Z_P99
    return lambda random: random.lognormvariate(math.log(median_s), sigma)
