"""What Redis holds about a job, read into its contract."""

from __future__ import annotations

from typing import Any, cast

import orjson
from pydantic import ValidationError

from penstock_schemas import keys
from penstock_schemas.errors import (
    CorruptRecordError,
    JobCancelledError,
    JobDeadError,
    JobExpiredError,
    JobNotFoundError,
)
from penstock_schemas.events import Event
from penstock_schemas.jobs import RECORD_VERSION, JobRequest, JobState, JobStatus
from penstock_schemas.results import JobResult, moment
from penstock_schemas.validation import first_fault
from penstock_store.batcher import Batcher

Row = dict[bytes, bytes]


def pairs(reply: Any) -> Row:
    """A flat reply of names and values as a dict; what is a dict already stays."""
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


async def read_status(batcher: Batcher, job_id: str, tenant: str) -> JobStatus:
    """The job as it is now.

    Raises JobNotFoundError if there is none or it is another tenant's, CorruptRecordError if it is not readable.
    """
    row = pairs(await batcher.execute("HGETALL", keys.record(job_id)))
    if not row or row.get(b"tenant") != tenant.encode():
        raise JobNotFoundError(job_id)
    return parse_status(job_id, row)


async def read_request(batcher: Batcher, job_id: str) -> JobRequest:
    """The request of a job that is known to exist. Raises as :func:`read_status`."""
    text = await batcher.execute("GET", keys.request(job_id))
    if text is None:
        raise JobNotFoundError(job_id)
    try:
        return JobRequest.model_validate_json(text)
    except ValidationError as error:
        raise CorruptRecordError(job_id, _where(error)) from None


def parse_status(job_id: str, row: Row) -> JobStatus:
    """A record's fields as a status. Raises CorruptRecordError for what this version cannot read."""
    try:
        if int(row[b"v"]) > RECORD_VERSION:
            raise CorruptRecordError(job_id, f"it is of version {int(row[b'v'])}; upgrade this side")
        return JobStatus.model_validate(_status_fields(job_id, row), strict=False)
    except ValidationError as error:
        raise CorruptRecordError(job_id, _where(error)) from None
    except (KeyError, ValueError) as error:
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
        **text,
        **numbers,
        **moments,
    }


def parse_event(entry: tuple[bytes, Any]) -> Event:
    """One entry of a job's stream."""
    stream_id, fields = entry
    row = pairs(fields)
    return Event(
        id=stream_id.decode(),
        type=cast(Any, row[b"type"].decode()),
        at=moment(row[b"at"]),
        run=int(row[b"run"]),
        data=orjson.loads(row[b"data"]),
    )


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
