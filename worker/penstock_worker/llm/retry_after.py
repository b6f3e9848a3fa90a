"""How long a provider asks to wait, from its headers."""

import math
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

MAX_WAIT_S = 86_400.0
"""A longer wait than a day is taken for a day; its job is parked, not slept on, in either case."""


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds to wait, 0 to :data:`MAX_WAIT_S`; None when no header says anything usable.

    Read in the order of the vendors' own SDKs: ``retry-after-ms``, ``x-ms-retry-after-ms``, then
    ``retry-after`` in seconds (fractions occur) or as an HTTP date, compared with *now* (aware). Negative
    numbers and past dates are 0: the caller's least backoff. NaN and words are as if absent. The names in
    *headers* are lower case.
    """
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        ms = _number(headers.get(name))
        if ms is not None:
            return _within(ms / 1000)
    value = headers.get("retry-after")
    seconds = _number(value)
    return _within(seconds) if seconds is not None else _until(value, now)


def should_retry(headers: Mapping[str, str]) -> bool | None:
    """What ``x-should-retry`` says, which beats the status; None when it says nothing."""
    return {"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower())


def _number(value: str | None) -> float | None:
    if value is None or len(value) > 32 or "_" in value:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return None if math.isnan(number) else number


def _until(value: str | None, now: datetime) -> float | None:
    if value is None or len(value) > 64:
        return None
    try:
        moment = parsedate_to_datetime(value)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)
        return _within((aware - now).total_seconds())
    except (ValueError, OverflowError):
        return None


def _within(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_WAIT_S)
