"""What a service writes, in strict types. It is checked by mypy and never run."""

from decimal import Decimal
from typing import Any, assert_type

from pydantic import BaseModel

from penstock import (
    Classify,
    Event,
    Evidenced,
    Extract,
    JobHandle,
    JobOptions,
    JobResult,
    JobState,
    JobStatus,
    Labels,
    Producer,
    Summarize,
    Summary,
    SyncJobHandle,
    SyncProducer,
    TaskInput,
)


class Invoice(BaseModel):
    number: str
    total: float


class Translation(BaseModel):
    text: str


class Translate(TaskInput[Translation]):
    task = "translate"

    text: str
    language: str = "German"


async def service(producer: Producer, texts: list[str]) -> None:
    job = await producer.enqueue(
        Extract(text="An invoice.", schema=Invoice),
        idempotency_key="invoice-8812",
        lane="interactive",
        deadline_s=120,
        max_cost_usd="0.02",
        on_failure="degrade",
        metadata={"order": "8812"},
    )
    assert_type(job, JobHandle[Invoice])
    result = await job.result(timeout_s=60)
    assert_type(result, JobResult[Invoice])
    assert_type(result.output.total, float)
    quoted = await producer.run(Extract(text="An invoice.", schema=Invoice, evidence=True))
    assert_type(quoted.output, Evidenced[Invoice])
    loose = await producer.run(Extract(text="An invoice.", schema={"type": "object"}, evidence=True))
    assert_type(loose.output, Evidenced[dict[str, Any]])
    assert_type(result.cost_usd, Decimal | None)
    assert_type(result.usage.input_tokens, int | None)
    assert_type(await job.status(), JobStatus)
    assert_type(await job.cancel(), JobState)
    async for event in job.events(after="1-1"):
        assert_type(event, Event)

    assert_type((await producer.run(Summarize(text="x", max_words=80))).output.summary, str)
    assert_type((await producer.run(Classify(text="x", labels=["a", "b"]), timeout_s=5)).output.label, str | None)
    assert_type((await producer.run(Classify(text="x", labels={"a": "what it is", "b": None}))).output, Labels)
    assert_type((await producer.run(Extract(text="x", schema={"type": "object"}))).output, dict[str, Any])
    assert_type((await producer.run(Translate(text="x"))).output.text, str)

    many = await producer.enqueue_many([Summarize(text=text) for text in texts], lane="bulk")
    assert_type(many, list[JobHandle[Summary]])
    options: JobOptions = {"lane": "bulk", "delay_s": 5}
    await producer.enqueue(Summarize(text="x"), **options)
    mixed: list[TaskInput[Any]] = [Summarize(text="x"), Translate(text="y")]
    assert_type(await producer.enqueue_many(mixed), list[JobHandle[Any]])
    assert_type(await producer.job("id").result(), JobResult[Any])


async def connected() -> None:
    async with Producer.connect("redis://localhost:6379/0", tenant="acme", timeout_s=1) as producer:
        await service(producer, [])


def blocking() -> None:
    with SyncProducer.connect("redis://localhost:6379/0", tenant="acme") as producer:
        job = producer.enqueue(Extract(text="An invoice.", schema=Invoice), stream=True)
        assert_type(job, SyncJobHandle[Invoice])
        assert_type(job.result(timeout_s=5).output.number, str)
        for event in job.events():
            assert_type(event, Event)


async def mistakes(producer: Producer) -> None:
    """Each line is an error to mypy; where it is none, mypy tells that the comment is not used."""
    await producer.enqueue(Summarize())  # type: ignore[call-arg]
    await producer.enqueue(Summarize(text=5))  # type: ignore[arg-type]
    await producer.enqueue(Summarize(text="x", words=5))  # type: ignore[call-arg]
    await producer.enqueue(Summarize(text="x", style="haiku"))  # type: ignore[arg-type]
    await producer.enqueue("text")  # type: ignore[arg-type]
    await producer.enqueue(Summarize(text="x"), lane="urgent")  # type: ignore[arg-type]
    await producer.enqueue(Summarize(text="x"), max_cost_usd=0.02)  # type: ignore[arg-type]
    await producer.enqueue(Summarize(text="x"), job_id="mine")  # type: ignore[call-arg]
    await producer.enqueue(Extract(text="x", schema=int))  # type: ignore[type-var]
    Producer.connect("redis://localhost", tennant="acme")  # type: ignore[call-arg]
    (await producer.run(Summarize(text="x"))).output.labels  # type: ignore[attr-defined]  # noqa: B018
    (await producer.run(Extract(text="x", schema=Invoice))).output.sum  # type: ignore[attr-defined]  # noqa: B018
