"""A web service that enqueues summaries, tells where they are, and streams them as they are written.

pip install -e '.[simulator]' 'fastapi>=0.135' uvicorn
python -m penstock_store.server --port 6379 &          # or a Redis of your own, by REDIS_URL
python -m penstock_simulator --port 8081 &             # or a real provider, in the worker's configuration
penstock --config examples/development.toml worker &
uvicorn --app-dir examples fastapi_service:app

curl -i localhost:8000/summaries -H 'Idempotency-Key: report-17' --json '{"text": "…", "max_words": 40}'
curl -N localhost:8000/jobs/<id>/events                 # -H 'Last-Event-ID: <id>' goes on behind that event
curl localhost:8000/jobs/<id>
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Request, Response
from fastapi.responses import JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel

from penstock import JobHandle, JobState, JobStatus, PenstockError, Producer, Summarize

REDIS_URL = os.environ.get("REDIS_URL", "redis://localhost:6379/0")
TENANT = "web"

STATUS = {
    "invalid_request": 422,
    "too_deep": 422,
    "schema_rejected": 422,
    "unknown_task": 422,
    "payload_too_large": 413,
    "idempotency_conflict": 409,
    "rate_limited": 429,
    "budget_exceeded": 429,
    "queue_full": 503,
    "unavailable": 503,
    "not_found": 404,
    "events_lost": 410,
}
"""Penstock's error code -> HTTP status; any other is a fault on this side, 500."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One producer for the whole process: it multiplexes, and reconnects by itself."""
    async with Producer.connect(REDIS_URL, tenant=TENANT) as producer:
        app.state.producer = producer
        yield


app = FastAPI(title="Summaries", lifespan=lifespan)


def the_producer(request: Request) -> Producer:
    """The producer that ``lifespan`` made."""
    producer: Producer = request.app.state.producer
    return producer


ProducerOf = Annotated[Producer, Depends(the_producer)]


async def known_job(job_id: str, producer: ProducerOf) -> JobHandle[Any]:
    """The job of the path; looked at before a response begins, so that an unknown one is a 404."""
    job = producer.job(job_id)
    await job.status()
    return job


class SummaryRequest(BaseModel):
    """What a client sends. What a text may be at most is Penstock's to say, so it is not repeated here."""

    text: str
    max_words: int = 120


class Accepted(BaseModel):
    """The job that will answer."""

    id: str
    created: bool
    """False when the key was known: the same job as before, finished or not."""


@app.exception_handler(PenstockError)
async def refused(_: Request, error: PenstockError) -> JSONResponse:
    """Code, message and fields of the error, which are safe to show."""
    retry_after_s = getattr(error, "retry_after_s", None)
    headers = {"Retry-After": str(round(retry_after_s) or 1)} if retry_after_s else None
    return JSONResponse(error.as_dict(), STATUS.get(error.code, 500), headers)


@app.post("/summaries", status_code=202)
async def summarize(
    asked: SummaryRequest,
    idempotency_key: Annotated[str, Header()],
    producer: ProducerOf,
    response: Response,
) -> Accepted:
    """Accept a summary; sent again with the same key (after a timeout, say) it is still one job, paid once."""
    job = await producer.enqueue(
        Summarize(text=asked.text, max_words=asked.max_words),
        idempotency_key=idempotency_key,
        lane="interactive",
        deadline_s=300,
        stream=True,
    )
    response.headers["Location"] = f"/jobs/{job.id}"
    return Accepted(id=job.id, created=job.created)


@app.get("/jobs/{job_id}")
async def look(job_id: str, producer: ProducerOf) -> JobStatus:
    """Where the job is, with its result when it has one."""
    return await producer.status(job_id)


@app.delete("/jobs/{job_id}")
async def cancel(job_id: str, producer: ProducerOf) -> dict[str, JobState]:
    """Stop it; tells the state in which it was found."""
    return {"was": await producer.cancel(job_id)}


@app.get("/jobs/{job_id}/events", response_class=EventSourceResponse)
async def follow(
    job: Annotated[JobHandle[Any], Depends(known_job)],
    last_event_id: Annotated[str | None, Header()] = None,
) -> AsyncIterator[ServerSentEvent]:
    """The job's events as they come. A browser that lost its connection sends the last id it saw, and misses none.

    An error that is met when the response has begun is an event of its own, and ends the stream.
    """
    try:
        async for event in job.events(after=last_event_id):
            yield ServerSentEvent(id=event.id, event=event.type, data=event.data)
    except PenstockError as error:
        yield ServerSentEvent(event="error", data=error.as_dict())
