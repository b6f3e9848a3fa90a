"""Letters as lines: of a list, and one in full."""

from __future__ import annotations

from typing import Any

import orjson

from penstock.cli.output import Output
from penstock.cli.show import failure_text, print_status
from penstock.cli.text import dollars, exact, local_time, one_line
from penstock.letter_report import AttemptReport, CallReport, LetterReport, RunReport
from penstock.letters import DeadLetter, ReplayPlan
from penstock_schemas.results import usd

_INPUT_SHOWN = 300


def usd_text(nanousd: int | None) -> str | None:
    """An exact amount of USD as a string; None for unknown."""
    return None if nanousd is None else exact(usd(nanousd))


def letter_json(letter: DeadLetter) -> dict[str, Any]:
    """A letter as plain JSON."""
    return {**letter.model_dump(mode="json"), "cost_usd": usd_text(letter.cost_nanousd)}


def print_letters(out: Output, letters: list[DeadLetter], *, with_tenant: bool) -> None:
    """A table of letters."""
    headers = ["id", "ended", *(["tenant"] if with_tenant else []), "task", "error", "last", "attempts", "cost"]
    rows = [
        [
            letter.job_id,
            local_time(letter.ended_at),
            *([letter.tenant] if with_tenant else []),
            letter.task,
            letter.failure.code,
            letter.failure.last_error or "",
            str(letter.attempts),
            _cost(letter.cost_nanousd, letter.uncertain_nanousd),
        ]
        for letter in letters
    ]
    out.table(headers, rows, right=("attempts", "cost"))


def print_report(out: Output, report: LetterReport) -> None:
    """A job in full: request, runs, attempts, calls."""
    if out.as_json:
        out.json(report.model_dump(mode="json"))
        return
    print_status(out, report.status)
    if report.request is not None:
        for name, value in report.request.input.items():
            text = value if isinstance(value, str) else orjson.dumps(value).decode()
            if value is not None:
                out.line(f"  {name + ':':<11}{one_line(text, _INPUT_SHOWN)}")
        for name, note in report.request.metadata.items():
            out.line(f"  {one_line(name)} = {one_line(note)}")
    for run in report.runs:
        _print_run(out, run)


def plan_json(plan: ReplayPlan) -> dict[str, Any]:
    """A plan as plain JSON."""
    return {
        "matched": plan.count,
        "refused": [error.as_dict() for error in plan.refused],
        "cost_before_usd": usd_text(plan.cost_before_nanousd),
        "uncertain_before_usd": usd_text(plan.uncertain_before_nanousd),
        "cost_bound_usd": usd_text(plan.cost_bound_nanousd),
    }


def plan_text(plan: ReplayPlan) -> str:
    """A plan in one line."""
    if plan.count == 0:
        return "0 matched"
    before = _cost(plan.cost_before_nanousd, plan.uncertain_before_nanousd)
    return f"{plan.count} matched; cost bound {_dollars(plan.cost_bound_nanousd)}; their last runs cost {before}"


def _print_run(out: Output, run: RunReport) -> None:
    why = f", {failure_text(run.failure)}" if run.failure else ""
    out.line(one_line(f"run {run.run}: {run.state}{why}; {_cost(run.cost_nanousd, run.uncertain_nanousd)}"))
    for attempt in run.attempts:
        out.line(one_line(f"  attempt {attempt.number}: {_attempt(attempt)}"))
        for call in attempt.calls:
            out.line(one_line(f"    {call.call}  {_call(call)}"))


def _attempt(attempt: AttemptReport) -> str:
    if attempt.started_at is None or attempt.ended_at is None:
        return attempt.error or "its end was not written"
    took_s = (attempt.ended_at - attempt.started_at).total_seconds()
    return f"{attempt.error or 'a result'}, {took_s:.1f} s from {local_time(attempt.started_at)}"


def _call(call: CallReport) -> str:
    tokens = call.usage.total_tokens if call.usage else None
    parts = [
        call.target or "?",
        call.step,
        call.purpose if call.purpose != "ask" else None,
        f"{call.outcome}: {call.error}" if call.error else call.outcome,
        f"HTTP {call.status}" if call.status else None,
        f"stopped by {call.stop}" if call.stop not in (None, "stop", "end") else None,
        f"{call.took_ms} ms" if call.took_ms is not None else None,
        f"{tokens} tokens" if tokens is not None else None,
        _cost(call.cost_nanousd, call.uncertain_nanousd),
    ]
    return "  ".join(part for part in parts if part)


def _cost(cost_nanousd: int | None, uncertain_nanousd: int) -> str:
    known = _dollars(cost_nanousd)
    return known if not uncertain_nanousd else f"{known} + at most {_dollars(uncertain_nanousd)} uncertain"


def _dollars(nanousd: int | None) -> str:
    return dollars(None if nanousd is None else usd(nanousd))
