"""``penstock doctor``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from penstock.cli import exits
from penstock.cli.arq_checks import examine_arq
from penstock.cli.checks import Finding, examine
from penstock.cli.commands import single
from penstock.cli.output import Output
from penstock.cli.session import Session, place_of, run
from penstock.cli.text import one_line
from penstock_schemas.errors import UnavailableError
from penstock_store.arq_queue import ARQ_QUEUE
from penstock_store.settings import config_file

_MARKS = {"ok": "✓", "info": "·", "warn": "!", "fail": "✗"}
_PLAIN_MARKS = {"ok": "ok", "info": "--", "warn": "!!", "fail": "XX"}

_START = "start it (`penstock redis` for development), or say where it is by REDIS_URL, --redis or penstock.toml"


def doctor(
    ctx: typer.Context,
    arq: Annotated[bool, typer.Option("--arq", help="examine an existing arq queue instead, job by job")] = False,
    queue: Annotated[str, typer.Option("--queue", metavar="NAME", help="with --arq: the queue's key")] = ARQ_QUEUE,
) -> None:
    """Check Redis and what Penstock has in it, and say what to fix. Reads only.

    Ends with 0 when nothing is unsafe, 3 when something is, 4 when Redis cannot be reached; with --arq with 1 when
    a job is expired, stuck, overdue, poisoned or unreadable.
    """

    async def work(session: Session) -> int:
        if arq:
            return await examine_arq(session.out, session.settings.redis.url, queue)
        file = config_file(session.options.config)
        try:
            findings = await examine(session.producer.link, session.settings, file)
        except UnavailableError as error:
            where = place_of(session.settings.redis.url)
            _print(session.out, Finding("D01", "Redis", "fail", f"{where}: {error.message}", _START))
            return exits.UNREACHABLE
        for finding in findings:
            _print(session.out, finding)
        unsafe = sum(finding.mark == "fail" for finding in findings)
        session.out.talk(f"{unsafe} unsafe" if unsafe else "nothing is unsafe")
        return exits.CONFIGURATION if unsafe else exits.DONE

    run(ctx, work)


def _print(out: Output, finding: Finding) -> None:
    if out.as_json:
        out.json(asdict(finding))
        return
    marks = _MARKS if out.can_write("✓✗") else _PLAIN_MARKS
    fix = f" Fix: {finding.fix}" if finding.fix and finding.mark in ("warn", "fail") else ""
    out.line(one_line(f"{marks[finding.mark]} {finding.id} {finding.name}: {finding.said}.{fix}"))


app = single(
    doctor, "penstock doctor", "penstock doctor --json | jq 'select(.mark != \"ok\")'", "penstock doctor --arq"
)
