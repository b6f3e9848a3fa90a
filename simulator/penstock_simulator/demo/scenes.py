"""What the demo does: every input through the three tasks, a repeat, an outage, a dead letter and its replay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from penstock import (
    Classify,
    Event,
    Extract,
    JobDeadError,
    JobHandle,
    JobResult,
    PenstockError,
    Producer,
    Summarize,
    TaskInput,
)
from penstock.dead_letters import DeadLetters
from penstock.letter_report import CallReport

TIMEOUT_S = 120.0

LABELS = {
    "billing": "a complaint about a payment: charged twice, refund, wrong amount",
    "bug": "an error, a crash, something that does not work",
    "praise": "thanks and compliments",
    "cancellation": "wants to end a contract or a subscription",
    "incident": "a report about an outage",
    "invoice": "a bill: item, quantity, unit price, total due, VAT",
    "article": "a story for readers: a village, a mill, a stream, people, years, said",
    "other": "none of these",
}


Short = Annotated[str, Field(max_length=80)]


class Facts(BaseModel):
    """What the demo extracts from any text; what a text does not say is left out."""

    title: Short | None = Field(default=None, description="title or subject")
    date: Short | None = Field(default=None, description="the date of the document")
    reference: Short | None = Field(default=None, description="invoice number, incident number or reference")
    email: Short | None = Field(default=None, description="the e-mail address of the sender or contact")
    total: Short | None = Field(default=None, description="total amount with its currency")


OnEvent = Callable[[str, Event], None]


@dataclass(slots=True)
class Shown:
    """One job as the demo shows it."""

    scene: str
    """``work``, ``deduplicated``, ``degraded``, ``dead`` or ``replayed``."""
    task: str
    source: str
    """The name of the input."""
    job_id: str
    result: JobResult[Any] | None = None
    error: PenstockError | None = None
    note: str = ""
    calls: list[CallReport] = field(default_factory=list)
    """For a dead letter: each provider call."""


def asks(text: str) -> list[TaskInput[Any]]:
    """The three jobs for one text."""
    return [
        Summarize(text=text, max_words=45),
        Classify(text=text, labels=LABELS),
        Extract(text=text, schema=Facts),
    ]


async def work(producer: Producer, inputs: Sequence[tuple[str, str]], on_event: OnEvent) -> list[Shown]:
    """All three tasks for each input, all at once."""
    named = [(name, ask) for name, text in inputs for ask in asks(text)]
    jobs = await producer.enqueue_many(
        [ask for _, ask in named],
        idempotency_keys=[f"demo:{name}:{ask.task}" for name, ask in named],
    )
    return await asyncio.gather(
        *(_follow("work", ask.task, name, job, on_event) for (name, ask), job in zip(named, jobs, strict=True))
    )


async def deduplicated(producer: Producer, name: str, text: str) -> Shown:
    """The first summary is asked for again, with its key."""
    job = await producer.enqueue(asks(text)[0], idempotency_key=f"demo:{name}:summarize")
    note = "the key was known: the same job, its answer at once, nothing paid again"
    if job.created:
        raise RuntimeError("a known idempotency key made a new job")
    return Shown("deduplicated", "summarize", name, job.id, await job.result(timeout_s=TIMEOUT_S), note=note)


async def degraded(producer: Producer, name: str, text: str, on_event: OnEvent) -> Shown:
    """A summary whose provider is down: the answer that no model gave, labelled so."""
    job = await producer.enqueue(asks(text)[0], lane="bulk", max_attempts=2)
    shown = await _follow("degraded", "summarize", name, job, on_event)
    shown.note = "its provider is down: the sentences that say most were taken from the text instead"
    return shown


async def dead_and_replayed(
    producer: Producer, name: str, text: str, target: str, on_event: OnEvent
) -> tuple[Shown, Shown]:
    """The same without a fallback: a dead letter, which is then run again with a model that answers."""
    job = await producer.enqueue(asks(text)[0], lane="bulk", max_attempts=2, on_failure="dead_letter")
    dead = await _follow("dead", "summarize", name, job, on_event)
    dead.note = "it may not be answered without a model, so it is a dead letter"
    letters = DeadLetters(producer)
    report = await letters.show(job.id)
    dead.calls = [call for run in report.runs for attempt in run.attempts for call in attempt.calls]
    async for done in letters.replay([job.id], target=target):
        if done.refused is not None:
            raise done.refused
    replayed = await _follow("replayed", "summarize", name, job, on_event)
    replayed.note = f"the dead letter was replayed with {target}: run 2 of the same job"
    return dead, replayed


async def _follow(scene: str, task: str, source: str, job: JobHandle[Any], on_event: OnEvent) -> Shown:
    async for event in job.events():
        on_event(job.id, event)
    shown = Shown(scene, task, source, job.id)
    try:
        shown.result = await job.result(timeout_s=TIMEOUT_S)
    except JobDeadError as error:
        shown.error = error
    return shown


def read_inputs(files: Sequence[Path]) -> list[tuple[str, str]]:
    """Name and text of each file; the demo's own samples when there is none. Raises OSError, UnicodeDecodeError."""
    chosen = list(files) or sorted((Path(__file__).parent / "inputs").glob("*.txt"))
    return [(path.name, path.read_text("utf-8")) for path in chosen]
