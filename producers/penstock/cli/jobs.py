"""``penstock status``, ``result``, ``events`` and ``cancel``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Annotated

import typer

from penstock.cli import exits
from penstock.cli.commands import single
from penstock.cli.parsing import duration_s, ids_of
from penstock.cli.session import Session, run
from penstock.cli.show import answer_text, print_status, provenance, result_json
from penstock.cli.text import one_line
from penstock_schemas.errors import InvalidRequestError, JobError
from penstock_schemas.jobs import JobState

JobId = Annotated[str, typer.Argument(metavar="ID", help="the job's id")]
JobIds = Annotated[list[str], typer.Argument(metavar="ID", help="ids of jobs; - for those on standard input")]


def status(ctx: typer.Context, job_ids: JobIds) -> None:
    """Show where jobs are."""

    async def work(session: Session) -> int:
        async def show(job_id: str) -> None:
            print_status(session.out, await session.producer.status(job_id))

        return await _each(session, ids_of(job_ids), show)

    run(ctx, work)


def result(
    ctx: typer.Context,
    job_id: JobId,
    wait: Annotated[
        str | None,
        typer.Option("--wait", metavar="TIME", help="wait so long for the end, such as 30s; 0 is not at all"),
    ] = None,
) -> None:
    """Print a job's answer; who made it is told on standard error.

    Without --wait it looks once. Ends with 1 when the job is not finished, dead, cancelled or expired.
    """
    timeout_s = duration_s(wait) if wait is not None else 0.0

    async def work(session: Session) -> None:
        found = await session.producer.job(job_id).result(timeout_s=timeout_s)
        if session.out.as_json:
            session.out.json(result_json(found))
        else:
            session.out.answer(answer_text(found))
            session.out.talk(one_line(provenance(found)))

    run(ctx, work)


def events(
    ctx: typer.Context,
    job_id: JobId,
    after: Annotated[
        str | None, typer.Option("--after", metavar="EVENT", help="go on behind this event, by its id")
    ] = None,
) -> None:
    """Follow a job's events, the past ones first, until it ends."""

    async def work(session: Session) -> None:
        out = session.out
        async with aclosing(session.producer.job(job_id).events(after=after)) as stream:
            async for event in stream:
                if out.as_json:
                    out.json(event.model_dump(mode="json"))
                else:
                    data = " ".join(f"{name}={value}" for name, value in event.data.items() if value is not None)
                    at = event.at.astimezone().strftime("%H:%M:%S.%f")[:-3]
                    out.line(one_line(f"{event.id}  {at}  {event.type:<10} {data}".rstrip()))

    run(ctx, work)


def cancel(ctx: typer.Context, job_ids: JobIds) -> None:
    """Stop jobs, wherever they are. A running one is stopped by its worker within a second.

    Ends with 1 when one was over already, other than by a cancel.
    """

    async def work(session: Session) -> int:
        async def stop(job_id: str) -> None:
            found = await session.producer.cancel(job_id)
            over = found.terminal and found is not JobState.CANCELLED
            done = {JobState.RUNNING: "told its worker", JobState.CANCELLED: "was cancelled before"}.get(found)
            told = "nothing done" if over else done or "cancelled"
            if session.out.as_json:
                session.out.json({"job_id": job_id, "found": found.value, "cancelled": not over})
            else:
                session.out.line(f"{job_id}\twas {found.value}\t{told}")
            if over:
                raise JobError(job_id, f"is {found.value} already")

        return await _each(session, ids_of(job_ids), stop)

    run(ctx, work)


async def _each(session: Session, job_ids: list[str], act: Callable[[str], Awaitable[None]]) -> int:
    """Do *act* with each id; what fails is told, and makes the exit code 1. A single one fails as it fails."""
    failed = 0
    for job_id in job_ids:
        try:
            await act(job_id)
        except (JobError, InvalidRequestError) as error:
            if len(job_ids) == 1:
                raise
            failed += 1
            session.out.error(f"penstock: {one_line(error.message)}")
    return exits.SOME_FAILED if failed else exits.DONE


status_app = single(status, "penstock status 3f0c5e", "penstock status 3f0c5e --json")
result_app = single(result, "penstock result 3f0c5e --wait 30s > answer.md")
events_app = single(events, "penstock events 3f0c5e", "penstock events 3f0c5e --after 1700000000000-0 --json")
cancel_app = single(
    cancel, "penstock cancel 3f0c5e 77ab01", "penstock dead list --json | jq -r .job_id | penstock cancel -"
)
