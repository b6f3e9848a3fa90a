"""What comes back is in the type that was asked for."""

import asyncio
import subprocess
import sys
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from penstock import Classify, Extract, Labels, OutputMismatchError, Producer, Summarize, Summary
from tests.support.jobs import HandWorker
from tests.support.tasks import Translate, Translation


class Line(BaseModel):
    item: str
    price: float


class Invoice(BaseModel):
    number: str
    issued: date
    lines: list[Line]

    @field_validator("number")
    @classmethod
    def _known(cls, number: str) -> str:
        if not number.startswith("R-"):
            raise ValueError("is not a number of ours")
        return number


ANSWER = {"number": "R-8812", "issued": "2026-03-01", "lines": [{"item": "Pump", "price": 12.5}]}


async def test_extract_with_a_model_gives_the_model(producer: Producer, worker: HandWorker) -> None:
    """Dates are dates, lines are lines."""
    job = await producer.enqueue(Extract(text="An invoice.", schema=Invoice))
    assert (await job.request()).input["schema"] == Invoice.model_json_schema()
    await worker.succeed(await worker.claim_one(), ANSWER)
    invoice = (await job.result()).output
    assert isinstance(invoice, Invoice)
    assert (invoice.issued, invoice.lines[0].item) == (date(2026, 3, 1), "Pump")


async def test_extract_with_a_schema_gives_plain_json(producer: Producer, worker: HandWorker) -> None:
    """So does a handle that knows only the id."""
    job = await producer.enqueue(Extract(text="An invoice.", schema=Invoice.model_json_schema()))
    await worker.succeed(await worker.claim_one(), ANSWER)
    assert (await job.result()).output == ANSWER
    assert (await producer.job(job.id).result()).output == ANSWER


async def test_an_answer_that_the_model_refuses_is_told_without_the_answer(
    producer: Producer, worker: HandWorker
) -> None:
    """It passed the schema, which cannot say all that a model checks; the plain answer is in the status."""
    job = await producer.enqueue(Extract(text="An invoice.", schema=Invoice))
    await worker.succeed(await worker.claim_one(), {**ANSWER, "number": "secret-1"})
    with pytest.raises(OutputMismatchError, match="number: is not a number of ours") as mismatch:
        await job.result()
    assert mismatch.value.job_id == job.id
    assert "secret-1" not in str(mismatch.value)
    status = await job.status()
    assert status.result is not None
    assert status.result.output["number"] == "secret-1"


@pytest.mark.parametrize(
    ("asked", "answer", "output"),
    [
        (Summarize(text="A"), {"summary": "Short."}, Summary(summary="Short.")),
        (Classify(text="A", labels=["bug", "praise"]), {"labels": ["bug"]}, Labels(labels=["bug"])),
        (Translate(text="A"), {"text": "Ein A", "language": "German"}, Translation(text="Ein A", language="German")),
    ],
    ids=["summarize", "classify", "a task of one's own"],
)
async def test_each_task_gives_its_output(
    producer: Producer, worker: HandWorker, asked: Any, answer: Any, output: Any
) -> None:
    """By the handle of the enqueue, by run, and by the id alone."""
    job = await producer.enqueue(asked, idempotency_key="k")
    await worker.succeed(await worker.claim_one(), answer)
    assert (await job.result()).output == output
    assert (await producer.run(asked, idempotency_key="k")).output == output
    assert (await producer.job(job.id).result()).output == output


async def test_a_task_that_this_process_does_not_know_gives_plain_json(
    producer: Producer, redis_url: str, worker: HandWorker
) -> None:
    """A reader needs the id only, not the service's own classes."""
    job = await producer.enqueue(Translate(text="A"))
    await worker.succeed(await worker.claim_one(), {"text": "Ein A", "language": "German"})
    code = (
        "import sys; from penstock import SyncProducer\n"
        "with SyncProducer.connect(sys.argv[1], tenant='acme') as producer:\n"
        "    print(producer.job(sys.argv[2]).result().output)"
    )
    printed = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code, redis_url, job.id], check=True, capture_output=True, text=True
    )
    assert printed.stdout.strip() == "{'text': 'Ein A', 'language': 'German'}"


async def test_a_result_says_what_it_cost(producer: Producer, worker: HandWorker) -> None:
    """Exact money, tokens, who made it, and how long it took."""
    job = await producer.enqueue(Summarize(text="A"), metadata={"order": "8812"})
    await worker.succeed(await worker.claim_one())
    result = await job.result()
    assert result.cost_usd == Decimal("0.000027")
    assert result.usage.total_tokens == 120
    assert (result.made_by.name, result.made_by.prompt) == ("openai/gpt-4o-mini", "summarize@1")
    assert result.latency_s >= 0
    assert (result.attempts, result.run) == (1, 1)
    assert (await job.request()).metadata == {"order": "8812"}
