"""``penstock costs``: sums, a job's charges explained, and bills."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer

from penstock.cli import chart
from penstock.cli.commands import add
from penstock.cli.explain import explain
from penstock.cli.letter_lines import usd_text
from penstock.cli.output import Output
from penstock.cli.parsing import time_range
from penstock.cli.reconcile import reconcile
from penstock.cli.session import Session, run
from penstock.cli.text import local_time, one_line
from penstock.costs import COST_KEYS, CostKey, CostLine, CostReport, ledger_length, read_cost_report
from penstock_schemas.results import BUCKETS

_LONG = 5_000
_COUNTS = ("calls", "uncertain_calls", "unpriced_calls", "estimated_calls", "orphan_calls")
_COLUMNS = ("key", "calls", "cost_usd", "uncertain_usd", *_COUNTS[1:], *BUCKETS)

_EXAMPLES = (
    "penstock costs --by model --since 7d",
    "penstock costs --by tenant --csv > costs.csv",
    "penstock costs explain JOB",
    "penstock costs reconcile usage.csv --resolve",
)

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    invoke_without_command=True,
    epilog="Examples:\n\n\b\n"
    + "\n".join(f"  {example}" for example in _EXAMPLES)
    + "\n\n\b\nOptions of all commands: penstock --help",
    context_settings={"help_option_names": ["--help", "-h"]},
)


@app.callback()
def costs(
    ctx: typer.Context,
    by: Annotated[str, typer.Option("--by", metavar="KEY", help=", ".join(COST_KEYS))] = "day",
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="such as 7d or 2026-01-31")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="such as 1d or 2026-01-31")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="comma-separated, with a header")] = False,
) -> None:
    """Sum what was spent, exactly, from the ledger of all provider calls.

    Of all tenants, or of the one that --tenant names. Uncertain is what calls of unknown outcome may have cost
    besides; a call without a known price is counted and not summed. Days are UTC.
    """
    if ctx.invoked_subcommand is not None:
        return
    if by not in COST_KEYS:
        raise typer.BadParameter(f"--by wants one of {', '.join(COST_KEYS)}; not {by[:40]!r}")
    if as_csv and ctx.obj.json:
        raise typer.BadParameter("give --csv or --json, not both")
    times = time_range(since, until)
    key: CostKey = by

    async def work(session: Session) -> None:
        first, last = await session.at(times[0]), await session.at(times[1])
        length = await ledger_length(session.producer)
        with session.out.progress("Reading the ledger", length, least=_LONG) as advance:
            report = await read_cost_report(
                session.producer, key, tenant=session.options.tenant, since=first, until=last, progress=advance
            )
        _print(session.out, report, as_csv)
        if (report.since, report.until) != (first, last):
            told = f"from {_time(report.since, 'the beginning')} to {_time(report.until, 'now')}"
            session.out.talk(f"counted {told}: no finer sums are kept")

    run(ctx, work)


def _print(out: Output, report: CostReport, as_csv: bool) -> None:
    if out.as_json:
        for line in report.lines:
            out.json({report.by: line.key, **_json(line)})
    elif as_csv:
        _print_csv(out, report)
    elif report.lines:
        _print_table(out, report)
    else:
        out.talk("no calls")


def _print_table(out: Output, report: CostReport) -> None:
    lines = [*report.lines, report.total] if out.terminal and len(report.lines) > 1 else report.lines
    headers = [report.by, "calls", "cost USD", "uncertain USD", "unpriced", "orphaned", "tokens"]
    rows = [_row(line) for line in lines]
    if not out.terminal:
        out.table(headers, rows)
        return
    shown = [[one_line(row[0], 40), *row[1:]] for row in rows]
    if width := chart.room(headers, shown):
        plain, most = not out.can_write(chart.CHARACTERS), max(_whole(line) for line in report.lines)
        bars = [chart.bar(line.cost_nanousd, line.uncertain_nanousd, most, width, plain=plain) for line in lines]
        if len(lines) > len(report.lines):
            bars[-1] = ""
        headers, shown = [*headers, ""], [[*row, bar] for row, bar in zip(shown, bars, strict=True)]
    out.table(headers, shown, right=headers[1:7])


def _json(line: CostLine) -> dict[str, Any]:
    fields = asdict(line)
    counts = {name: fields[name] for name in _COUNTS}
    return {
        "calls": counts.pop("calls"),
        "cost_usd": usd_text(_known(line)),
        "uncertain_usd": usd_text(line.uncertain_nanousd),
        **counts,
        **line.tokens,
    }


def _print_csv(out: Output, report: CostReport) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writerow({**{name: name for name in _COLUMNS}, "key": report.by})
    for line in report.lines:
        writer.writerow({"key": one_line(line.key), **_json(line)})
    out.line(text.getvalue().rstrip("\n"))


def _row(line: CostLine) -> list[str]:
    amounts = usd_text(_known(line)) or "unknown", usd_text(line.uncertain_nanousd) or ""
    counts = line.unpriced_calls, line.orphan_calls, sum(line.tokens.values())
    return [line.key, str(line.calls), *amounts, *map(str, counts)]


def _known(line: CostLine) -> int | None:
    """The cost; None when that of no call is known, which is not 0."""
    return None if line.calls and line.unpriced_calls == line.calls else line.cost_nanousd


def _whole(line: CostLine) -> int:
    return line.cost_nanousd + line.uncertain_nanousd


def _time(at: datetime | None, otherwise: str) -> str:
    return otherwise if at is None else local_time(at)


add(app, explain, "penstock costs explain JOB", "penstock costs explain JOB --json | jq '.calls[].parts'")
add(
    app,
    reconcile,
    "penstock costs reconcile usage.csv",
    "penstock costs reconcile usage.csv --provider openai --resolve",
)
