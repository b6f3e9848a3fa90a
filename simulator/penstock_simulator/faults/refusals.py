"""Faults that answer with an error instead of a generation.

They say what went wrong; each wire format has the status, the code and the words for it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from penstock_simulator.ask import Ask, Kind, Problem, trouble
from penstock_simulator.faults.kinds import Params, RefuseFault


def status(params: Params, _ask: Ask) -> Problem:
    """The error of a status, with whatever was given in its place."""
    return Problem(
        status=params.integer("status"),
        message=params.text("message"),
        type=params.text("type"),
        code=params.text("code") or None,
        headers=_retry_headers(params),
        kind="status",
    )


def context_length(params: Params, ask: Ask) -> Problem:
    """As of a prompt too long for the model."""
    limit = params.integer("limit")
    return trouble("context_length", model=ask.model, limit=limit, prompt=limit + 1000, cap=0)


def of_kind(kind: Kind) -> RefuseFault:
    """The fault whose problem is *kind*."""

    def refuse(params: Params, ask: Ask) -> Problem:
        headers = _retry_headers(params) if "retry-after" in params.as_dict() else {}
        return replace(trouble(kind, model=ask.model), headers=headers)

    return refuse


def _retry_headers(params: Params) -> dict[str, str]:
    headers = {}
    if params.text("retry-after"):
        headers["retry-after"] = _retry_after(params.text("retry-after"))
    if params.text("retry-after-ms"):
        headers["retry-after-ms"] = params.text("retry-after-ms")
    if params.text("should-retry"):
        headers["x-should-retry"] = params.text("should-retry")
    return headers


def _retry_after(text: str) -> str:
    """The header's value: as given, or an HTTP date for `date+30` and `date-30` (seconds from now)."""
    if not text.startswith("date"):
        return text
    moment = datetime.now(UTC) + timedelta(seconds=float(text.removeprefix("date") or 0))
    return format_datetime(moment.replace(microsecond=0), usegmt=True)
