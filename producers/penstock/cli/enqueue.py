"""``penstock enqueue``: jobs from files, or from JSON Lines."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from penstock.cli import exits
from penstock.cli.commands import single
from penstock.cli.parsing import file_text
from penstock.cli.session import Session, run
from penstock.cli.show import answer_text, result_json
from penstock.cli.task_options import (
    AllowNone,
    Asked,
    Deadline,
    DurabilityOption,
    EvidenceOption,
    Focus,
    IdempotencyKey,
    Instructions,
    LabelsOption,
    LaneOption,
    Language,
    MaxAttempts,
    MaxCost,
    MaxOutputTokens,
    MaxTotalTokens,
    MaxWords,
    Metadata,
    MultiLabel,
    OnFailure,
    Priority,
    Schema,
    Style,
    TaskName,
    User,
    asked_of,
    json_object,
)
from penstock.cli.text import one_line
from penstock.handle import JobHandle
from penstock_schemas.errors import PenstockError, UnavailableError
from penstock_schemas.tasks import TaskInput

_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Item:
    """One job to be: where it stands, and its input or why it has none."""

    where: str
    asked: TaskInput[Any] | None
    key: str | None = None
    error: PenstockError | typer.BadParameter | None = None


def enqueue(
    ctx: typer.Context,
    task: TaskName,
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE",
            help="texts in UTF-8, one job each; .jsonl files and - (standard input) hold "
            'an object a line: {"text": ..., "idempotency_key": ...}, its other fields those of the task',
        ),
    ] = None,
    max_words: MaxWords = None,
    style: Style = None,
    language: Language = None,
    focus: Focus = None,
    labels: LabelsOption = None,
    multi_label: MultiLabel = False,
    allow_none: AllowNone = False,
    schema: Schema = None,
    instructions: Instructions = None,
    evidence: EvidenceOption = False,
    wait: Annotated[bool, typer.Option("--wait", help="wait for the answers and print them as they come")] = False,
    lane: LaneOption = None,
    priority: Priority = None,
    deadline: Deadline = None,
    max_attempts: MaxAttempts = None,
    max_cost: MaxCost = None,
    max_total_tokens: MaxTotalTokens = None,
    max_output_tokens: MaxOutputTokens = None,
    user: User = None,
    on_failure: OnFailure = None,
    metadata: Metadata = None,
    durability: DurabilityOption = None,
    idempotency_key: IdempotencyKey = None,
) -> None:
    """Enqueue jobs and print their ids.

    What cannot be enqueued is told on standard error and makes the exit code 1; the rest is enqueued.
    """
    asked = asked_of(task, ctx.params)
    items = [item for file in files or ["-"] for item in _items(asked, file)]
    if idempotency_key is not None:
        if len(items) != 1:
            raise typer.BadParameter('--idempotency-key is for one job; give each line its own "idempotency_key"')
        items = [Item(items[0].where, items[0].asked, idempotency_key, items[0].error)]

    async def work(session: Session) -> int:
        return await _Enqueue(session, asked, wait).all(items)

    run(ctx, work)


def _items(asked: Asked, file: str) -> Iterator[Item]:
    text = file_text(file)
    if file != "-" and not file.endswith(".jsonl"):
        yield _item(file, lambda: (asked.of_text(text), None))
        return
    name = "standard input" if file == "-" else file
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield _item(f"{name}:{number}", lambda line=line, number=number: _of_line(asked, line, f"line {number}"))


def _item(where: str, make: Any) -> Item:
    try:
        asked, key = make()
    except (PenstockError, typer.BadParameter) as error:
        return Item(where, None, None, error)
    return Item(where, asked, key)


def _of_line(asked: Asked, line: str, where: str) -> tuple[TaskInput[Any], str | None]:
    fields = json_object(line, where)
    key = fields.pop("idempotency_key", None)
    return asked.of_object(fields), key


class _Enqueue:
    def __init__(self, session: Session, asked: Asked, wait: bool) -> None:
        self._out = session.out
        self._producer = session.producer
        self._asked = asked
        self._wait = wait
        self._failed = 0

    async def all(self, items: list[Item]) -> int:
        """Enqueue *items*, and with ``--wait`` wait for their ends. One alone fails with its own error."""
        if len(items) == 1 and items[0].error is not None:
            raise items[0].error
        accepted: list[tuple[Item, JobHandle[Any]]] = []
        with self._out.progress("Enqueueing", len(items)) as advance:
            for at in range(0, len(items), _AT_ONCE):
                part = items[at : at + _AT_ONCE]
                accepted += await self._some(part, alone=len(items) == 1)
                advance(len(part))
        if self._wait:
            await self._results(accepted)
        known = sum(not job.created for _, job in accepted)
        told = f"{len(accepted)} of {len(items)} enqueued" + (f", {known} of them known by their key" if known else "")
        self._out.talk(f"{told}; follow one: penstock events ID" if accepted and not self._wait else told)
        return exits.SOME_FAILED if self._failed else exits.DONE

    async def _some(self, part: list[Item], *, alone: bool) -> list[tuple[Item, JobHandle[Any]]]:
        outcomes = await asyncio.gather(*(self._one(item) for item in part), return_exceptions=True)
        accepted: list[tuple[Item, JobHandle[Any]]] = []
        away: UnavailableError | None = None
        for item, outcome in zip(part, outcomes, strict=True):
            match outcome:
                case JobHandle():
                    accepted.append((item, outcome))
                    self._print_job(item, outcome)
                case UnavailableError():
                    away = outcome
                case PenstockError() | typer.BadParameter() if not alone:
                    self._fail(item, outcome)
                case _:
                    raise outcome
        if away is not None:
            raise away
        return accepted

    async def _one(self, item: Item) -> JobHandle[Any]:
        if item.asked is None:
            raise item.error or AssertionError
        return await self._producer.enqueue(item.asked, idempotency_key=item.key, **self._asked.options)

    async def _results(self, accepted: list[tuple[Item, JobHandle[Any]]]) -> None:
        waiting = [asyncio.create_task(self._result(item, job)) for item, job in accepted]
        with self._out.progress("Waiting", len(waiting)) as advance:
            try:
                for next_one in asyncio.as_completed(waiting):
                    await next_one
                    advance(1)
            finally:
                for task in waiting:
                    task.cancel()

    async def _result(self, item: Item, job: JobHandle[Any]) -> None:
        try:
            result = await job.result()
        except PenstockError as error:
            self._fail(item, error, job.id)
            return
        if self._out.as_json:
            self._out.json({"from": item.where, **result_json(result)})
        else:
            answer = one_line(answer_text(result))
            self._out.line(f"{job.id}\t{one_line(item.where)}\t{result.state}\t{answer}")

    def _print_job(self, item: Item, job: JobHandle[Any]) -> None:
        if self._wait:
            return
        if self._out.as_json:
            self._out.json({"job_id": job.id, "created": job.created, "from": item.where})
        else:
            self._out.line(job.id)

    def _fail(self, item: Item, error: PenstockError | typer.BadParameter, job_id: str | None = None) -> None:
        self._failed += 1
        message = error.message
        if self._out.as_json and self._wait and isinstance(error, PenstockError):
            self._out.json({"from": item.where, "job_id": job_id, "error": error.as_dict()})
        self._out.error(f"penstock: {one_line(item.where)}: {one_line(message)}")


app = single(
    enqueue,
    "penstock enqueue summarize *.txt --max-words 80 --deadline 1h",
    "cat mails.jsonl | penstock enqueue classify --labels bug,billing,praise --wait --json",
)
