"""One job, from the outside: its state, its result, its events, and the way to stop it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from penstock.records import pairs, parse_event, read_request, result_of
from penstock.watcher import SAFETY_S
from penstock_schemas import keys
from penstock_schemas.errors import EventsLostError, InvalidRequestError, ResultTimeoutError
from penstock_schemas.events import Event
from penstock_schemas.jobs import JobRequest, JobState, JobStatus
from penstock_schemas.results import JobResult
from penstock_schemas.tasks import TaskInput, read_output
from penstock_store.connection import translated

if TYPE_CHECKING:
    from penstock.producer import Producer

OutputT = TypeVar("OutputT")

_EVENTS_AT_ONCE = 500


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
        with translated():
            return await read_request(self._producer.batcher, self.id)

    async def result(self, *, timeout_s: float | None = None) -> JobResult[OutputT]:
        """Wait for the end and give the result, its ``output`` in the task's own type.

        *timeout_s* None waits for ever, 0 looks once. Raises ResultTimeoutError when the time is over (the job
        goes on), JobDeadError, JobCancelledError, JobExpiredError, JobNotFoundError, UnavailableError.
        """
        status = await self.status()
        if not status.state.terminal and timeout_s != 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    status = await self._wait_for_end()
        if not status.state.terminal:
            raise ResultTimeoutError(self.id, timeout_s or 0)
        return self._typed(result_of(status))

    async def _wait_for_end(self) -> JobStatus:
        async with self._producer.watcher.watch(keys.events(self.id)) as wake:
            while True:
                await _woken(wake)
                status = await self.status()
                if status.state.terminal:
                    return status

    def _typed(self, result: JobResult[Any]) -> JobResult[OutputT]:
        if self._asked is not None:
            output: Any = self._asked.read_output(result.output)
        else:
            output = read_output(result.task, result.output)
        return cast("JobResult[OutputT]", result.model_copy(update={"output": output}))

    async def events(self, *, after: str | None = None) -> AsyncGenerator[Event]:
        """The job's events in order, from the first or from behind *after* (an event's id), as they come.

        Ends with the event that ends the newest run; an earlier run's end is passed through. A reader that
        comes back with the last id it saw misses nothing and sees nothing twice. Raises EventsLostError when
        events behind *after* are no longer kept, JobNotFoundError, UnavailableError.
        """
        stream, last = keys.events(self.id), after or "0-0"
        _order(last)
        status = await self.status()
        if after is not None:
            await self._check_kept(stream, after)
        async with self._producer.watcher.watch(stream) as wake:
            while True:
                entries = await self._read(stream, last)
                for entry in entries:
                    event = parse_event(entry)
                    last = event.id
                    yield event
                    if event.terminal and await self._is_newest_run(event.run):
                        return
                if len(entries) < _EVENTS_AT_ONCE:
                    if status.state.terminal and not entries:
                        return
                    await _woken(wake)

    async def _is_newest_run(self, run: int) -> bool:
        status = await self.status()
        return status.run == run

    async def _read(self, stream: str, last: str) -> list[tuple[bytes, Any]]:
        with translated():
            return cast(
                "list[tuple[bytes, Any]]",
                await self._producer.batcher.execute("XRANGE", stream, f"({last}", "+", "COUNT", _EVENTS_AT_ONCE),
            )

    async def _check_kept(self, stream: str, after: str) -> None:
        with translated():
            about = pairs(await self._producer.batcher.execute("XINFO", "STREAM", stream))
        first: Any = about[b"first-entry"]
        trimmed = int(about[b"entries-added"]) > int(about[b"length"])
        if trimmed and _order(after) < _order(first[0].decode()):
            raise EventsLostError(self.id, after)

    async def cancel(self) -> JobState:
        """Stop the job; returns the state it was found in.

        ``queued`` or ``scheduled``: it is cancelled now. ``running``: its worker has been told, and its call is
        closed within a second, unless its end came first. A terminal state: nothing changed. Repeating is safe.
        Raises JobNotFoundError, UnavailableError.
        """
        return await self._producer.cancel(self.id)


async def _woken(wake: asyncio.Event) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(wake.wait(), SAFETY_S)
    wake.clear()


def _order(stream_id: str) -> tuple[int, int]:
    try:
        ms, _, sequence = stream_id.partition("-")
        return int(ms), int(sequence or 0)
    except ValueError:
        raise InvalidRequestError("is not an event's id", field="after") from None
