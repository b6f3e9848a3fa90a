"""What a service calls: enqueue work, look at it, wait for it, stop it."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from penstock.durable_links import DurableLink, DurableLinks
from penstock.handle import JobHandle
from penstock.link import Call, Link
from penstock.names import check_name
from penstock.options import JobOptions, ProducerOptions, Retention
from penstock.records import read_status, reading
from penstock.refusals import meant, refused
from penstock.requests import CheckedRequest, Envelope, check_idempotency_key, check_options, check_request
from penstock.watcher import Watcher
from penstock_schemas import keys
from penstock_schemas.errors import (
    ConfigurationError,
    CorruptRecordError,
    DurabilityError,
    InvalidRequestError,
    JobNotFoundError,
    PenstockError,
    RequestError,
    UnavailableError,
)
from penstock_schemas.jobs import RECORD_VERSION, JobState, JobStatus
from penstock_schemas.limits import Limits
from penstock_schemas.results import JobResult
from penstock_schemas.strict_json import digest
from penstock_schemas.tasks import TaskInput
from penstock_store.batcher import Batcher
from penstock_store.connection import TIMEOUT_S, connect
from penstock_store.durable import DURABILITIES, Durability
from penstock_store.scripts import load_script

if TYPE_CHECKING:
    from penstock.sync import SyncJobHandle

OutputT = TypeVar("OutputT")

_ENQUEUE = load_script("penstock", "enqueue")
_CANCEL = load_script("penstock", "cancel")
_PART = 1_000
"""Jobs of an enqueue_many that go out together; those of a part must be answered within the time limit."""
_CHECKED_AT_ONCE = 50
_LATER_S = 5.0
_NOT_SENT = "not sent, since Redis did not answer for those before it; try again"


class EnqueueManyError(PenstockError):
    """Some of the jobs of an ``enqueue_many`` were refused; the others are accepted."""

    code = "enqueue_many"

    def __init__(
        self, jobs: Sequence[JobHandle[Any] | SyncJobHandle[Any] | None], errors: dict[int, PenstockError]
    ) -> None:
        first = min(errors)
        super().__init__(f"{len(errors)} of {len(jobs)} were refused; the first, item {first}: {errors[first]}")
        self.jobs = list(jobs)
        """A handle for each item in order; None for one that was refused. Handles that block from a SyncProducer."""
        self.errors = errors
        """Item -> why it was refused."""


class Producer:
    """The door for one tenant's jobs. Make one per process and share it; it uses at most two connections, and one more
    for each *durability* that is asked for.

    Use it as an async context manager, or call :meth:`aclose`. Every call raises UnavailableError when Redis does
    not answer within ``timeout_s`` seconds, and RuntimeError once the producer is closed. Raises
    ConfigurationError for a URL that is not one of Redis.
    """

    def __init__(
        self,
        url: str = "redis://localhost:6379/0",
        *,
        tenant: str = "default",
        user: str | None = None,
        limits: Limits | None = None,
        retention: Retention | None = None,
        timeout_s: float = TIMEOUT_S,
        durability: Durability = "none",
    ) -> None:
        check_name(tenant, "tenant")
        if not 0 < timeout_s < math.inf:
            raise ConfigurationError("timeout_s", "must be a number of seconds above 0")
        if durability not in DURABILITIES:
            raise ConfigurationError("durability", f"must be one of {', '.join(DURABILITIES)}")
        self.tenant = tenant
        self._limits = limits or Limits()
        self._retention = retention or Retention()
        self._listener = connect(url, max_connections=1, timeout_s=timeout_s, blocking=True)
        self.link = Link(connect(url, max_connections=1, timeout_s=timeout_s, blocking=True), timeout_s)
        self.durable_links = DurableLinks(url, timeout_s, durability)
        self.watcher = Watcher(self._listener)
        self._usual: JobOptions = {} if user is None else {"user": user}
        self._plain = check_options(tenant, self._usual)

    @classmethod
    def connect(cls, url: str = "redis://localhost:6379/0", **options: Unpack[ProducerOptions]) -> Self:
        """A producer for the Redis at *url*; the same as calling the class. Nothing is sent until it is used."""
        return cls(url, **options)

    @property
    def batcher(self) -> Batcher:
        """What sends its commands; counts them and their round trips."""
        return self.link.batcher

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. Whoever still waits for a job gets a RuntimeError. A repeat does nothing."""
        await self.link.aclose()
        await self.durable_links.aclose()
        await self.watcher.aclose()
        await self._listener.aclose()

    async def enqueue(
        self,
        asked: TaskInput[OutputT],
        *,
        idempotency_key: str | None = None,
        durability: Durability | None = None,
        **options: Unpack[JobOptions],
    ) -> JobHandle[OutputT]:
        """Accept a job, or give the one that *idempotency_key* named before.

        *durability*: ``replica`` waits until a replica has the job too, ``fsync`` until it is on the primary's disk
        (Redis 7.2 or Valkey, with an append-only file), each for half of ``timeout_s`` at most; None: the producer's.
        It is no part of the request. Raises DurabilityError when that is not reached in time: the job may exist.

        The key (1 to 255 characters of printable ASCII, the tenant's own) is known while its job is open and
        for ``Retention.idempotency_s`` after. With the same request it gives the same job, finished or not (and
        also when its result is past its own retention: then the job is not found any more).
        Raises IdempotencyConflictError for the same key with another request, QueueFullError, BudgetExceededError
        with the moment from which there is room again, a RequestError that names the field at fault,
        UnavailableError. Nothing is half-written.

        After an UnavailableError it is unknown whether the job was accepted; with a key, repeat the call.
        """
        check_idempotency_key(idempotency_key)
        checked = check_request(asked, self._envelope(options), self._limits)
        link = self.durable_links.get(durability)
        try:
            reply = await (link or self.link).call(_ENQUEUE, *self._enqueue(checked, idempotency_key))
        except UnavailableError as error:
            raise meant(error) from error.__cause__
        return self._accepted(reply, asked) if link is None else self._reached(reply, asked, link)

    async def enqueue_many(
        self,
        asked: Sequence[TaskInput[OutputT]],
        *,
        idempotency_keys: Sequence[str | None] | None = None,
        durability: Durability | None = None,
        **options: Unpack[JobOptions],
    ) -> list[JobHandle[OutputT]]:
        """Accept many jobs in a few round trips; the handles come in the order of *asked*.

        *idempotency_keys*, if given, has one (or None) for each; *durability* as for :meth:`enqueue`. All are
        checked before the first is sent, and when one does not pass, none is sent. Raises EnqueueManyError, which
        tells for each item whether it is accepted or why not: because the checks refused it, because Redis did, or
        because Redis did not answer; after the first that was not answered no more are sent. Raises
        InvalidRequestError for a wrong option.
        """
        given = list(idempotency_keys) if idempotency_keys is not None else [None] * len(asked)
        if len(given) != len(asked):
            raise InvalidRequestError("must have one for each job", field="idempotency_keys")
        checked = await self._check_many(asked, given, self._envelope(options))
        link = self.durable_links.get(durability)
        outcomes: list[JobHandle[OutputT] | Exception] = []
        for start in range(0, len(checked), _PART):
            part = slice(start, start + _PART)
            outcomes += await self._send_part(asked[part], checked[part], given[part], link)
            if isinstance(outcomes[-1], UnavailableError):
                outcomes += [UnavailableError(_NOT_SENT)] * (len(checked) - len(outcomes))
                break
        return _all_or_error(outcomes)

    async def run(
        self,
        asked: TaskInput[OutputT],
        *,
        timeout_s: float | None = None,
        idempotency_key: str | None = None,
        durability: Durability | None = None,
        **options: Unpack[JobOptions],
    ) -> JobResult[OutputT]:
        """Enqueue and wait for the result. Raises what :meth:`enqueue` and :meth:`JobHandle.result` raise."""
        job = await self.enqueue(asked, idempotency_key=idempotency_key, durability=durability, **options)
        return await job.result(timeout_s=timeout_s)

    def job(self, job_id: str) -> JobHandle[Any]:
        """A handle on a job by its id, from any process. Whether it exists shows when it is used.

        Raises InvalidRequestError for what cannot be an id.
        """
        check_name(job_id, "job_id")
        return JobHandle(self, job_id, created=False)

    async def status(self, job_id: str) -> JobStatus:
        """The job as it is now. Raises JobNotFoundError, CorruptRecordError, UnavailableError."""
        check_name(job_id, "job_id")
        return await read_status(self.link, job_id, self.tenant)

    async def cancel(self, job_id: str) -> JobState:
        """Stop a job; see :meth:`JobHandle.cancel`."""
        check_name(job_id, "job_id")
        with reading(job_id):
            found = await self.link.call(_CANCEL, [keys.record(job_id)], [job_id, self.tenant, RECORD_VERSION])
        return _found(job_id, found)

    def _envelope(self, options: JobOptions) -> Envelope:
        if not options:
            return self._plain
        return check_options(self.tenant, {**options, **self._usual} if options.get("user") is None else options)

    async def _check_many(
        self, asked: Sequence[TaskInput[Any]], given: Sequence[str | None], envelope: Envelope
    ) -> list[CheckedRequest]:
        """Check all, letting other tasks run in between. Raises EnqueueManyError naming every one at fault."""
        checked: list[CheckedRequest] = []
        errors: dict[int, PenstockError] = {}
        for i, (one, key) in enumerate(zip(asked, given, strict=True)):
            try:
                check_idempotency_key(key)
                checked.append(check_request(one, envelope, self._limits))
            except RequestError as error:
                errors[i] = error
            if i % _CHECKED_AT_ONCE == _CHECKED_AT_ONCE - 1:
                await asyncio.sleep(0)
        if errors:
            raise EnqueueManyError([None] * len(asked), errors)
        return checked

    async def _send_part(
        self,
        asked: Sequence[TaskInput[OutputT]],
        checked: Sequence[CheckedRequest],
        given: Sequence[str | None],
        link: DurableLink | None,
    ) -> list[JobHandle[OutputT] | Exception]:
        replies = await (link or self.link).call_each(_ENQUEUE, map(self._enqueue, checked, given))
        return [self._outcome(reply, one, link) for reply, one in zip(replies, asked, strict=True)]

    def _outcome(
        self, reply: Any, asked: TaskInput[OutputT], link: DurableLink | None
    ) -> JobHandle[OutputT] | Exception:
        if isinstance(reply, Exception):
            return meant(reply)
        try:
            return self._accepted(reply, asked) if link is None else self._reached(reply, asked, link)
        except (RequestError, DurabilityError) as error:
            return error

    def _reached(self, reply: Any, asked: TaskInput[OutputT], link: DurableLink) -> JobHandle[OutputT]:
        said, reached = reply
        job = self._accepted(said, asked)
        if not reached:
            raise DurabilityError(job.id, link.durability)
        return job

    def _accepted(self, reply: Any, asked: TaskInput[OutputT]) -> JobHandle[OutputT]:
        code, about, *more = reply
        if code not in (0, 1):
            raise refused(code, about, more, self._limits)
        return JobHandle(self, about.decode(), created=code == 1, asked=asked)

    def _enqueue(self, checked: CheckedRequest, key: str | None) -> Call:
        """KEYS and ARGV of an enqueue, under a new job id: sent again, they mean the same job."""
        job_id, envelope, keep = secrets.token_hex(16), checked.envelope, self._retention
        return (
            [
                keys.record(job_id),
                keys.idempotency(self.tenant, digest(key)) if key else "",
                keys.queue(envelope.lane, self.tenant, envelope.priority),
            ],
            [
                job_id,
                checked.body,
                checked.fingerprint if key else "",
                self.tenant,
                envelope.lane,
                checked.task,
                _ms(envelope.delay_s),
                _ms(envelope.deadline_s or 0),
                self._limits.queued_jobs,
                _ms(keep.idempotency_s),
                _ms(keep.result_s),
                _ms(keep.dead_s),
                math.floor(self._limits.memory_ratio * 1000),
                envelope.user or "",
                *envelope.bounds,
                envelope.max_output_tokens or 0,
            ],
        )


def _found(job_id: str, reply: bytes | int) -> JobState:
    if not reply and reply != 0:
        raise JobNotFoundError(job_id)
    if reply in (0, 1):
        raise CorruptRecordError(
            job_id, "it is of a newer version; upgrade this side" if reply else "parts are missing"
        )
    try:
        return JobState(reply.decode())  # type: ignore[union-attr]
    except ValueError:
        raise CorruptRecordError(job_id, "its state is not one that this version knows") from None


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000)) if seconds > 0 else 0


def _all_or_error(outcomes: Sequence[JobHandle[OutputT] | Exception]) -> list[JobHandle[OutputT]]:
    errors = {i: e for i, e in enumerate(outcomes) if isinstance(e, Exception)}
    unexpected = [e for e in errors.values() if not isinstance(e, PenstockError)]
    if unexpected:
        raise unexpected[0]
    jobs = [None if isinstance(one, Exception) else one for one in outcomes]
    if errors:
        raise EnqueueManyError(jobs, {i: e for i, e in errors.items() if isinstance(e, PenstockError)})
    return [job for job in jobs if job is not None]
