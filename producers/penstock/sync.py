"""The same producer for code that is not async: every call runs the async one on a loop in a thread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, Unpack

from penstock.handle import JobHandle
from penstock.options import JobOptions, ProducerOptions
from penstock.producer import EnqueueManyError, Producer
from penstock_schemas.events import Event
from penstock_schemas.jobs import JobRequest, JobState, JobStatus
from penstock_schemas.results import JobResult
from penstock_schemas.tasks import TaskInput
from penstock_store.durable import Durability

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

OutputT = TypeVar("OutputT")


class SyncJobHandle(Generic[OutputT]):
    """A :class:`JobHandle` whose methods block. May be used from any thread."""

    def __init__(self, portal: BlockingPortal, job: JobHandle[OutputT]) -> None:
        self._portal = portal
        self._job = job
        self.id = job.id
        self.created = job.created

    def __repr__(self) -> str:
        return f"Sync{self._job!r}"

    def status(self) -> JobStatus:
        """See :meth:`JobHandle.status`."""
        return self._portal.call(self._job.status)

    def request(self) -> JobRequest:
        """See :meth:`JobHandle.request`."""
        return self._portal.call(self._job.request)

    def result(self, *, timeout_s: float | None = None) -> JobResult[OutputT]:
        """See :meth:`JobHandle.result`."""
        return self._portal.call(lambda: self._job.result(timeout_s=timeout_s))

    def events(self, *, after: str | None = None) -> Iterator[Event]:
        """See :meth:`JobHandle.events`."""
        stream = self._job.events(after=after)
        try:
            while (event := self._portal.call(lambda: anext(stream, None))) is not None:
                yield event
        finally:
            self._portal.call(stream.aclose)

    def cancel(self) -> JobState:
        """See :meth:`JobHandle.cancel`."""
        return self._portal.call(self._job.cancel)


class SyncProducer:
    """A :class:`Producer` whose methods block; takes the same arguments. May be used from any thread.

    Use it as a context manager, or call :meth:`close`: it owns a thread.
    """

    def __init__(self, url: str = "redis://localhost:6379/0", **options: Unpack[ProducerOptions]) -> None:
        from anyio.from_thread import start_blocking_portal  # only who uses it pays for its import

        with ExitStack() as opened:
            self._portal = opened.enter_context(start_blocking_portal())
            self._producer = self._portal.call(lambda: _made(url, options))
            opened.callback(self._portal.call, self._producer.aclose)
            self._opened: AbstractContextManager[Any] = opened.pop_all()

    @classmethod
    def connect(cls, url: str = "redis://localhost:6379/0", **options: Unpack[ProducerOptions]) -> Self:
        """See :meth:`Producer.connect`."""
        return cls(url, **options)

    @property
    def tenant(self) -> str:
        """The tenant whose jobs this is the door for."""
        return self._producer.tenant

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end the thread. A repeat does nothing."""
        self._opened.__exit__(None, None, None)

    def enqueue(
        self,
        asked: TaskInput[OutputT],
        *,
        idempotency_key: str | None = None,
        durability: Durability | None = None,
        **options: Unpack[JobOptions],
    ) -> SyncJobHandle[OutputT]:
        """See :meth:`Producer.enqueue`."""
        return self._blocking(
            self._portal.call(
                lambda: self._producer.enqueue(asked, idempotency_key=idempotency_key, durability=durability, **options)
            )
        )

    def enqueue_many(
        self,
        asked: Sequence[TaskInput[OutputT]],
        *,
        idempotency_keys: Sequence[str | None] | None = None,
        durability: Durability | None = None,
        **options: Unpack[JobOptions],
    ) -> list[SyncJobHandle[OutputT]]:
        """See :meth:`Producer.enqueue_many`."""
        try:
            jobs = self._portal.call(
                lambda: self._producer.enqueue_many(
                    asked, idempotency_keys=idempotency_keys, durability=durability, **options
                )
            )
        except EnqueueManyError as refusal:
            handles = [self._blocking(job) if isinstance(job, JobHandle) else None for job in refusal.jobs]
            raise EnqueueManyError(handles, refusal.errors) from None
        return [self._blocking(job) for job in jobs]

    def run(
        self,
        asked: TaskInput[OutputT],
        *,
        timeout_s: float | None = None,
        idempotency_key: str | None = None,
        durability: Durability | None = None,
        **options: Unpack[JobOptions],
    ) -> JobResult[OutputT]:
        """See :meth:`Producer.run`."""
        return self._portal.call(
            lambda: self._producer.run(
                asked, timeout_s=timeout_s, idempotency_key=idempotency_key, durability=durability, **options
            )
        )

    def job(self, job_id: str) -> SyncJobHandle[Any]:
        """See :meth:`Producer.job`."""
        return self._blocking(self._producer.job(job_id))

    def status(self, job_id: str) -> JobStatus:
        """See :meth:`Producer.status`."""
        return self._portal.call(lambda: self._producer.status(job_id))

    def cancel(self, job_id: str) -> JobState:
        """See :meth:`Producer.cancel`."""
        return self._portal.call(lambda: self._producer.cancel(job_id))

    def _blocking(self, job: JobHandle[OutputT]) -> SyncJobHandle[OutputT]:
        return SyncJobHandle(self._portal, job)


async def _made(url: str, options: ProducerOptions) -> Producer:
    return Producer(url, **options)
