"""What Redis holds about a job, read into its contract."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import orjson
from pydantic import ValidationError
from redis.exceptions import ResponseError

from penstock.link import Link
from penstock_schemas import keys
from penstock_schemas.errors import (
    CorruptRecordError,
    EventsLostError,
    InvalidRequestError,
    JobCancelledError,
    JobDeadError,
    JobExpiredError,
    JobNotFoundError,
)
from penstock_schemas.events import Event
from penstock_schemas.jobs import RECORD_VERSION, JobRequest, JobState, JobStatus
from penstock_schemas.results import JobResult, moment
from penstock_schemas.validation import first_fault
from penstock_store.scripts import load_script

Row = dict[bytes, bytes]

_LOOK = load_script("penstock", "look")
_EVENT_ID = re.compile(r"([0-9]{1,20})(?:-([0-9]{1,20}))?")


def pairs(reply: Any) -> Row:
    """A flat reply of names and values as a dict; what is a dict already stays."""
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


@contextmanager
def reading(job_id: str) -> Iterator[None]:
    """Turn what tells that a key of the job holds something else into CorruptRecordError."""
    try:
        yield
    except ResponseError as error:
        if not str(error).startswith("WRONGTYPE"):
            raise
        raise CorruptRecordError(job_id, "a key of it holds another type") from None


async def read_status(link: Link, job_id: str, tenant: str) -> JobStatus:
    """The job as it is now.

    Raises JobNotFoundError if there is none or it is another tenant's, CorruptRecordError if it is not readable.
    """
    with reading(job_id):
        row = pairs(await link.call(_LOOK, [keys.record(job_id)], [tenant]))
    if not row:
        raise JobNotFoundError(job_id)
    return parse_status(job_id, row)


async def read_request(link: Link, job_id: str) -> JobRequest:
    """The request of a job that is known to exist and to be the tenant's. Raises as :func:`read_status`."""
    with reading(job_id):
        text = await link.execute("GET", keys.request(job_id))
    if text is None:
        raise CorruptRecordError(job_id, "its request is gone")
    try:
        return JobRequest.model_validate_json(text)
    except ValidationError as error:
        raise CorruptRecordError(job_id, _where(error)) from None


async def read_events(link: Link, job_id: str, after: str, most: int) -> list[Event]:
    """At most *most* events behind the id *after*. Raises CorruptRecordError, UnavailableError."""
    with reading(job_id):
        entries = await link.execute("XRANGE", keys.events(job_id), f"({after}", "+", "COUNT", most)
    return [parse_event(job_id, entry) for entry in entries]


async def check_kept(link: Link, job_id: str, after: str) -> None:
    """Raise EventsLostError unless every event behind the id *after* is still kept."""
    try:
        with reading(job_id):
            about = pairs(await link.execute("XINFO", "STREAM", keys.events(job_id)))
    except ResponseError as error:
        if "no such key" not in str(error):
            raise
        raise EventsLostError(job_id, after) from None
    first: Any = about[b"first-entry"]
    trimmed = int(cast(Any, about[b"entries-added"])) > int(cast(Any, about[b"length"]))
    if trimmed and (first is None or event_order(after) < event_order(first[0].decode())):
        raise EventsLostError(job_id, after)


def event_order(event_id: str) -> tuple[int, int]:
    """An event's id as what it is ordered by. Raises InvalidRequestError if it is none."""
    found = _EVENT_ID.fullmatch(event_id) if isinstance(event_id, str) else None
    order = (int(found[1]), int(found[2] or 0)) if found else (2**64, 0)
    if max(order) >= 2**64:
        raise InvalidRequestError("is not an event's id", field="after")
    return order


def parse_status(job_id: str, row: Row) -> JobStatus:
    """A record's fields as a status. Raises CorruptRecordError for what this version cannot read."""
    try:
        if int(row[b"v"]) > RECORD_VERSION:
            raise CorruptRecordError(job_id, f"it is of version {int(row[b'v'])}; upgrade this side")
        return JobStatus.model_validate(_status_fields(job_id, row), strict=False)
    except ValidationError as error:
        raise CorruptRecordError(job_id, _where(error)) from None
    except (KeyError, ValueError, OverflowError) as error:
        raise CorruptRecordError(job_id, f"{type(error).__name__} in its fields") from None


def _status_fields(job_id: str, row: Row) -> dict[str, Any]:
    text = {name: row[name.encode()].decode() for name in ("task", "tenant", "lane", "state")}
    numbers = {name: int(row[name.encode()]) for name in ("run", "calls")}
    moments = {
        name: moment(row[name.encode()]) if name.encode() in row else None
        for name in ("created_at", "due_at", "started_at", "ended_at", "deadline_at")
    }
    return {
        "job_id": job_id,
        "attempts": int(row[b"attempt"]),
        "result": orjson.loads(row[b"result"]) if b"result" in row else None,
        "failure": orjson.loads(row[b"failure"]) if b"failure" in row else None,
        **({"priority": int(row[b"priority"])} if b"priority" in row else {}),
        **text,
        **numbers,
        **moments,
    }


def parse_event(job_id: str, entry: tuple[bytes, Any]) -> Event:
    """One entry of a job's stream. Raises CorruptRecordError for what is none of ours."""
    stream_id, fields = entry
    row = pairs(fields)
    try:
        return Event(
            id=stream_id.decode(),
            type=cast(Any, row[b"type"].decode()),
            at=moment(row[b"at"]),
            run=int(row[b"run"]),
            data=orjson.loads(row[b"data"]),
        )
    except ValidationError as error:
        raise CorruptRecordError(job_id, f"event {stream_id.decode()}: {_where(error)}") from None
    except (KeyError, ValueError, OverflowError):
        raise CorruptRecordError(job_id, f"event {stream_id.decode()} is not one of ours") from None


def result_of(status: JobStatus) -> JobResult[Any]:
    """The result of a terminal job; raises the error that tells how it ended if it has none."""
    if status.result is not None:
        return status.result
    if status.state is JobState.CANCELLED:
        raise JobCancelledError(status.job_id)
    if status.state is JobState.EXPIRED:
        raise JobExpiredError(status.job_id)
    if status.failure is None:
        raise CorruptRecordError(status.job_id, f"it is {status.state} without a result")
    raise JobDeadError(status.job_id, status.failure.code, status.failure.message)


def _where(error: ValidationError) -> str:
    path, reason = first_fault(error)
    return f"{path or 'record'}: {reason}"
