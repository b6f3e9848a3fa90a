"""What a call's end says of its target's health. Pure; the scripts act on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from penstock_worker.llm.errors import (
    AccessError,
    AuthFailedError,
    CallDeadlineError,
    CallError,
    QuotaExhaustedError,
    RequestRejectedError,
    ResponseTooLargeError,
    ThrottledError,
)
from penstock_worker.llm.port import Answer
from penstock_worker.llm.rate_limits import Allowance, RateLimits

What = Literal["ok", "bad", "trip", "trip_account", "throttled", "abort"]


@dataclass(frozen=True, slots=True)
class Report:
    """How a call ended, for breaker and gate."""

    what: What
    """
    ``ok``: the target answered, be it to refuse the request. ``bad``: it failed in a way that speaks against its
    health. ``trip``: no further call can go well for now; ``trip_account``: of the whole account. ``throttled``: it
    was asked too much. ``abort``: says nothing, the call's slot is free again.
    """
    wait_ms: int = -1
    """How long the provider asked to be left alone; -1 when it did not say."""
    took_ms: int = -1
    """How long the call took; -1 when that is not known."""
    tokens: int | None = None
    """Input and output that it took; None when that is not known, and it stays counted with its estimate."""
    limits: str = ""
    """What headers told of limits: left, limit and ms until it is whole, of requests and of tokens, -1 for what was not
    said; empty when they told nothing."""

    @property
    def told(self) -> str:
        """Duration and limits, as the script reads them."""
        return f"{self.took_ms} {self.limits}" if self.limits else str(self.took_ms)


ABORTED = Report("abort")
"""Nobody saw the end of the call."""


def report_of(end: Answer | CallError) -> Report:
    """The report of a call that ended so."""
    if isinstance(end, Answer):
        tokens = end.usage.total_tokens if end.usage else None
        return Report("ok", took_ms=end.took_ms, tokens=tokens, limits=_limits(end.limits))
    wait_ms = -1 if end.retry_after_s is None else round(end.retry_after_s * 1000)
    tokens = end.usage.total_tokens if end.usage else 0 if end.billed == "no" else None
    return Report(_what(end), wait_ms=wait_ms, tokens=tokens, limits=_limits(end.limits))


def _limits(limits: RateLimits | None) -> str:
    if limits is None:
        return ""
    tokens = [each for each in (limits.tokens, limits.input_tokens, limits.output_tokens) if each is not None]
    tightest = min(tokens, key=_share, default=None)
    return " ".join(str(number) for each in (limits.requests, tightest) for number in _numbers(each))


def _share(allowance: Allowance) -> float:
    """The part that is left, as far as that is known."""
    if allowance.remaining is None or not allowance.limit:
        return 1.0
    return allowance.remaining / allowance.limit


def _numbers(allowance: Allowance | None) -> tuple[int, int, int]:
    if allowance is None or allowance.remaining is None or allowance.reset_s is None:
        return -1, -1, -1
    limit = -1 if allowance.limit is None else allowance.limit
    return allowance.remaining, limit, round(allowance.reset_s * 1000)


def _what(error: CallError) -> What:
    match error:
        case ThrottledError():
            return "throttled"
        case AuthFailedError() | QuotaExhaustedError():
            return "trip_account"
        case AccessError():
            return "trip"
        case CallError(trips_breaker=True):
            return "bad"
        case RequestRejectedError() | ResponseTooLargeError():
            return "ok"
        case CallDeadlineError() | _:
            return "abort"
