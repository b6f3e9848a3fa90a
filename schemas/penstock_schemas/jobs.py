"""The job: what is asked for, the states it goes through, and the record that Redis keeps of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, Field

from penstock_schemas.limits import (
    DEFAULT_PRIORITY,
    MAX_ATTEMPTS,
    MAX_DEADLINE_S,
    MAX_DELAY_S,
    MAX_OUTPUT_TOKENS,
    MAX_PRIORITY,
    MAX_TOTAL_TOKENS,
    NAME_PATTERN,
    TASK_PATTERN,
    USER_PATTERN,
)
from penstock_schemas.results import MAX_NANOUSD, Contract, JobFailure, JobResult

REQUEST_VERSION: Final = 1
"""Version of :class:`JobRequest`. A reader takes every version up to its own, and leaves a newer one alone."""

ALWAYS_WRITTEN: Final = frozenset(
    {
        "version",
        "task",
        "input",
        "tenant",
        "lane",
        "delay_s",
        "deadline_s",
        "max_attempts",
        "max_cost_nanousd",
        "on_failure",
        "stream",
        "metadata",
    }
)
"""The fields of :class:`JobRequest` that every stored request spells out: those of the first release. Never add to it.

A field that came later is left out where it has its default. So a request that does not use it has the bytes, and the
fingerprint, that a producer gave it who did not know the field, and a worker who does not know it can read it.
"""

RECORD_VERSION: Final = 1
"""Version of the record's layout in Redis."""


class JobState(StrEnum):
    """Where a job is. The last five are terminal."""

    QUEUED = "queued"
    SCHEDULED = "scheduled"
    """It waits for a time: a delay asked for, a retry, or a target that is closed until then."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    DEGRADED = "degraded"
    """It has a labelled answer that no model gave; it can be replayed for a real one."""
    DEAD = "dead"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    """Its deadline passed before it was started."""

    @property
    def terminal(self) -> bool:
        """Whether the run is over."""
        return self not in (JobState.QUEUED, JobState.SCHEDULED, JobState.RUNNING)


class Lane(StrEnum):
    """How urgent a job is. Lanes share the workers by weight; none starves."""

    INTERACTIVE = "interactive"
    STANDARD = "standard"
    BULK = "bulk"


Name = Annotated[str, Field(strict=True, pattern=f"^{NAME_PATTERN}$")]
User = Annotated[str, Field(strict=True, pattern=f"^{USER_PATTERN}$")]
MetadataKey = Annotated[str, Field(strict=True, min_length=1, max_length=64, pattern=r"^[\x20-\x7e]+$")]
MetadataValue = Annotated[str, Field(strict=True, max_length=256)]


class JobRequest(Contract):
    """One unit of work as it was asked for; immutable, kept with the job."""

    version: Literal[1] = REQUEST_VERSION
    task: Annotated[str, Field(strict=True, pattern=f"^{TASK_PATTERN}$")]
    input: dict[str, Any]
    """The task's input as plain JSON."""
    tenant: Name
    lane: Lane = Lane.STANDARD
    delay_s: Annotated[float, Field(strict=True, ge=0, le=MAX_DELAY_S, allow_inf_nan=False)] = 0.0
    """Seconds from enqueue before which it is not started."""
    deadline_s: Annotated[float, Field(strict=True, gt=0, le=MAX_DEADLINE_S, allow_inf_nan=False)] | None = None
    """Seconds from enqueue after which nobody wants the answer; None: no deadline. Renewed by a replay."""
    max_attempts: Annotated[int, Field(strict=True, ge=1, le=MAX_ATTEMPTS)] = 5
    """Attempts that may fail before it is degraded or dead. A worker's death is none."""
    max_cost_nanousd: Annotated[int, Field(strict=True, ge=0, le=MAX_NANOUSD)] | None = None
    """The most that all calls of a run may cost together; None: no bound of its own."""
    on_failure: Literal["degrade", "dead_letter"] = "degrade"
    """When no model gives an answer: a labelled one of the task's fallback, or a dead letter."""
    stream: Annotated[bool, Field(strict=True)] = False
    """Publish the answer's text as it comes, as events."""
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=32)] = Field(default_factory=dict)
    """The caller's own notes, given back as they are."""
    priority: Annotated[int, Field(strict=True, ge=0, le=MAX_PRIORITY)] = DEFAULT_PRIORITY
    """Which of the tenant's due jobs in this lane goes first: the higher, until a lower one has waited an hour longer
    for each step between them. As in AMQP 1.0 and JMS, from 0 to 9, and 4 unless said otherwise."""
    user: User | None = None
    """On whose behalf, within the tenant: what budgets, limits and the ledger count by. None: nobody's own."""
    max_total_tokens: Annotated[int, Field(strict=True, ge=0, le=MAX_TOTAL_TOKENS)] | None = None
    """The most tokens, input and output, that all calls of a run may take together; None: no bound of its own."""
    max_output_tokens: Annotated[int, Field(strict=True, ge=1, le=MAX_OUTPUT_TOKENS)] | None = None
    """The cap of one answer, thinking included, where it is lower than the route's; None: the route's."""

    @property
    def bounded(self) -> bool:
        """Whether it has a bound of its own on what its calls may come to."""
        return self.max_cost_nanousd is not None or self.max_total_tokens is not None


class JobStatus(Contract):
    """What is known of a job at one moment."""

    job_id: str
    task: str
    tenant: str
    lane: Lane
    priority: int = DEFAULT_PRIORITY
    """From 0 to 9; the higher goes first."""
    state: JobState
    run: int
    """1 for the first run, one more for each replay."""
    attempts: int
    """Attempts charged to this run so far."""
    calls: int
    """Provider requests sent in this run so far."""
    created_at: AwareDatetime
    due_at: AwareDatetime
    """When it may start, or might have started."""
    started_at: AwareDatetime | None
    """When its last attempt was started; None before the first."""
    ended_at: AwareDatetime | None
    deadline_at: AwareDatetime | None
    result: JobResult[Any] | None
    """Of a succeeded or degraded job."""
    failure: JobFailure | None
    """Of a dead job."""
