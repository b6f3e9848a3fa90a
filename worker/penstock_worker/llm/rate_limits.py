"""What is left of an account's limits, from the headers of any response.

Three dialects: OpenAI's ``x-ratelimit-remaining-tokens`` with durations such as ``6m0s`` (and Azure's, with plain
seconds, and with 0 or -1 for "not known"); Anthropic's ``anthropic-ratelimit-tokens-remaining`` with moments in
RFC 3339; and ``x-ratelimit-remaining`` alone, for requests, with a Unix time (OpenRouter).
"""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_MAX_RESET_S = 31 * 86_400.0
_MAX_COUNT = 10**12
_UNIX_FROM = 1e9
"""A plain number from here on is a moment, not a duration; from a thousand times that, in milliseconds."""


class Allowance(NamedTuple):
    """One limit."""

    limit: int | None
    """The most in a window; None when it is not said."""
    remaining: int | None
    reset_s: float | None
    """Seconds until it is whole again, ≥ 0; None when it is not said."""


class RateLimits(NamedTuple):
    """The limits that a response told of; None for each that it did not."""

    requests: Allowance | None = None
    tokens: Allowance | None = None
    """Input and output together."""
    input_tokens: Allowance | None = None
    output_tokens: Allowance | None = None


def rate_limits(headers: Mapping[str, str], now: datetime) -> RateLimits | None:
    """Read *headers*, whose names are lower case; None when they tell nothing usable. *now* is aware."""
    if not any("ratelimit" in name for name in headers):
        return None
    doubtful = "apim-request-id" in headers or "x-ms-region" in headers  # Azure
    found = {name: _allowance(headers, name, now, doubtful) for name in RateLimits._fields}
    return RateLimits(**found) if any(found.values()) else None


def _allowance(headers: Mapping[str, str], name: str, now: datetime, doubtful: bool) -> Allowance | None:
    words = name.replace("_", "-")
    shapes = ["x-ratelimit-{}-" + words, "anthropic-ratelimit-" + words + "-{}"]
    if name == "requests":
        shapes.append("x-ratelimit-{}")
    for shape in shapes:
        limit, remaining, reset = (headers.get(shape.format(part)) for part in ("limit", "remaining", "reset"))
        seen = Allowance(_count(limit, doubtful), _count(remaining, doubtful), _reset_s(reset, now))
        if seen.limit is not None or seen.remaining is not None:
            return seen
    return None


def _count(value: str | None, doubtful: bool) -> int | None:
    if value is None or not value.isascii() or not value.isdigit() or len(value) > 15:
        return None
    number = int(value)
    return None if number > _MAX_COUNT or (doubtful and number == 0) else number


def _reset_s(value: str | None, now: datetime) -> float | None:
    if not value or len(value) > 64:
        return None
    text = value.strip()
    seconds = _duration_s(text)
    if seconds is None:
        seconds = _plain_s(text, now)
    if seconds is None:
        seconds = _until_s(text, now)
    return None if seconds is None else min(max(seconds, 0.0), _MAX_RESET_S)


def _duration_s(text: str) -> float | None:
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _UNIT_S[unit] for number, unit in parts)


def _plain_s(text: str, now: datetime) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    if number < _UNIX_FROM:
        return number
    return (number / 1000 if number >= _UNIX_FROM * 1000 else number) - now.timestamp()


def _until_s(text: str, now: datetime) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)
    return (aware - now).total_seconds()
