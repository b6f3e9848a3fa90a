"""What happened to a job, run by run, attempt by attempt, call by call: read from its journal.

The journal is a hash. ``<run>.<attempt>.<n>`` is a call's intent, written before it was sent; ``….:end`` what it
came to, behind one word (``answered``, ``failed``, ``unknown``); ``attempt:<run>.<attempt>`` what an attempt came
to; ``run:<run>`` what a run that was replayed had come to.
"""

from __future__ import annotations

import re
from typing import Any

import orjson
from pydantic import AwareDatetime

from penstock_schemas.jobs import JobRequest, JobStatus
from penstock_schemas.results import Contract, JobFailure, Usage, moment

_CALL = re.compile(r"^(\d+)\.(\d+)\.(\d+)$")
_ATTEMPT = re.compile(r"^attempt:(\d+)\.(\d+)$")
_RUN = re.compile(r"^run:(\d+)$")


class CallReport(Contract):
    """One provider call."""

    call: str
    """``<run>.<attempt>.<number>``."""
    target: str | None
    model: str | None
    """As the provider names it in its answer."""
    prompt: str | None
    purpose: str | None
    """``ask``, ``reask``, ``larger_cap`` or ``weaker_schema_mode``."""
    step: str | None = None
    """Of a text that was worked on in parts: which of them, as ``chunk:3``, or ``join``; None for the whole."""
    sent_at: AwareDatetime | None
    outcome: str
    """``answered``, ``failed``, ``unknown``, or ``open`` when its end was never written."""
    error: str | None
    """The error's class, such as ``throttled``; None for an answer."""
    status: int | None
    """The provider's HTTP status; None when there was none."""
    stop: str | None
    """Why the answer ended, such as ``length``."""
    request_id: str | None
    """The provider's own id, to be told to its support."""
    took_ms: int | None
    first_content_ms: int | None
    usage: Usage | None
    cost_nanousd: int | None
    """None: unknown."""
    uncertain_nanousd: int
    """The most it may have cost when it is not known whether it was billed; else 0."""


class AttemptReport(Contract):
    """One attempt and its calls."""

    number: int
    error: str | None
    """Why it gave no result; None when it did, or when its end was never written."""
    started_at: AwareDatetime | None
    ended_at: AwareDatetime | None
    calls: tuple[CallReport, ...]


class RunReport(Contract):
    """One run: what it came to, and its attempts."""

    run: int
    state: str
    failure: JobFailure | None
    attempts: tuple[AttemptReport, ...]
    cost_nanousd: int | None
    """Of all its calls; None when that of one is unknown."""
    uncertain_nanousd: int


class LetterReport(Contract):
    """A job in full: what was asked for, where it is, and every run of it."""

    status: JobStatus
    request: JobRequest | None
    """None when it cannot be read any more."""
    runs: tuple[RunReport, ...]


def read_runs(status: JobStatus, journal: dict[bytes, bytes]) -> tuple[RunReport, ...]:
    """The runs that *journal* tells of, oldest first. What cannot be read in it is left out."""
    fields = {name.decode("utf-8", "replace"): value for name, value in journal.items()}
    calls: dict[tuple[int, int], list[CallReport]] = {}
    for name in sorted((name for name in fields if _CALL.match(name)), key=_place):
        run, attempt, _ = _place(name)
        calls.setdefault((run, attempt), []).append(_call(name, fields))
    summaries = {_attempt_place(name): _json(fields[name]) for name in fields if _ATTEMPT.match(name)}
    places = sorted(calls.keys() | summaries.keys())
    attempts = {at: _attempt(at[1], summaries.get(at, {}), calls.get(at, [])) for at in places}
    past = {_numbers(_RUN, name)[0]: _json(fields[name]) for name in fields if _RUN.match(name)}
    runs = sorted({status.run, *past, *(run for run, _ in places)})
    return tuple(_run(n, status, past, [attempts[at] for at in places if at[0] == n]) for n in runs)


def _place(name: str) -> tuple[int, int, int]:
    run, attempt, number = _numbers(_CALL, name)
    return run, attempt, number


def _attempt_place(name: str) -> tuple[int, int]:
    run, attempt = _numbers(_ATTEMPT, name)
    return run, attempt


def _numbers(pattern: re.Pattern[str], name: str) -> tuple[int, ...]:
    match = pattern.match(name)
    assert match is not None
    return tuple(int(part) for part in match.groups())


def _json(text: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _call(name: str, fields: dict[str, bytes]) -> CallReport:
    intent = _json(fields[name])
    kind, _, text = fields.get(f"{name}:end", b"open {}").partition(b" ")
    end = _json(text)
    is_open = kind == b"open"
    return CallReport(
        call=name,
        target=intent.get("target"),
        model=end.get("model"),
        prompt=intent.get("prompt"),
        purpose=intent.get("purpose"),
        step=intent.get("step"),
        sent_at=_moment(intent.get("at_ms")),
        outcome=kind.decode(),
        error=end.get("error"),
        status=end.get("status"),
        stop=end.get("stop"),
        request_id=end.get("request_id"),
        took_ms=end.get("took_ms"),
        first_content_ms=end.get("first_content_ms"),
        usage=Usage.model_validate(end["usage"]) if end.get("usage") else None,
        cost_nanousd=0 if is_open else end.get("cost_nanousd"),
        uncertain_nanousd=(intent.get("held_nanousd") or 0) if is_open else end.get("uncertain_nanousd", 0),
    )


def _attempt(number: int, summary: dict[str, Any], calls: list[CallReport]) -> AttemptReport:
    return AttemptReport(
        number=number,
        error=summary.get("error"),
        started_at=_moment(summary.get("started_at_ms")),
        ended_at=_moment(summary.get("ended_at_ms")),
        calls=tuple(calls),
    )


def _run(run: int, status: JobStatus, past: dict[int, dict[str, Any]], attempts: list[AttemptReport]) -> RunReport:
    calls = [call for attempt in attempts for call in attempt.calls]
    costs = [call.cost_nanousd for call in calls]
    state, failure = _came_to(run, status, past)
    return RunReport(
        run=run,
        state=state,
        failure=failure,
        attempts=tuple(attempts),
        cost_nanousd=None if None in costs else sum(cost for cost in costs if cost is not None),
        uncertain_nanousd=sum(call.uncertain_nanousd for call in calls),
    )


def _came_to(run: int, status: JobStatus, past: dict[int, dict[str, Any]]) -> tuple[str, JobFailure | None]:
    """State and failure of a run: of the newest from the record, of an earlier one from what it left behind."""
    if run == status.run:
        return status.state.value, status.failure or (status.result.failure if status.result else None)
    end = past.get(run, {})
    if "state" in end:
        failure = end.get("failure")
        return str(end["state"]), JobFailure.model_validate(failure) if failure else None
    return "dead", JobFailure.model_validate(end) if "code" in end else None


def _moment(at_ms: int | None) -> Any:
    return None if at_ms is None else moment(at_ms)
