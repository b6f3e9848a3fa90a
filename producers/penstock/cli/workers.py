"""``penstock workers``."""

from __future__ import annotations

from typing import Any

import typer

from penstock.cli.commands import single
from penstock.cli.session import Session, run
from penstock.cli.text import local_time
from penstock.worker_reports import read_workers
from penstock_schemas.workers import WorkerReport


def workers(ctx: typer.Context) -> None:
    """The workers that live, as each last told of itself, at most half a minute ago."""

    async def work(session: Session) -> None:
        found = await read_workers(session.producer.link)
        if session.out.as_json:
            for report in found:
                session.out.json(_json(report))
        elif found:
            headers = ["host", "pid", "since", "held", "of", "lanes", "version", "ready"]
            session.out.table(headers, [_row(report) for report in found], right=["pid", "held", "of"])
        else:
            session.out.talk("no worker lives")

    run(ctx, work)


def _row(it: WorkerReport) -> list[str]:
    ready = "yes" if it.why_not is None else it.why_not
    told = [it.host, str(it.pid), local_time(it.started_at), str(it.held), str(it.concurrency)]
    return [*told, ",".join(it.lanes), it.version, ready]


def _json(it: WorkerReport) -> dict[str, Any]:
    return it.model_dump(mode="json")


app = single(workers, "penstock workers", "penstock workers --json | jq .held")
