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


ABORTED = Report("abort")
"""Nobody saw the end of the call."""


def report_of(end: Answer | CallError) -> Report:
    """The report of a call that ended so."""
    if isinstance(end, Answer):
        return Report("ok", took_ms=end.took_ms, tokens=end.usage.total_tokens if end.usage else None)
    wait_ms = -1 if end.retry_after_s is None else round(end.retry_after_s * 1000)
    tokens = end.usage.total_tokens if end.usage else 0 if end.billed == "no" else None
    return Report(_what(end), wait_ms=wait_ms, tokens=tokens)


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
