"""``penstock costs``."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict
from typing import Annotated, Any

import typer

from penstock.cli.commands import single
from penstock.cli.letter_lines import usd_text
from penstock.cli.output import Output
from penstock.cli.parsing import time_range
from penstock.cli.session import Session, run
from penstock.cli.text import one_line
from penstock.costs import COST_KEYS, CostKey, CostLine, ledger_length, read_costs
from penstock_schemas.results import BUCKETS

_LONG = 5_000
_COLUMNS = ("key", "calls", "cost_usd", "uncertain_usd", "unpriced_calls", "orphan_calls", *BUCKETS)


def costs(
    ctx: typer.Context,
    by: Annotated[str, typer.Option("--by", metavar="KEY", help="tenant, task, model, prompt or day")] = "day",
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="such as 7d or 2026-01-31")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="such as 1d or 2026-01-31")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="comma-separated, with a header")] = False,
) -> None:
    """Sum what was spent, exactly, from the ledger of all provider calls.

    Of all tenants, or of the one that --tenant names. Uncertain is what calls of unknown outcome may have cost
    besides; a call without a known price is counted and not summed. Days are UTC.
    """
    if by not in COST_KEYS:
        raise typer.BadParameter(f"--by wants one of {', '.join(COST_KEYS)}; not {by[:40]!r}")
    if as_csv and ctx.obj.json:
        raise typer.BadParameter("give --csv or --json, not both")
    times = time_range(since, until)
    key: CostKey = by

    async def work(session: Session) -> None:
        first, last = await session.at(times[0]), await session.at(times[1])
        total = await ledger_length(session.producer) if times == (None, None) else None
        with session.out.progress("Reading the ledger", total, least=_LONG) as advance:
            lines = await read_costs(
                session.producer, key, tenant=session.options.tenant, since=first, until=last, progress=advance
            )
        _print(session.out, key, lines, as_csv)

    run(ctx, work)


def _print(out: Output, by: str, lines: list[CostLine], as_csv: bool) -> None:
    if out.as_json:
        for line in lines:
            out.json({by: line.key, **_json(line)})
    elif as_csv:
        _print_csv(out, by, lines)
    elif lines:
        whole = [*lines, _sum(lines)] if out.terminal and len(lines) > 1 else lines
        rows = [[str(value) for value in _row(line)] for line in whole]
        headers = [by, "calls", "cost USD", "uncertain USD", "unpriced", "orphaned", "tokens"]
        out.table(headers, rows, right=headers[1:])
    else:
        out.talk("no calls")


def _json(line: CostLine) -> dict[str, Any]:
    fields = asdict(line)
    tokens: dict[str, int] = fields.pop("tokens")
    del fields["key"]
    cost, uncertain = fields.pop("cost_nanousd"), fields.pop("uncertain_nanousd")
    return {"cost_usd": usd_text(cost), "uncertain_usd": usd_text(uncertain), **fields, **tokens}


def _print_csv(out: Output, by: str, lines: list[CostLine]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writerow({**{name: name for name in _COLUMNS}, "key": by})
    for line in lines:
        writer.writerow({"key": one_line(line.key), **_json(line)})
    out.line(text.getvalue().rstrip("\n"))


def _row(line: CostLine) -> tuple[Any, ...]:
    amounts = usd_text(line.cost_nanousd), usd_text(line.uncertain_nanousd)
    return line.key, line.calls, *amounts, line.unpriced_calls, line.orphan_calls, sum(line.tokens.values())


def _sum(lines: list[CostLine]) -> CostLine:
    total = CostLine("total")
    for line in lines:
        for name in ("calls", "cost_nanousd", "uncertain_nanousd", "unpriced_calls", "orphan_calls"):
            setattr(total, name, getattr(total, name) + getattr(line, name))
        for bucket in BUCKETS:
            total.tokens[bucket] += line.tokens[bucket]
    return total


app = single(costs, "penstock costs --by model --since 7d", "penstock costs --by tenant --csv > costs.csv")
