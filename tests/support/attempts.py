"""Attempts and what belongs to them, made by hand for tests without Redis."""

import time
from collections.abc import Sequence
from typing import Any

import penstock_worker.tasks.classify
import penstock_worker.tasks.extract
import penstock_worker.tasks.summarize  # noqa: F401  (registers its task, as the two above)
from penstock_schemas.jobs import JobRequest
from penstock_schemas.results import Usage
from penstock_schemas.tasks import TaskInput
from penstock_worker.attempt.attempt import Attempt
from penstock_worker.attempt.journal import CallEntry, EndKind, Journal
from penstock_worker.engine.lease import Lease
from penstock_worker.llm.port import Answer, SchemaMode, StopReason, Target
from penstock_worker.routing.routes import Route
from penstock_worker.tasks import tasks

TARGET = Target("openai/gpt-4o-mini", "openai", "gpt-4o-mini", "https://api.openai.com/v1")


def a_lease(job_id: str = "j1") -> Lease:
    """A lease that is trusted for a minute."""
    return Lease(
        job_id=job_id,
        token="token:0",
        queue="penstock:q:standard:acme",
        job_try=1,
        deaths=0,
        score_ms=0,
        payload=None,
        trusted_until=time.monotonic() + 60,
        raw_id=job_id.encode(),
        lane="standard",
        tenant="acme",
    )


def an_attempt(
    asked: TaskInput[Any],
    *,
    number: int = 1,
    run: int = 1,
    calls: Sequence[CallEntry] = (),
    deadline_in_s: float | None = None,
    route: Route | None = None,
    **options: Any,
) -> Attempt:
    """An attempt that starts now; *options* are those of the request."""
    now_ms = round(time.time() * 1000)
    request = JobRequest(task=asked.task, input=asked.model_dump(mode="json"), tenant="acme", **options)
    return Attempt(
        lease=a_lease(),
        request=request,
        task=tasks()[asked.task],
        asked=asked,
        route=route or Route("default", (TARGET,)),
        run=run,
        number=number,
        created_at_ms=now_ms - 2_000,
        started_at_ms=now_ms,
        started=time.monotonic(),
        deadline_at_ms=None if deadline_in_s is None else now_ms + round(deadline_in_s * 1000),
        journal=Journal(list(calls), run, number),
    )


def a_call(call_id: str, kind: EndKind | None = "answered", **end: Any) -> CallEntry:
    """A call of the journal; *end* None: nobody has seen it."""
    intent = {"target": TARGET.name, "prompt": "summarize@1", "held_nanousd": 500, "at_ms": 1}
    return CallEntry(call_id, intent, kind, end)


def an_answer(text: str, stop: StopReason = StopReason.COMPLETE, **fields: Any) -> Answer:
    """An answer of the model."""
    usage = Usage(input_tokens=100, output_tokens=10)
    return Answer(text=text, stop=stop, usage=usage, schema_mode=SchemaMode.JSON_SCHEMA, **fields)
