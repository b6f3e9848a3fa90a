"""What can go wrong, as seen by whoever enqueues a job or waits for it.

    PenstockError
    ├── RequestError                 refused before anything was written
    │   ├── InvalidRequestError          a field is missing, unknown or out of range
    │   ├── PayloadTooLargeError         more bytes than the limit
    │   ├── TooDeepError                 nested deeper than the limit
    │   ├── SchemaRejectedError          a JSON Schema outside the supported subset
    │   ├── UnknownTaskError             no such task
    │   ├── IdempotencyConflictError     the key belongs to another request
    │   ├── QueueFullError               the queue's bound is reached; try later
    │   ├── RateLimitedError             over a limit per minute; try later
    │   └── BudgetExceededError          a budget does not have room
    ├── UnavailableError             Redis did not answer; whether it was written may be unknown
    │   └── DurabilityError              it is written, but not in time as durably as was asked
    ├── JobError                     about one job
    │   ├── JobNotFoundError             no such job for this tenant, or its record is past retention
    │   ├── JobDeadError                 it failed for good; a dead letter
    │   ├── JobCancelledError            it was cancelled
    │   ├── JobExpiredError              its deadline passed before it was started
    │   ├── ResultTimeoutError           not terminal yet when the wait was over; it goes on
    │   ├── OutputMismatchError          its answer is not of the type that the caller wants it in
    │   ├── ReplayRefusedError           it is not in a state that can be replayed
    │   ├── EventsLostError              events between the given id and the oldest kept one are gone
    │   └── CorruptRecordError           what Redis holds under its key is not a record of ours
    └── ConfigurationError           a setting is unknown, missing or unsafe

Every error has a stable ``code``, a ``message`` that is safe to show (it never holds a prompt, an answer or
a provider's text) and says whether the same call may succeed later (``retriable``).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar


class PenstockError(Exception):
    """Base of all errors raised by Penstock."""

    code: ClassVar[str] = "error"
    retriable: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def as_dict(self) -> dict[str, Any]:
        """The error as plain JSON: ``code``, ``message``, ``retriable`` and the fields of its class."""
        extra = {k: v for k, v in vars(self).items() if k != "message" and v is not None}
        return {"code": self.code, "message": self.message, "retriable": self.retriable, **extra}


class RequestError(PenstockError):
    """A request was refused before anything was written."""

    code = "invalid_request"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        """Path of the field at fault, such as ``input.labels[3]``; None when it is no single one."""


class InvalidRequestError(RequestError):
    """A field is missing, unknown or out of range."""


class PayloadTooLargeError(RequestError):
    """A text, a schema or the whole request has more bytes than its limit."""

    code = "payload_too_large"


class TooDeepError(RequestError):
    """A value is nested deeper than the limit."""

    code = "too_deep"


class SchemaRejectedError(RequestError):
    """A JSON Schema is outside the supported subset, or its size is beyond a limit."""

    code = "schema_rejected"


class UnknownTaskError(RequestError):
    """No task of this name is known."""

    code = "unknown_task"


class IdempotencyConflictError(RequestError):
    """The idempotency key was used before, for another request."""

    code = "idempotency_conflict"

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"this key belongs to job {job_id}, which was another request; use a new key for a new request",
            field="idempotency_key",
        )
        self.job_id = job_id


class _TryLaterError(RequestError):
    retriable = True

    def __init__(self, message: str, *, retry_after_s: float | None = None, field: str | None = None) -> None:
        super().__init__(message, field=field)
        self.retry_after_s = retry_after_s
        """Seconds after which the same call may succeed; None when that cannot be told."""


class QueueFullError(_TryLaterError):
    """The bound on queued jobs, or on Redis' memory, is reached. Nothing was written."""

    code = "queue_full"


class RateLimitedError(_TryLaterError):
    """The tenant or user is over its limit of requests or tokens per minute."""

    code = "rate_limited"


class BudgetExceededError(_TryLaterError):
    """A budget that applies to the request has no room for it. Nothing was written.

    ``retry_after_s`` is None where the budget is smaller than the job's bound, so that it never has room.
    """

    code = "budget_exceeded"

    def __init__(
        self,
        message: str,
        *,
        scope: str | None = None,
        reset_at: datetime | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.scope = scope
        """Which budget: ``global``, ``tenant:acme``, ``user:acme/ann@example.com``, ``task:summarize``."""
        self.reset_at = reset_at
        """When its window turns, by Redis' clock; aware."""

    def as_dict(self) -> dict[str, Any]:
        """As of every error; ``reset_at`` as ISO 8601."""
        plain = super().as_dict()
        return plain if self.reset_at is None else {**plain, "reset_at": self.reset_at.isoformat()}


class UnavailableError(PenstockError):
    """Redis did not answer in time, or refused to write.

    Whether an enqueue that ends so was written is unknown: repeat it with the same idempotency key.
    """

    code = "unavailable"
    retriable = True


class DurabilityError(UnavailableError):
    """A job was written, but no replica (or no disk) had it in time, so that a failure of the server may still undo it.

    It may run all the same. The same call with the same idempotency key is safe: it finds the job, and waits anew.
    """

    code = "durability_not_reached"

    def __init__(self, job_id: str, durability: str) -> None:
        where = "no replica has" if durability == "replica" else "the disk does not have"
        super().__init__(
            f"job {job_id} was accepted, but {where} it yet; it may run, or be lost with the server. Repeat the call "
            "with the same idempotency key: that gives the same job"
        )
        self.job_id = job_id
        self.durability = durability


class JobError(PenstockError):
    """Something about one job."""

    def __init__(self, job_id: str, message: str) -> None:
        super().__init__(f"job {job_id}: {message}")
        self.job_id = job_id


class JobNotFoundError(JobError):
    """There is no such job for this tenant, or its record is past its retention."""

    code = "not_found"

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id, "not found")


class JobDeadError(JobError):
    """The job failed for good. It is a dead letter, which ``penstock dead replay`` can run again."""

    code = "dead"

    def __init__(self, job_id: str, reason: str, message: str) -> None:
        super().__init__(job_id, f"dead ({reason}): {message}")
        self.reason = reason
        """The stable code of what ended it, such as ``attempts_exhausted``."""


class JobCancelledError(JobError):
    """The job was cancelled before it had a result."""

    code = "cancelled"

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id, "was cancelled")


class JobExpiredError(JobError):
    """The job's deadline passed before a worker could start it."""

    code = "expired"

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id, "its deadline passed before it was started")


class ResultTimeoutError(JobError):
    """The job was not terminal when the wait was over. It goes on; wait again."""

    code = "result_timeout"
    retriable = True

    def __init__(self, job_id: str, timeout_s: float) -> None:
        super().__init__(job_id, f"not finished within {timeout_s:g} s; it goes on")
        self.timeout_s = timeout_s


class OutputMismatchError(JobError):
    """The answer passed its JSON Schema, but not the checks that the caller's own model has besides.

    The answer as plain JSON is in the job's status.
    """

    code = "output_mismatch"

    def __init__(self, job_id: str, what: str) -> None:
        super().__init__(job_id, f"its answer is not of the type asked for: {what}")


class ReplayRefusedError(JobError):
    """The job is not in a state that can be replayed, or a newer run exists."""

    code = "replay_refused"

    def __init__(self, job_id: str, state: str, run: int) -> None:
        super().__init__(job_id, f"is {state} in run {run}; only a dead or degraded job can be replayed")
        self.state = state
        self.run = run


class EventsLostError(JobError):
    """Events after the given id were trimmed. Read the job's state and subscribe anew without an id."""

    code = "events_lost"

    def __init__(self, job_id: str, after: str) -> None:
        super().__init__(job_id, f"events after {after} are no longer kept; read its state instead")
        self.after = after


class CorruptRecordError(JobError):
    """What Redis holds under the job's key is not a record that this version can read."""

    code = "corrupt_record"

    def __init__(self, job_id: str, what: str) -> None:
        super().__init__(job_id, f"its record cannot be read: {what}")


class ConfigurationError(PenstockError):
    """A setting is unknown, missing, malformed or unsafe."""

    code = "configuration"

    def __init__(self, key: str, message: str) -> None:
        super().__init__(f"{key}: {message}")
        self.key = key
        """The setting at fault, such as ``worker.concurrency``."""
