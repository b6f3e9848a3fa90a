"""``penstock run``: one job, and its answer."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from penstock.cli import exits
from penstock.cli.commands import single
from penstock.cli.parsing import duration_s, file_text
from penstock.cli.session import Session
from penstock.cli.session import run as in_session
from penstock.cli.show import answer_text, provenance, result_json
from penstock.cli.task_options import (
    AllowNone,
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
)
from penstock.cli.text import one_line
from penstock.handle import JobHandle
from penstock_schemas.jobs import JobState
from penstock_schemas.results import JobResult

_PATIENCE_S = 5.0
_LEVELS = {"any": 0, "succeeded": 1, "ok": 2}


def run(
    ctx: typer.Context,
    task: TaskName,
    file: Annotated[str, typer.Argument(metavar="FILE", help="a text in UTF-8; - is standard input")],
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
    require: Annotated[
        str, typer.Option("--require", metavar="LEVEL", help="end with 1 below it: any, succeeded (by a model) or ok")
    ] = "any",
    wait: Annotated[
        str | None, typer.Option("--wait", metavar="TIME", help="wait at most so long, such as 2m; the job goes on")
    ] = None,
    lane: LaneOption = "interactive",
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
    """Enqueue one job, wait for it, and print its answer alone.

    The answer goes to standard output; who made it, and what it took, to standard error.
    """
    if require not in _LEVELS:
        raise typer.BadParameter(f"--require wants one of {', '.join(_LEVELS)}")
    asked, timeout_s = asked_of(task, ctx.params), duration_s(wait) if wait else None
    text = file_text(file)

    async def work(session: Session) -> int:
        job = await session.producer.enqueue(asked.of_text(text), idempotency_key=idempotency_key, **asked.options)
        session.out.talk(f"job {job.id}" + ("" if job.created else " (known by its key)"))
        result = await _result(session, job, timeout_s)
        _print(session, result)
        return exits.DONE if _level(result) >= _LEVELS[require] else exits.SOME_FAILED

    in_session(ctx, work)


async def _result(session: Session, job: JobHandle[Any], timeout_s: float | None) -> JobResult[Any]:
    """The job's result; who waits for nobody is told so after a while."""
    hint = asyncio.create_task(_hint(session, job))
    try:
        return await job.result(timeout_s=timeout_s)
    except asyncio.CancelledError:
        session.out.talk(f"the job goes on; its answer: penstock result {job.id} --wait 60s")
        raise
    finally:
        hint.cancel()


async def _hint(session: Session, job: JobHandle[Any]) -> None:
    await asyncio.sleep(_PATIENCE_S)
    status = await job.status()
    if status.state is JobState.QUEUED and status.started_at is None:
        session.out.talk("no worker has taken it yet; is one running? (penstock worker, penstock doctor)")


def _print(session: Session, result: JobResult[Any]) -> None:
    if session.out.as_json:
        session.out.json(result_json(result))
    else:
        session.out.answer(answer_text(result))
        session.out.talk(one_line(provenance(result)))


def _level(result: JobResult[Any]) -> int:
    if result.state != "succeeded":
        return _LEVELS["any"]
    return _LEVELS["ok"] if result.quality.value == "ok" else _LEVELS["succeeded"]


app = single(
    run,
    "penstock run summarize report.txt --max-words 80 > summary.md",
    "penstock run classify mail.txt --labels bug,billing,praise --require ok",
    "cat invoice.txt | penstock run extract - --schema invoice.schema.json",
)
