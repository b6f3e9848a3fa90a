"""The record that one attempt is about."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from pydantic import ValidationError

from penstock_schemas.errors import CorruptRecordError, RequestError
from penstock_schemas.jobs import REQUEST_VERSION, JobRequest
from penstock_schemas.results import TriedTarget
from penstock_schemas.validation import first_fault
from penstock_worker.attempt.journal import CallEntry, Journal, Step, read_journal
from penstock_worker.engine.lease import Lease
from penstock_worker.routing.routes import Route, Routes
from penstock_worker.tasks.definition import Task

CALLS_PER_ATTEMPT = 6
"""Provider requests that a run may make for each attempt it is allowed: re-asks, other targets, and what is lost."""


@dataclass(slots=True)
class Attempt:
    """One attempt: the job as it was asked for, what has happened to it, and where it may go."""

    lease: Lease
    request: JobRequest
    task: Task[Any]
    asked: Any
    """The task's input."""
    route: Route
    run: int
    number: int
    """From 1; charged attempts of this run, this one included."""
    created_at_ms: int
    started_at_ms: int
    started: float
    """``time.monotonic()`` at the start."""
    deadline_at_ms: int | None
    journal: Journal
    made: list[CallEntry] = field(default_factory=list)
    intending: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a call is numbered, checked against what is left, and written down: one at a time."""
    tried: list[TriedTarget] = field(default_factory=list)
    """Targets that gave no result in this attempt, and why, in order."""
    step: Step | None = None
    """Set: this is not about the job itself but about one of its steps."""
    step_calls: int = 0
    """Provider requests that the run may make because it works in parts."""

    @property
    def job_id(self) -> str:
        return self.lease.job_id

    @property
    def deadline(self) -> float | None:
        """The job's deadline by ``time.monotonic()``; None without one."""
        if self.deadline_at_ms is None:
            return None
        return self.started + (self.deadline_at_ms - self.started_at_ms) / 1000

    @property
    def max_calls(self) -> int:
        """The envelope: provider requests that this run may make in all."""
        return self.request.max_attempts * (CALLS_PER_ATTEMPT + self.task.most_rounds) + self.step_calls

    @property
    def last(self) -> bool:
        """Whether a failure of this attempt is the run's."""
        return self.number >= self.request.max_attempts

    def now_ms(self) -> int:
        """Redis' time, as far as it can be told from its time at the claim."""
        return self.started_at_ms + round((time.monotonic() - self.started) * 1000)

    def late_by(self, delay_s: float = 0.0) -> bool:
        """Whether the deadline has passed, or will have in *delay_s*."""
        return self.deadline is not None and time.monotonic() + delay_s >= self.deadline

    def spent_nanousd(self) -> int:
        """What this run's calls cost or may have cost so far; a call of unknown price counts as nothing."""
        calls = self.journal.of_run()
        return sum((call.cost_nanousd or 0) + call.uncertain_nanousd for call in calls)

    def taken_tokens(self) -> int:
        """What tokens this run's calls took or may have taken so far."""
        return sum(call.most_tokens for call in self.journal.of_run())


class NewerVersionError(Exception):
    """The request is of a version that this worker does not know; another may."""


def read_attempt(
    lease: Lease,
    tasks: dict[str, Task[Any]],
    routes: Routes,
    output_cap: Callable[[str, str | None], int | None] = lambda tenant, user: None,
) -> Attempt:
    """The attempt that a claimed record's payload describes. *output_cap*: of an answer, by tenant and user.

    Raises NewerVersionError, and CorruptRecordError when it cannot be read.
    """
    _, request_json, journal, run, number, _calls, created, deadline, target, _cost, now, key = lease.payload
    try:
        request = _read_request(request_json)
        task = tasks[request.task]
        asked = task.input_type.model_validate(request.input)
        run, number = int(run), int(number)
        calls = read_journal(journal, run, number)
        route = routes.route(request.task, target.decode() or None, key.decode() or lease.job_id, calls.arms())
        return Attempt(
            lease=lease,
            request=request,
            task=task,
            asked=asked,
            route=_capped(route, request.max_output_tokens, output_cap(request.tenant, request.user)),
            run=run,
            number=number,
            created_at_ms=int(created),
            started_at_ms=int(now),
            started=time.monotonic(),
            deadline_at_ms=int(deadline) if deadline else None,
            journal=calls,
        )
    except ValidationError as error:
        path, _ = first_fault(error)
        raise CorruptRecordError(
            lease.job_id, f"its request does not fit the contract at {path.split('.')[0] or 'the root'}"
        ) from None
    except RequestError as error:
        raise CorruptRecordError(lease.job_id, f"its request does not fit its task ({error.code})") from None
    except (KeyError, ValueError) as error:
        raise CorruptRecordError(lease.job_id, f"{type(error).__name__} in its request or journal") from None


def _capped(route: Route, *caps: int | None) -> Route:
    least = min((cap for cap in caps if cap is not None), default=route.max_output_tokens)
    return route if least >= route.max_output_tokens else replace(route, max_output_tokens=least)


def _read_request(text: bytes) -> JobRequest:
    try:
        return JobRequest.model_validate_json(text)
    except ValidationError:
        plain = orjson.loads(text)
        version = plain.get("version") if isinstance(plain, dict) else None
        if isinstance(version, int) and version > REQUEST_VERSION:
            raise NewerVersionError from None
        raise
