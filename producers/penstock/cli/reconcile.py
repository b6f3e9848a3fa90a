"""``penstock costs reconcile``: the ledger beside a provider's bill."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.bills import Bill, read_bill
from penstock.cli import exits
from penstock.cli.letter_lines import usd_text
from penstock.cli.output import Output
from penstock.cli.parsing import time_range
from penstock.cli.session import Session, run
from penstock.cli.text import dollars, one_line
from penstock.reconciling import Comparison, Group, Verdict, compare
from penstock.resolving import settle
from penstock_schemas.results import moment, usd

_SHOWN = 10


def reconcile(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="a usage export or bill: CSV, JSON or JSON Lines")],
    resolve: Annotated[bool, typer.Option("--resolve", help="settle the calls in doubt as the bill says")] = False,
    correct: Annotated[bool, typer.Option("--correct", help="and those in no doubt that it has otherwise")] = False,
    provider: Annotated[
        str | None, typer.Option("--provider", metavar="NAME", help="whose bill it is, as in [providers.NAME]")
    ] = None,
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="the bill is whole from here")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="the bill is whole up to here")] = None,
) -> None:
    """Compare the ledger with what a provider charges: by call where the bill has ids, else by model and day.

    Without --resolve nothing is written. With it, calls of which nobody knew whether they were billed become spent, or
    free again: in the ledger, by entries that amend, in their budgets and in their jobs' records; a repeat changes
    nothing. Ends with 1 while the two differ. Columns, and the exports that are known: docs/costs.md.
    """
    times = time_range(since, until)
    bill = _read(file)

    async def work(session: Session) -> int:
        options: dict[str, Any] = {"provider": provider, "since": await session.at(times[0])}
        options["until"] = await session.at(times[1])
        found = await compare(session.producer, bill, **options)
        settled = 0
        if resolve or correct:
            settled = await settle(session.producer, found, correct=correct)
            found = await compare(session.producer, bill, **options)
        _print(session.out, found, settled)
        if not session.out.as_json:
            _talk(session.out, found, settled, resolve=resolve or correct, correct=correct)
        return exits.DONE if found.agrees else exits.SOME_FAILED

    run(ctx, work)


def _read(file: str) -> Bill:
    path = Path(file)
    try:
        return read_bill(path.name, path.read_bytes())
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}") from None


def _print(out: Output, found: Comparison, settled: int) -> None:
    if out.as_json:
        for group in found.groups:
            out.json({"kind": "sum", **_group_json(group)})
        for kind in ("verdicts", "corrections"):
            for verdict in getattr(found, kind):
                out.json({"kind": "in_doubt" if kind == "verdicts" else "otherwise", **_verdict_json(verdict)})
        for call in found.undecided:
            out.json({"kind": "undecided", "call": call.id, "uncertain_usd": usd_text(call.counts.uncertain_nanousd)})
        for line in found.not_here:
            out.json({"kind": "not_in_ledger", "request_id": line.request_id, "call": line.call, "where": line.where})
        for call in found.not_there:
            out.json({"kind": "not_on_bill", "call": call.id, "cost_usd": usd_text(call.counts.cost_nanousd)})
        out.json({"kind": "total", "settled": settled, "difference_usd": usd_text(found.difference_nanousd)})
        return
    headers = ["day", "model", "calls", "on bill", "cost USD", "uncertain USD", "bill USD", "difference USD"]
    out.table(headers, [_row(group) for group in found.groups], right=headers[2:])


def _talk(out: Output, found: Comparison, settled: int, *, resolve: bool, correct: bool) -> None:
    """What there is to know and to do, on standard error."""
    if resolve:
        out.talk(f"{settled} calls settled")
    if found.verdicts:
        out.talk(f"{len(found.verdicts)} calls in doubt are told by the bill: {_verdicts(found.verdicts)}")
        if not resolve:
            out.talk("settle them by --resolve")
    if found.corrections:
        out.talk(f"{len(found.corrections)} calls cost otherwise than was known: {_verdicts(found.corrections)}")
        if not correct:
            out.talk("take the bill's word for them by --correct")
    _ids(out, "calls in doubt of which the bill does not say enough", [call.id for call in found.undecided])
    _ids(out, "calls on the bill that the ledger does not know", [line.request_id or "" for line in found.not_here])
    _ids(out, "calls that were billed, by the ledger, and are not on the bill", [call.id for call in found.not_there])
    total = found.difference_nanousd
    out.talk("no difference" if found.agrees else f"difference {dollars(None if total is None else usd(total))}")


def _ids(out: Output, what: str, ids: list[str]) -> None:
    if ids:
        more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
        out.talk(one_line(f"{len(ids)} {what}: {', '.join(ids[:_SHOWN])}{more}"))


def _verdicts(verdicts: list[Verdict]) -> str:
    billed = [verdict for verdict in verdicts if verdict.billed]
    cost = sum(verdict.cost_nanousd for verdict in billed)
    return f"{len(billed)} billed, {dollars(usd(cost))}; {len(verdicts) - len(billed)} not billed"


def _row(it: Group) -> list[str]:
    amounts = [it.cost_nanousd, it.uncertain_nanousd, it.bill_nanousd, it.difference_nanousd]
    return [it.day, it.model, str(it.calls), str(it.bill_calls), *(usd_text(n) or "unknown" for n in amounts)]


def _group_json(it: Group) -> dict[str, Any]:
    return {
        "day": it.day,
        "model": it.model,
        "calls": it.calls,
        "bill_calls": it.bill_calls,
        "tokens": it.tokens,
        "bill_tokens": it.bill_tokens,
        "unpriced_calls": it.unpriced_calls,
        "cost_usd": usd_text(it.cost_nanousd),
        "uncertain_usd": usd_text(it.uncertain_nanousd),
        "bill_usd": usd_text(it.bill_nanousd),
        "difference_usd": usd_text(it.difference_nanousd),
        "explained": it.explained,
    }


def _verdict_json(it: Verdict) -> dict[str, Any]:
    counts = it.call.counts
    return {
        "call": it.call.id,
        "sent_at": moment(it.call.sent_ms).isoformat(),
        "target": it.call.entry.target,
        "billed": it.billed,
        "why": it.why,
        "bill_usd": usd_text(it.cost_nanousd),
        "cost_usd": usd_text(counts.cost_nanousd),
        "uncertain_usd": usd_text(counts.uncertain_nanousd),
    }
