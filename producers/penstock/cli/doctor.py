"""``penstock doctor``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from penstock.cli import exits
from penstock.cli.arq_checks import examine_arq
from penstock.cli.checks import Finding, examine
from penstock.cli.commands import single
from penstock.cli.money_checks import examine_money
from penstock.cli.output import Output
from penstock.cli.session import Session, place_of, run
from penstock.cli.text import one_line
from penstock_schemas.errors import UnavailableError
from penstock_store.arq_queue import ARQ_QUEUE
from penstock_store.settings import config_file

_MARKS = {"ok": "✓", "info": "·", "warn": "!", "fail": "✗", "wrong": "✗"}
_PLAIN_MARKS = {"ok": "ok", "info": "--", "warn": "!!", "fail": "XX", "wrong": "XX"}
_FAULTS_SHOWN = 50

_START = "start it (`penstock redis` for development), or say where it is by REDIS_URL, --redis or penstock.toml"


def doctor(
    ctx: typer.Context,
    arq: Annotated[bool, typer.Option("--arq", help="examine an existing arq queue instead, job by job")] = False,
    queue: Annotated[str, typer.Option("--queue", metavar="NAME", help="with --arq: the queue's key")] = ARQ_QUEUE,
    quick: Annotated[
        bool, typer.Option("--quick", help="without the money, which takes longer the more jobs there are")
    ] = False,
) -> None:
    """Check Redis, what Penstock has in it, and whether the money adds up; say what to fix. Reads only.

    The books of all jobs, budgets and calls are compared, also while workers write; --quick leaves that out. Ends with
    0 when nothing is unsafe or wrong, 3 when something is unsafe, 1 when money does not add up, 4 when Redis cannot be
    reached; with --arq with 1 when a job is expired, stuck, overdue, poisoned or unreadable.
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
        if not quick:
            with session.out.progress("Comparing the books", None) as advance:
                money = await examine_money(session.producer.link, advance)
            for finding in money:
                _print(session.out, finding)
            findings += money
        unsafe, wrong = (sum(finding.mark == mark for finding in findings) for mark in ("fail", "wrong"))
        told = f"{unsafe} unsafe" if unsafe else "nothing is unsafe"
        session.out.talk(f"{told}; money does not add up" if wrong else told)
        return exits.CONFIGURATION if unsafe else exits.SOME_FAILED if wrong else exits.DONE

    run(ctx, work)


def _print(out: Output, finding: Finding) -> None:
    if out.as_json:
        out.json(asdict(finding))
        return
    marks = _MARKS if out.can_write("✓✗") else _PLAIN_MARKS
    fix = f" Fix: {finding.fix}" if finding.fix and finding.mark in ("warn", "fail", "wrong") else ""
    out.line(one_line(f"{marks[finding.mark]} {finding.id} {finding.name}: {finding.said}.{fix}"))
    for fault in finding.faults[:_FAULTS_SHOWN]:
        out.line(one_line(f"      {fault}"))
    if len(finding.faults) > _FAULTS_SHOWN:
        out.line(f"      and {len(finding.faults) - _FAULTS_SHOWN} more; --json has all")


app = single(
    doctor, "penstock doctor", "penstock doctor --json | jq 'select(.mark != \"ok\")'", "penstock doctor --arq"
)
