"""What the script that accepts jobs says when it does not, as errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import OutOfMemoryError

from penstock_schemas.errors import (
    BudgetExceededError,
    IdempotencyConflictError,
    InvalidRequestError,
    PayloadTooLargeError,
    QueueFullError,
    RateLimitedError,
    RequestError,
)
from penstock_schemas.limits import Limits
from penstock_schemas.results import moment

_LATER_S = 5.0
"""When to ask again where nothing tells."""


def refused(code: int, about: Any, more: Sequence[Any], limits: Limits) -> RequestError:
    """The error for a reply of ``enqueue.lua`` that accepts nothing: its code, and what follows that."""
    return _KINDS[code](about, more, limits)


def meant(error: Exception) -> Exception:
    """*error*, or what it means where Redis is full beyond its own bound: nothing was written then."""
    if isinstance(error.__cause__, OutOfMemoryError):
        return QueueFullError("Redis' memory is full", retry_after_s=_LATER_S)
    return error


def _conflict(about: bytes, _: Sequence[Any], __: Limits) -> RequestError:
    return IdempotencyConflictError(about.decode())


def _too_many(about: int, _: Sequence[Any], limits: Limits) -> RequestError:
    told = f"{about} jobs are open, the bound is {limits.queued_jobs}"
    return QueueFullError(told, retry_after_s=_LATER_S)


def _too_full(about: int, _: Sequence[Any], limits: Limits) -> RequestError:
    told = f"Redis' memory is {about / 10:g} % full, the bound is {limits.memory_ratio:.0%}"
    return QueueFullError(told, retry_after_s=_LATER_S)


def _over_budget(about: bytes, more: Sequence[Any], _: Limits) -> RequestError:
    scope, (wait_ms, reset_at_ms, ever) = about.decode(), more
    reset_at = moment(reset_at_ms)
    if not ever:
        told = f"the budget {scope} is smaller than what this job may cost at most; give it a lower max_cost_usd"
        return BudgetExceededError(told, scope=scope, reset_at=reset_at)
    told = f"the budget {scope} has no room for this job; it is reset at {reset_at:%Y-%m-%dT%H:%M:%SZ}"
    return BudgetExceededError(told, scope=scope, reset_at=reset_at, retry_after_s=wait_ms / 1000)


def _over_quota(about: bytes, more: Sequence[Any], _: Limits) -> RequestError:
    scope, (name, limit, wait_ms) = about.decode(), more
    kind = name.decode()
    if wait_ms >= 0:
        told = f"the quota of {scope} is {limit} {_PER_MINUTE[kind]} a minute; there is room in {wait_ms / 1000:.3g} s"
        return RateLimitedError(told, retry_after_s=wait_ms / 1000)
    if kind == "max_output_tokens":
        return InvalidRequestError(f"the quota of {scope} allows at most {limit}", field=kind)
    if kind == "request_bytes":
        return PayloadTooLargeError(f"the quota of {scope} allows requests of at most {limit} bytes")
    return RateLimitedError(f"this job alone is more than the quota of {scope}, {limit} {_PER_MINUTE[kind]} a minute")


_PER_MINUTE = {"requests_per_min": "jobs", "tokens_per_min": "tokens"}
_KINDS: dict[int, Callable[[Any, Sequence[Any], Limits], RequestError]] = {
    2: _conflict,
    3: _too_many,
    4: _too_full,
    5: _over_budget,
    6: _over_quota,
}
