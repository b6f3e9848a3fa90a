"""Penstock: LLM work in a queue.

``from penstock import Producer, Summarize, Classify, Extract`` is all that a service needs.
"""

from penstock.handle import JobHandle
from penstock.producer import EnqueueManyError, JobOptions, Producer, Retention
from penstock.sync import SyncJobHandle, SyncProducer
from penstock_schemas.errors import (
    BudgetExceededError,
    ConfigurationError,
    CorruptRecordError,
    EventsLostError,
    IdempotencyConflictError,
    InvalidRequestError,
    JobCancelledError,
    JobDeadError,
    JobError,
    JobExpiredError,
    JobNotFoundError,
    PayloadTooLargeError,
    PenstockError,
    QueueFullError,
    RateLimitedError,
    ReplayRefusedError,
    RequestError,
    ResultTimeoutError,
    SchemaRejectedError,
    TooDeepError,
    UnavailableError,
    UnknownTaskError,
)
from penstock_schemas.events import Event
from penstock_schemas.jobs import JobRequest, JobState, JobStatus, Lane
from penstock_schemas.limits import Limits
from penstock_schemas.results import JobFailure, JobResult, MadeBy, Quality, Usage
from penstock_schemas.tasks import Classify, Extract, Labels, Summarize, Summary, TaskInput

__version__ = "0.1.0"

__all__ = [
    "Producer",
    "SyncProducer",
    "JobHandle",
    "SyncJobHandle",
    "JobOptions",
    "Retention",
    "Limits",
    "Summarize",
    "Summary",
    "Classify",
    "Labels",
    "Extract",
    "TaskInput",
    "Lane",
    "JobRequest",
    "JobState",
    "JobStatus",
    "JobResult",
    "JobFailure",
    "MadeBy",
    "Quality",
    "Usage",
    "Event",
    "PenstockError",
    "RequestError",
    "InvalidRequestError",
    "PayloadTooLargeError",
    "TooDeepError",
    "SchemaRejectedError",
    "UnknownTaskError",
    "IdempotencyConflictError",
    "QueueFullError",
    "RateLimitedError",
    "BudgetExceededError",
    "EnqueueManyError",
    "UnavailableError",
    "JobError",
    "JobNotFoundError",
    "JobDeadError",
    "JobCancelledError",
    "JobExpiredError",
    "ResultTimeoutError",
    "ReplayRefusedError",
    "EventsLostError",
    "CorruptRecordError",
    "ConfigurationError",
    "__version__",
]
