"""``penstock costs explain``: each nano-dollar of a job, from the call to the row of the price table."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Any

import typer

from penstock.cli import exits
from penstock.cli.letter_lines import usd_text
from penstock.cli.output import Output
from penstock.cli.session import Session, run
from penstock.cli.text import dollars, exact, local_time, one_line
from penstock.explaining import CallCharge, JobCharges, Part, explain_costs
from penstock_schemas.prices import CONFIGURATION, PriceRow
from penstock_schemas.results import moment, usd

_BUCKETS = {
    "input_tokens": "input",
    "cache_read_tokens": "cache read",
    "cache_write_tokens": "cache write",
    "output_tokens": "output",
    "reasoning_tokens": "reasoning",
}


def explain(
    ctx: typer.Context, job_id: Annotated[str, typer.Argument(metavar="JOB", help="the job's id", show_default=False)]
) -> None:
    """Show what a job cost: its calls, their tokens by bucket, and the price of each; the sums are exact.

    Works from the ledger, so also for a job that is past its retention. Ends with 1 when the parts are not the sum.
    """

    async def work(session: Session) -> int:
        charges = await explain_costs(session.producer, job_id, any_tenant=session.options.tenant is None)
        if session.out.as_json:
            session.out.json(_json(charges))
        else:
            _print(session.out, charges)
        return exits.DONE if all(call.adds_up for call in charges.calls) else exits.SOME_FAILED

    run(ctx, work)


def _print(out: Output, it: JobCharges) -> None:
    out.line(f"job {one_line(it.job_id)}: {_amount(it)}")
    for call in it.calls:
        _print_call(out, call)
    if it.recorded_nanousd is not None and it.recorded_nanousd != it.cost_nanousd:
        out.line(f"its record says {_usd(it.recorded_nanousd)}: run penstock doctor")
    if it.trimmed:
        out.talk("calls may be missing: old entries were taken out of the ledger, and the job's journal is gone")


def _print_call(out: Output, call: CallCharge) -> None:
    it = call.entry
    sent = "" if it.sent_at_ms is None else local_time(moment(it.sent_at_ms))
    parts = [it.call, it.target, it.prompt, "under way" if call.open else it.kind, it.error or "", sent, it.request_id]
    out.line(one_line("  ".join(part for part in parts if part)))
    width = max((len(_number(part)) for part in (*call.parts, *call.bound)), default=0)
    for part in call.parts:
        if part.tokens:
            out.line(f"    {_line(part, width)}")
    if call.rounding_nanousd:
        out.line(f"    {'rounded':<11} {'':>{width}}   {'':>12}   {_grouped(call.rounding_nanousd):>17} nano-USD")
    out.line(one_line(f"    = {_usd(it.cost_nanousd)}{_from(call)}"))
    if it.uncertain_nanousd:
        out.line(one_line(f"    and at most {_usd(it.uncertain_nanousd)} besides: {why_uncertain(call)}"))
        for part in call.bound:
            out.line(f"      at most {_line(part, width)}")
    for before in call.history:
        was = f"{_usd(before.cost_nanousd)}, at most {_usd(before.uncertain_nanousd)} besides"
        out.line(one_line(f"    until {local_time(moment(it.at_ms))} it counted {was}"))


def why(call: CallCharge) -> str:
    """Where the cost comes from, or why it is what it is."""
    it = call.entry
    if call.open:
        return "its end is not written yet"
    if it.kind == "reconciled":
        return "not billed" if it.billed == "no" else f"told by the bill {it.bill}"
    if it.cost_nanousd is None:
        return "unknown: the provider told no usage" if it.usage is None else f"unknown: no price for {it.target}"
    if it.billed == "no":
        return f"not billed: {it.error}" if it.error else "not billed"
    if it.price is None and it.cost_nanousd:
        return "as the provider reports"
    if it.estimated:
        return "estimated: the provider's figures were missing, impossible or cut short"
    return ""


def why_uncertain(call: CallCharge) -> str:
    """Why an amount may have been spent that nobody knows of."""
    it = call.entry
    if call.open:
        return "held while the call is under way"
    if it.kind == "unknown":
        return "nobody saw its end, and it may have been billed"
    return f"it failed ({it.error}) after it was sent, and may have been billed"


def _from(call: CallCharge) -> str:
    told = [why(call)] if why(call) else []
    if call.row is not None and (call.parts or call.entry.uncertain_nanousd):
        told.append(f"price {call.row.digest}: {price_text(call.row)}, known since {local_time(call.row_since)}")
    elif call.entry.price is not None and call.entry.cost_nanousd:
        told.append(f"price {call.entry.price}, whose row is not kept")
    return "  (" + "; ".join(told) + ")" if told else ""


def price_text(row: PriceRow) -> str:
    """What a price row is, in a few words."""
    source = "the configuration" if row.source == CONFIGURATION else row.source
    tier = f", tier {row.tier}" if row.tier else ""
    long = f", inputs over {row.over_input_tokens} tokens" if row.over_input_tokens is not None else ""
    return f"{row.ref} in {source}{tier}{long}"


def _line(part: Part, width: int) -> str:
    rate, amount = exact(part.nanousd_per_token), _grouped(part.nanousd)
    return f"{_BUCKETS[part.bucket]:<11} {_number(part):>{width}} x {rate:>12} = {amount:>17} nano-USD"


def _number(part: Part) -> str:
    return f"{part.tokens:,}"


def _grouped(amount: Decimal) -> str:
    whole, point, rest = exact(amount).partition(".")
    sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    return f"{sign}{int(digits):,}{point}{rest}"


def _amount(it: JobCharges) -> str:
    unpriced = f" + {_calls(it.unpriced_calls)} of unknown cost" if it.unpriced_calls else ""
    uncertain = f" + at most {_usd(it.uncertain_nanousd)} uncertain" if it.uncertain_nanousd else ""
    return f"{_usd(it.cost_nanousd)}{unpriced}{uncertain} in {_calls(len(it.calls))}"


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count} calls"


def _usd(nanousd: int | None) -> str:
    return dollars(None if nanousd is None else usd(nanousd))


def _json(it: JobCharges) -> dict[str, Any]:
    return {
        "job_id": it.job_id,
        "cost_usd": usd_text(it.cost_nanousd),
        "uncertain_usd": usd_text(it.uncertain_nanousd),
        "unpriced_calls": it.unpriced_calls,
        "recorded_cost_usd": usd_text(it.recorded_nanousd),
        "calls_may_be_missing": it.trimmed,
        "calls": [_call_json(call) for call in it.calls],
    }


def _call_json(call: CallCharge) -> dict[str, Any]:
    it = call.entry
    names = ("tenant", "user", "task", "prompt", "target", "model", "purpose", "request_id", "error", "tier", "orphan")
    times = {"sent_at": it.sent_at_ms, "first_content_at": it.first_content_at_ms}
    return {
        "call": it.call,
        "run": it.run,
        "attempt": it.attempt,
        "outcome": "open" if call.open else it.kind,
        "billed": it.billed,
        **{name: getattr(it, name) for name in names},
        **{name: None if at is None else moment(at).isoformat() for name, at in times.items()},
        "cost_usd": usd_text(it.cost_nanousd),
        "uncertain_usd": usd_text(it.uncertain_nanousd),
        "held_usd": usd_text(it.held_nanousd),
        "why": why(call) or None,
        "why_uncertain": why_uncertain(call) if it.uncertain_nanousd else None,
        "parts": _parts_json(call.parts),
        "rounding_nanousd": exact(call.rounding_nanousd),
        "bound": _parts_json(call.bound),
        "price": None if call.row is None else call.row.model_dump(mode="json") | {"digest": call.row.digest},
        "price_digest": it.price,
        "price_known_since": None if call.row_since is None else call.row_since.isoformat(),
        "budgets": list(it.budgets),
        "counted_before": [
            {"cost_usd": usd_text(e.cost_nanousd), "uncertain_usd": usd_text(e.uncertain_nanousd)} for e in call.history
        ],
    }


def _parts_json(parts: Iterable[Part]) -> list[dict[str, Any]]:
    return [
        {
            "bucket": part.bucket,
            "tokens": part.tokens,
            "nanousd_per_token": exact(part.nanousd_per_token),
            "nanousd": exact(part.nanousd),
        }
        for part in parts
    ]
