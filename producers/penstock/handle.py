"""One job, from the outside: its state, its result, its events, and the way to stop it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from pydantic import ValidationError

from penstock.records import check_kept, event_order, read_events, read_request, result_of
from penstock.watcher import SAFETY_S
from penstock_schemas import keys
from penstock_schemas.errors import OutputMismatchError, ResultTimeoutError, UnavailableError
from penstock_schemas.events import Event
from penstock_schemas.jobs import JobRequest, JobState, JobStatus
from penstock_schemas.results import JobResult
from penstock_schemas.tasks import TaskInput, read_output
from penstock_schemas.validation import first_fault

if TYPE_CHECKING:
    from penstock.producer import Producer

OutputT = TypeVar("OutputT")

_START = "0-0"
_EVENTS_AT_ONCE = 500
_ENDS = {state.value.encode() for state in JobState if state.terminal}


class JobHandle(Generic[OutputT]):
    """A job of one tenant. Cheap to make and to keep; any process can have one (:meth:`Producer.job`)."""

    def __init__(
        self,
        producer: Producer,
        job_id: str,
        *,
        created: bool,
        asked: TaskInput[OutputT] | None = None,
    ) -> None:
        self._producer = producer
        self._asked = asked
        self.id = job_id
        self.created = created
        """False when the idempotency key was known, and for a handle that did not come from an enqueue."""

    def __repr__(self) -> str:
        return f"JobHandle({self.id!r}, created={self.created})"

    async def status(self) -> JobStatus:
        """The job as it is now. Raises JobNotFoundError, CorruptRecordError, UnavailableError."""
        return await self._producer.status(self.id)

    async def request(self) -> JobRequest:
        """What was asked for. Raises as :meth:`status`."""
        await self.status()
        return await read_request(self._producer.link, self.id)

    async def result(self, *, timeout_s: float | None = None) -> JobResult[OutputT]:
        """Wait for the end and give the result, its ``output`` in the task's own type.

        *timeout_s* None waits for ever, 0 looks once. While it waits, it waits for a Redis that is away too.
        Raises ResultTimeoutError when the time is over (the job goes on), JobDeadError, JobCancelledError,
        JobExpiredError, OutputMismatchError, JobNotFoundError, CorruptRecordError, UnavailableError.
        """
        status = await self.status()
        if not status.state.terminal and timeout_s != 0:
            status = await self._wait_for_end(status, timeout_s)
        if not status.state.terminal:
            raise ResultTimeoutError(self.id, timeout_s or 0)
        return self._typed(result_of(status))

    async def _wait_for_end(self, status: JobStatus, timeout_s: float | None) -> JobStatus:
        """The job's status when it has ended, or the last seen. Raises UnavailableError if the last look met that."""
        away: UnavailableError | None = None
        with suppress(TimeoutError):
            async with (
                asyncio.timeout(timeout_s),
                self._producer.watcher.watch(keys.events(self.id), _ENDS) as wake,
            ):
                while not status.state.terminal:
                    await _woken(wake)
                    try:
                        status, away = await self.status(), None
                    except UnavailableError as error:
                        away = error
        if away is not None:
            raise away
        return status

    def _typed(self, result: JobResult[Any]) -> JobResult[OutputT]:
        try:
            if self._asked is not None:
                output: Any = self._asked.read_output(result.output)
            else:
                output = read_output(result.task, result.output)
        except ValidationError as error:
            raise OutputMismatchError(self.id, ": ".join(filter(None, first_fault(error)))) from None
        return cast("JobResult[OutputT]", result.model_copy(update={"output": output}))

    async def events(self, *, after: str | None = None) -> AsyncGenerator[Event]:
        """The job's events in order, from the oldest kept or from behind *after* (an event's id), as they come.

        Ends with the event that ends the newest run; an earlier run's end is passed through. A reader that
        comes back with the last id it saw misses nothing and sees nothing twice. Raises EventsLostError when
        events behind the last seen are no longer kept, JobNotFoundError, CorruptRecordError, UnavailableError
        (come back with the last id), InvalidRequestError when *after* is not an id.
        """
        last = after or _START
        event_order(last)
        ended = (await self.status()).state.terminal
        async with self._producer.watcher.watch(keys.events(self.id)) as wake:
            while True:
                events = await self._events_behind(last, sure=last != after)
                for event in events:
                    last, ended = event.id, False
                    yield event
                    if event.terminal and (await self.status()).run == event.run:
                        return
                if ended:
                    return
                if len(events) < _EVENTS_AT_ONCE:
                    await _woken(wake)

    async def _events_behind(self, last: str, *, sure: bool) -> list[Event]:
        """The next events. Unless it is *sure* that those behind *last* are kept, that is looked at.

        So it is for whoever keeps up. Where a whole page waits, more than that may have come and been trimmed.
        Looked at after the reading, so that nothing can be trimmed in between.
        """
        events = await read_events(self._producer.link, self.id, last, _EVENTS_AT_ONCE)
        if not sure or (len(events) == _EVENTS_AT_ONCE and last != _START):
            await check_kept(self._producer.link, self.id, last)
        return events

    async def cancel(self) -> JobState:
        """Stop the job; returns the state it was found in.

        ``queued`` or ``scheduled``: it is cancelled now. ``running``: its worker has been told, and its call is
        closed within a second, unless its end came first. A terminal state: nothing changed. Repeating is safe.
        Raises JobNotFoundError, CorruptRecordError, UnavailableError.
        """
        return await self._producer.cancel(self.id)


async def _woken(wake: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(SAFETY_S):
            await wake.wait()
    wake.clear()
