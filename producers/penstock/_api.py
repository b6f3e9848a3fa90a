"""The public names, in one place; the package gives them to whoever asks, and loads this only then."""

from penstock.costs import CostLine, CostReport, read_cost_report, read_costs
from penstock.dead_letters import DeadLetters
from penstock.explaining import CallCharge, JobCharges, explain_costs
from penstock.handle import JobHandle
from penstock.letter_report import AttemptReport, CallReport, LetterReport, RunReport
from penstock.letters import DeadLetter, LetterFilter, LetterOutcome, ReplayPlan
from penstock.options import JobOptions, ProducerOptions, Retention
from penstock.producer import EnqueueManyError, Producer
from penstock.sync import SyncJobHandle, SyncProducer
from penstock_schemas.errors import (
    BudgetExceededError,
    ConfigurationError,
    CorruptRecordError,
    DurabilityError,
    EventsLostError,
    IdempotencyConflictError,
    InvalidRequestError,
    JobCancelledError,
    JobDeadError,
    JobError,
    JobExpiredError,
    JobNotFoundError,
    OutputMismatchError,
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
from penstock_schemas.evidence import Evidence, Evidenced
from penstock_schemas.jobs import JobRequest, JobState, JobStatus, Lane
from penstock_schemas.limits import Limits
from penstock_schemas.results import JobFailure, JobResult, MadeBy, Quality, Usage
from penstock_schemas.tasks import Classify, Extract, Labels, Summarize, Summary, TaskInput

__all__ = [
    "Producer",
    "SyncProducer",
    "JobHandle",
    "SyncJobHandle",
    "JobOptions",
    "ProducerOptions",
    "Retention",
    "DeadLetters",
    "DeadLetter",
    "LetterFilter",
    "LetterOutcome",
    "LetterReport",
    "RunReport",
    "AttemptReport",
    "CallReport",
    "ReplayPlan",
    "CostLine",
    "CostReport",
    "read_costs",
    "read_cost_report",
    "JobCharges",
    "CallCharge",
    "explain_costs",
    "Limits",
    "Summarize",
    "Summary",
    "Classify",
    "Labels",
    "Extract",
    "Evidence",
    "Evidenced",
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
    "DurabilityError",
    "JobError",
    "JobNotFoundError",
    "JobDeadError",
    "JobCancelledError",
    "JobExpiredError",
    "ResultTimeoutError",
    "OutputMismatchError",
    "ReplayRefusedError",
    "EventsLostError",
    "CorruptRecordError",
    "ConfigurationError",
]
