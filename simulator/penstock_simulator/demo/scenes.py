"""What the demo does: every input through the three tasks, a repeat, an outage, a dead letter and its replay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, Field

from penstock import (
    Classify,
    Event,
    Extract,
    JobError,
    JobHandle,
    JobResult,
    PenstockError,
    Producer,
    Summarize,
    TaskInput,
)
from penstock.dead_letters import DeadLetters
from penstock.letter_report import CallReport

DEADLINE_S = 60.0
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
Id = Annotated[str, Field(max_length=24)]


class Facts(BaseModel):
    """What the demo extracts from any text; what a text does not say is left out."""

    title: Short | None = Field(default=None, description="title or subject")
    date: Short | None = Field(default=None, description="the date of the document")
    reference: Id | None = Field(default=None, description="invoice number, incident number or reference")
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

    @property
    def state(self) -> str:
        """How it ended: ``succeeded``, ``degraded``, ``dead`` or ``expired``."""
        return self.result.state if self.result is not None else self.error.code if self.error else "unknown"

    @property
    def as_told(self) -> bool:
        """Whether it ended as its scene is told."""
        return self.state == {"degraded": "degraded", "dead": "dead"}.get(self.scene, "succeeded")


def asks(text: str) -> list[TaskInput[Any]]:
    """The three jobs for one text."""
    return [
        Summarize(text=text, max_words=45),
        Classify(text=text, labels=LABELS),
        Extract(text=text, schema=Facts),
    ]


async def work(producer: Producer, texts: Sequence[tuple[str, str]], on_event: OnEvent) -> list[Shown]:
    """All three tasks for each text, all at once."""
    named = [(name, ask) for name, text in texts for ask in asks(text)]
    jobs = await producer.enqueue_many(
        [ask for _, ask in named],
        idempotency_keys=[_key(position) for position in range(len(named))],
        deadline_s=DEADLINE_S,
    )
    return await asyncio.gather(
        *(_follow("work", ask.task, name, job, on_event) for (name, ask), job in zip(named, jobs, strict=True))
    )


async def deduplicated(producer: Producer, name: str, text: str) -> Shown:
    """The first summary is asked for again, with its key."""
    key = _key(0)
    job = await producer.enqueue(asks(text)[0], idempotency_key=key, deadline_s=DEADLINE_S)
    if job.created:
        raise RuntimeError("a known idempotency key made a new job")
    note = f"the first summary, asked for again with its key {key!r}: the same job, nothing paid again"
    return Shown("deduplicated", "summarize", name, job.id, await job.result(timeout_s=TIMEOUT_S), note=note)


def _key(position: int) -> str:
    """The idempotency key of the job at this position; a service would take its own id of the document."""
    return f"demo-{position}"


async def degraded(producer: Producer, name: str, text: str, on_event: OnEvent) -> Shown:
    """A summary whose provider is down: the answer that no model gave, labelled so."""
    job = await producer.enqueue(asks(text)[0], lane="bulk", max_attempts=2, deadline_s=DEADLINE_S)
    shown = await _follow("degraded", "summarize", name, job, on_event)
    shown.note = "its provider is down: the sentences that say most were taken from the text, and the answer says so"
    return shown


async def dead_and_replayed(
    producer: Producer, name: str, text: str, target: str, on_event: OnEvent
) -> tuple[Shown, Shown]:
    """The same without a fallback: a dead letter, which is then run again with a model that answers."""
    job = await producer.enqueue(
        asks(text)[0], lane="bulk", max_attempts=2, deadline_s=DEADLINE_S, on_failure="dead_letter"
    )
    dead = await _follow("dead", "summarize", name, job, on_event)
    dead.note = 'the same, but on_failure="dead_letter" forbids an answer that no model gave'
    letters = DeadLetters(producer)
    report = await letters.show(job.id)
    dead.calls = [call for run in report.runs for attempt in run.attempts for call in attempt.calls]
    async for done in letters.replay([job.id], target=target):
        if done.refused is not None:
            raise done.refused
    replayed = await _follow("replayed", "summarize", name, job, on_event)
    replayed.note = f"the dead letter, replayed with {target}: run 2 of the same job"
    return dead, replayed


async def _follow(scene: str, task: str, source: str, job: JobHandle[Any], on_event: OnEvent) -> Shown:
    async for event in job.events():
        on_event(job.id, event)
    shown = Shown(scene, task, source, job.id)
    try:
        shown.result = await job.result(timeout_s=TIMEOUT_S)
    except JobError as error:
        shown.error = error
    return shown
