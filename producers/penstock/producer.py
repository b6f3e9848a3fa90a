"""What a service calls: enqueue work, look at it, wait for it, stop it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, Self, TypedDict, TypeVar, Unpack

from penstock.handle import JobHandle
from penstock.names import check_name
from penstock.records import read_status
from penstock.requests import CheckedRequest, check_idempotency_key, check_request
from penstock.watcher import Watcher
from penstock_schemas import keys
from penstock_schemas.errors import (
    IdempotencyConflictError,
    InvalidRequestError,
    JobNotFoundError,
    PenstockError,
    QueueFullError,
)
from penstock_schemas.jobs import JobState, JobStatus, Lane
from penstock_schemas.limits import Limits
from penstock_schemas.results import JobResult
from penstock_schemas.strict_json import digest
from penstock_schemas.tasks import TaskInput
from penstock_store.batcher import Batcher
from penstock_store.connection import connect, translated
from penstock_store.scripts import load_script

OutputT = TypeVar("OutputT")

_ENQUEUE = load_script("penstock", "enqueue")
_CANCEL = load_script("penstock", "cancel")


class JobOptions(TypedDict, total=False):
    """How a job is to be treated; every field may be left out."""

    lane: Lane | Literal["interactive", "standard", "bulk"]
    """Class of urgency; ``standard`` if left out."""
    delay_s: float
    """Seconds before which it is not started; 0 if left out, at most 30 days."""
    deadline_s: float
    """Seconds after which nobody wants the answer; none if left out, at most 30 days."""
    max_attempts: int
    """Attempts that may fail, 1 to 20; 5 if left out."""
    max_cost_usd: str | Decimal
    """The most that all its calls may cost; no bound of its own if left out."""
    on_failure: Literal["degrade", "dead_letter"]
    """When no model gives an answer; ``degrade`` if left out."""
    stream: bool
    """Publish the answer's text as events while it comes."""
    metadata: Mapping[str, str]
    """Up to 32 notes of your own, given back as they are."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what is over is kept, in seconds."""

    result_s: float = 7 * 86_400
    """A job that did not end dead, from its end."""
    dead_s: float = 30 * 86_400
    """A dead letter, from its end."""
    idempotency_s: float = 86_400
    """An idempotency key, from its job's end. While the job is open the key is known."""


class EnqueueManyError(PenstockError):
    """Some of the jobs of an ``enqueue_many`` were refused; the others are accepted."""

    code = "enqueue_many"

    def __init__(self, jobs: list[JobHandle[Any] | None], errors: dict[int, PenstockError]) -> None:
        first = min(errors)
        super().__init__(f"{len(errors)} of {len(jobs)} were refused; the first, item {first}: {errors[first]}")
        self.jobs = jobs
        """A handle for each item in order; None for one that was refused."""
        self.errors = errors
        """Item -> why it was refused."""


class Producer:
    """The door for one tenant's jobs. Make one per process and share it; it uses at most two connections.

    Use it as an async context manager, or call :meth:`aclose`. Every call raises UnavailableError within
    about two seconds when Redis is away.
    """

    def __init__(
        self,
        url: str,
        *,
        tenant: str = "default",
        limits: Limits | None = None,
        retention: Retention | None = None,
        timeout_s: float = 2.0,
    ) -> None:
        check_name(tenant, "tenant")
        self.tenant = tenant
        self._limits = limits or Limits()
        self._retention = retention or Retention()
        self._timeout_s = timeout_s
        self._redis = connect(url, max_connections=1, timeout_s=timeout_s)
        self._listener = connect(url, max_connections=1, timeout_s=timeout_s, blocking=True)
        self.batcher = Batcher(self._redis)
        self.watcher = Watcher(self._listener)

    @classmethod
    def connect(cls, url: str = "redis://localhost:6379/0", **options: Any) -> Self:
        """A producer for the Redis at *url*; the same as calling the class. Nothing is sent until it is used."""
        return cls(url, **options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. A repeat does nothing."""
        await self.watcher.aclose()
        await self._listener.aclose()
        await self._redis.aclose()

    async def enqueue(
        self,
        asked: TaskInput[OutputT],
        *,
        idempotency_key: str | None = None,
        **options: Unpack[JobOptions],
    ) -> JobHandle[OutputT]:
        """Accept a job, or give the one that *idempotency_key* named before.

        The key (1 to 255 characters of printable ASCII, the tenant's own) is known while its job is open and
        for ``Retention.idempotency_s`` after. With the same request it gives the same job, finished or not.
        Raises IdempotencyConflictError for the same key with another request, QueueFullError, a RequestError
        that names the field at fault, UnavailableError. Nothing is half-written.
        """
        checked = self._check(asked, idempotency_key, options)
        return await self._send(checked, asked, idempotency_key)

    async def enqueue_many(
        self,
        asked: Sequence[TaskInput[OutputT]],
        *,
        idempotency_keys: Sequence[str | None] | None = None,
        **options: Unpack[JobOptions],
    ) -> list[JobHandle[OutputT]]:
        """Accept many jobs in a few round trips; the handles come in the order of *asked*.

        All are checked before the first is sent: an error in one writes none. *idempotency_keys*, if given, has
        one (or None) for each. Raises EnqueueManyError when Redis refused some; it holds the accepted ones too.
        """
        given = list(idempotency_keys) if idempotency_keys is not None else [None] * len(asked)
        if len(given) != len(asked):
            raise InvalidRequestError("must have one for each job", field="idempotency_keys")
        checked = [self._check(one, key, options) for one, key in zip(asked, given, strict=True)]
        outcomes = await asyncio.gather(*map(self._send, checked, asked, given), return_exceptions=True)
        return _all_or_error(outcomes)

    async def run(
        self,
        asked: TaskInput[OutputT],
        *,
        timeout_s: float | None = None,
        idempotency_key: str | None = None,
        **options: Unpack[JobOptions],
    ) -> JobResult[OutputT]:
        """Enqueue and wait for the result. Raises what :meth:`enqueue` and :meth:`JobHandle.result` raise."""
        job = await self.enqueue(asked, idempotency_key=idempotency_key, **options)
        return await job.result(timeout_s=timeout_s)

    def job(self, job_id: str) -> JobHandle[Any]:
        """A handle on a job by its id, from any process. Whether it exists shows when it is used."""
        check_name(job_id, "job_id")
        return JobHandle(self, job_id, created=False)

    async def status(self, job_id: str) -> JobStatus:
        """The job as it is now. Raises JobNotFoundError, CorruptRecordError, UnavailableError."""
        with translated():
            return await read_status(self.batcher, job_id, self.tenant)

    async def cancel(self, job_id: str) -> JobState:
        """Stop a job; see :meth:`JobHandle.cancel`."""
        with translated():
            found = await self.batcher.call(_CANCEL, [keys.record(job_id)], [job_id, self.tenant])
        if not found:
            raise JobNotFoundError(job_id)
        return JobState(found.decode())

    def _check(self, asked: TaskInput[Any], key: str | None, options: Mapping[str, Any]) -> CheckedRequest:
        check_idempotency_key(key)
        if not isinstance(asked, TaskInput):
            raise InvalidRequestError("must be a task's input, such as Summarize(text=...)", field="task")
        given = {"max_cost_usd": None, **options}
        return check_request(asked, tenant=self.tenant, limits=self._limits, **given)

    async def _send(self, checked: CheckedRequest, asked: TaskInput[OutputT], key: str | None) -> JobHandle[OutputT]:
        job_id = secrets.token_hex(16)
        with translated():
            code, about = await asyncio.wait_for(self._enqueue(job_id, checked, key), self._timeout_s)
        if code == 2:
            raise IdempotencyConflictError(about.decode())
        if code == 3:
            raise QueueFullError(f"{about} jobs are open, the bound is {self._limits.queued_jobs}", retry_after_s=5)
        return JobHandle(self, about.decode(), created=code == 1, asked=asked)

    def _enqueue(self, job_id: str, checked: CheckedRequest, key: str | None) -> asyncio.Future[Any]:
        request, keep = checked.request, self._retention
        lane = request.lane.value
        return self.batcher.call(
            _ENQUEUE,
            [keys.record(job_id), keys.idempotency(self.tenant, digest(key)) if key else ""],
            [
                job_id,
                checked.body,
                checked.fingerprint,
                self.tenant,
                lane,
                request.task,
                _ms(request.delay_s),
                _ms(request.deadline_s or 0),
                self._limits.queued_jobs,
                _ms(keep.idempotency_s),
                _ms(keep.result_s),
                _ms(keep.dead_s),
            ],
        )


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000)) if seconds > 0 else 0


def _all_or_error(outcomes: Sequence[Any]) -> list[JobHandle[Any]]:
    errors = {i: e for i, e in enumerate(outcomes) if isinstance(e, BaseException)}
    unexpected = [e for e in errors.values() if not isinstance(e, PenstockError)]
    if unexpected:
        raise unexpected[0]
    if errors:
        refused = {i: e for i, e in errors.items() if isinstance(e, PenstockError)}
        raise EnqueueManyError([None if i in errors else job for i, job in enumerate(outcomes)], refused)
    return list(outcomes)
