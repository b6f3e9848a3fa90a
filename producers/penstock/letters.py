"""What is said about a dead or degraded job: as a line of a list, as a choice, as a plan and its outcome."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import orjson
from pydantic import AwareDatetime, ValidationError

from penstock_schemas.errors import JobError
from penstock_schemas.results import Contract, JobFailure, moment

LetterState = Literal["dead", "degraded"]

FIELDS = (
    *("tenant", "task", "lane", "state", "run", "attempt", "calls", "created_at", "ended_at"),
    *("cost_nanousd", "uncertain_nanousd", "failure", "result"),
)
"""Fields of the record that a letter is made of, in the order in which :func:`parse_letter` takes them."""

_UNREADABLE = JobFailure(code="corrupt_record", message="What Redis holds of the job could not be read.")


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which letters are meant; a field that is None lets all pass."""

    task: str | None = None
    code: str | None = None
    """Code of the failure, or of the last error behind it: ``attempts_exhausted`` and ``throttled`` find the same."""
    since: datetime | None = None
    """Ended at this moment or later; aware."""
    until: datetime | None = None
    """Ended at this moment or earlier; aware."""

    def __contains__(self, letter: DeadLetter) -> bool:
        """Whether *letter* is meant, times aside: those are asked of Redis."""
        return self.task in (None, letter.task) and self.code in (None, *letter.codes)


class DeadLetter(Contract):
    """A job without an answer of a model, in short."""

    job_id: str
    tenant: str
    task: str
    lane: str
    state: str
    """``dead`` or ``degraded``."""
    run: int
    attempts: int
    """Of the newest run."""
    calls: int
    """Of the newest run."""
    created_at: AwareDatetime
    ended_at: AwareDatetime
    failure: JobFailure
    cost_nanousd: int
    """Known costs of all runs."""
    uncertain_nanousd: int
    """The most that calls of unknown outcome may have cost besides, over all runs."""

    @property
    def codes(self) -> tuple[str | None, str | None]:
        """Code of the failure and of the last error behind it."""
        return self.failure.code, self.failure.last_error


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """What a replay would do."""

    count: int
    refused: tuple[JobError, ...]
    """Why jobs that were named would not be run again."""
    cost_before_nanousd: int | None
    """What their last runs cost; None when that of one is unknown."""
    uncertain_before_nanousd: int
    """The most that calls of those runs with an unknown outcome may have cost besides."""
    cost_bound_nanousd: int | None
    """What the new runs may cost: of each job its own limit; without one, the greater of what its last run cost
    (uncertain calls included) and the most that one call of it could have. None when that is unknown for one:
    no call was made, a price is not known, or another target is asked for."""


@dataclass(frozen=True, slots=True)
class LetterOutcome:
    """What became of one letter."""

    job_id: str
    run: int | None = None
    """The new run of a replay; None for a purge, and when it was refused."""
    refused: JobError | None = None
    """Why nothing was done; None when it was."""


def parse_letter(job_id: str, row: list[bytes | None]) -> DeadLetter:
    """A letter from the values of :data:`FIELDS`. One that cannot be read says so as its failure."""
    fields = {name: value for name, value in zip(FIELDS, row, strict=True) if value is not None}
    text = {name: _text(fields, name) for name in ("tenant", "task", "lane", "state")}
    names = ("run", "attempt", "calls", "created_at", "ended_at", "cost_nanousd", "uncertain_nanousd")
    number = {name: _number(fields.get(name)) for name in names}
    return DeadLetter(
        job_id=job_id,
        **text,
        run=number["run"],
        attempts=number["attempt"],
        calls=number["calls"],
        created_at=moment(number["created_at"]),
        ended_at=moment(number["ended_at"]),
        failure=_failure(fields),
        cost_nanousd=number["cost_nanousd"],
        uncertain_nanousd=number["uncertain_nanousd"],
    )


def unreadable(tenant: str, state: str) -> list[bytes | None]:
    """What stands for the values of a record that is none."""
    known = {"tenant": tenant, "task": "unknown", "state": state}
    return [known[name].encode() if name in known else None for name in FIELDS]


def _text(fields: dict[str, bytes], name: str) -> str:
    return fields.get(name, b"").decode("utf-8", "replace")


def _number(value: bytes | None) -> int:
    try:
        return int(value or 0)
    except ValueError:
        return 0


def _failure(fields: dict[str, bytes]) -> JobFailure:
    """Of a dead job its own, of a degraded one that behind its answer."""
    try:
        found: Any = (
            orjson.loads(fields["failure"]) if "failure" in fields else orjson.loads(fields["result"])["failure"]
        )
        return JobFailure.model_validate(found)
    except (KeyError, TypeError, ValueError, ValidationError):
        return _UNREADABLE
