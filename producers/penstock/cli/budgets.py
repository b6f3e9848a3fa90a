"""``penstock budget``: show, set, unset, reset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

import typer

from penstock.budgets import BudgetLine, Budgets, Stopped
from penstock.cli.commands import add
from penstock.cli.letter_lines import usd_text
from penstock.cli.output import Output
from penstock.cli.session import Session, run
from penstock.cli.text import local_time
from penstock_schemas.budgets import WHEN_SPENT, WINDOWS, Budget, Limit, Window
from penstock_schemas.results import nanousd

_WHAT = "global, tenant:acme, tenant:*, user:acme/ann, user:acme/*, user:*, task:summarize or prompt:summarize@1"
_NONE = "none"

Scope = Annotated[str, typer.Argument(metavar="SCOPE", help=_WHAT, show_default=False)]
Scopes = Annotated[list[str] | None, typer.Argument(metavar="[SCOPE...]", help=f"{_WHAT}; none: all that have limits")]


def _amount(window: Window, kind: str, metavar: str) -> Any:
    return typer.Option(f"--{window}-{kind}", metavar=metavar, help=f"the most in {_AN[window]}, or none for no limit")


_AN = {"hour": "an hour", "day": "a day", "month": "a month"}


def show(ctx: typer.Context, scopes: Scopes = None) -> None:
    """What is taken of budgets, and when their windows turn (UTC).

    Held is for jobs that were accepted and calls under way; uncertain is what calls may have cost of which nobody knows
    whether they were billed. Of tenant:* and the like each tenant or user is shown that has made a call.
    """

    async def work(session: Session) -> None:
        budgets = Budgets(session.producer)
        lines, stopped = await budgets.lines(scopes or ()), [] if scopes else await budgets.stopped()
        _print(session.out, lines, stopped)

    run(ctx, work)


def set_(
    ctx: typer.Context,
    scope: Scope,
    hour_usd: Annotated[str | None, _amount("hour", "usd", "USD")] = None,
    day_usd: Annotated[str | None, _amount("day", "usd", "USD")] = None,
    month_usd: Annotated[str | None, _amount("month", "usd", "USD")] = None,
    hour_tokens: Annotated[str | None, _amount("hour", "tokens", "N")] = None,
    day_tokens: Annotated[str | None, _amount("day", "tokens", "N")] = None,
    month_tokens: Annotated[str | None, _amount("month", "tokens", "N")] = None,
    when_spent: Annotated[
        str | None,
        typer.Option(
            "--when-spent",
            metavar="HOW",
            help="wait until the window turns, degrade (an answer of no model), or refuse at enqueue",
        ),
    ] = None,
) -> None:
    """Change limits, for all producers and workers at once. What is not given stays as it is.

    They hold, also when workers start anew, until `penstock budget unset`.
    """
    usd = {"hour": hour_usd, "day": day_usd, "month": month_usd}
    tokens = {"hour": hour_tokens, "day": day_tokens, "month": month_tokens}
    if when_spent is not None and when_spent not in WHEN_SPENT:
        raise typer.BadParameter(f"--when-spent wants one of {', '.join(WHEN_SPENT)}; not {when_spent[:40]!r}")
    if when_spent is None and not any([*usd.values(), *tokens.values()]):
        raise typer.BadParameter("give what to change, such as --day-usd 5.00")
    make = _maker(usd, tokens, when_spent)

    async def work(session: Session) -> None:
        budgets = Budgets(session.producer)
        await budgets.change(scope, make)
        _print(session.out, await budgets.lines([scope]), [])

    run(ctx, work)


def unset(ctx: typer.Context, scope: Scope) -> None:
    """Take back what was set: the limits of the workers' configuration hold again, or none."""

    async def work(session: Session) -> None:
        _tell(session.out, scope, "unset", await Budgets(session.producer).unset(scope), "was not set by a command")

    run(ctx, work)


def reset(
    ctx: typer.Context,
    scope: Annotated[str, typer.Argument(metavar="SCOPE", help="prompt:summarize@1 or route:summarize")],
) -> None:
    """Let a prompt or a route go on that was stopped for its cost, and learn anew what it usually costs."""

    async def work(session: Session) -> None:
        _tell(session.out, scope, "reset", await Budgets(session.producer).reset(scope), "was not stopped")

    run(ctx, work)


def _maker(usd: dict[str, str | None], tokens: dict[str, str | None], when_spent: Any) -> Callable[[Budget], Budget]:
    amounts = {window: _usd(f"--{window}-usd", text) for window, text in usd.items() if text is not None}
    counts = {window: _count(f"--{window}-tokens", text) for window, text in tokens.items() if text is not None}

    def make(old: Budget) -> Budget:
        limits = {window: old.limits.get(window, Limit()) for window in WINDOWS}
        for window in WINDOWS:
            if window in amounts:
                limits[window] = replace(limits[window], nanousd=amounts[window])
            if window in counts:
                limits[window] = replace(limits[window], tokens=counts[window])
        return Budget(
            {window: limit for window, limit in limits.items() if limit.bounded}, when_spent or old.when_spent
        )

    return make


def _usd(option: str, text: str) -> int | None:
    if text == _NONE:
        return None
    try:
        amount = nanousd(text)
    except ValueError as error:
        raise typer.BadParameter(f"{option} wants USD such as 5.00, or none; not {text[:40]!r} ({error})") from None
    if amount < 0:
        raise typer.BadParameter(f"{option} must not be negative")
    return amount


def _count(option: str, text: str) -> int | None:
    if text == _NONE:
        return None
    digits = text.replace("_", "").replace(",", "")
    if not (digits.isascii() and digits.isdigit()) or int(digits) >= 2**53:
        raise typer.BadParameter(f"{option} wants a number of tokens such as 1000000, or none; not {text[:40]!r}")
    return int(digits)


def _tell(out: Output, scope: str, verb: str, changed: bool, otherwise: str) -> None:
    if out.as_json:
        out.json({"scope": scope, "state": verb, "changed": changed})
    else:
        out.line(scope if changed else f"{scope}\t{otherwise}")


def _print(out: Output, lines: list[BudgetLine], stopped: list[Stopped]) -> None:
    if out.as_json:
        for line in lines:
            out.json(_json(line))
        for one in stopped:
            out.json({"scope": one.scope, "stopped_until": one.until.isoformat()})
        return
    rows = [row for line in lines for row in _rows(line)]
    if rows:
        headers = ["scope", "window", "of", "limit", "spent", "held", "uncertain", "free", "reset", "when spent"]
        out.table(headers, rows, right=headers[3:8])
    elif not stopped:
        out.talk("no budgets")
    for one in stopped:
        out.talk(f"{one.scope} costs far more than usual and is stopped until {local_time(one.until)}")


def _rows(line: BudgetLine) -> list[list[str]]:
    head, tail = [line.scope, line.window], [local_time(line.reset_at), line.when_spent]
    rows = []
    if line.limit_nanousd is not None:
        amounts = (line.limit_nanousd, line.spent, line.held, line.uncertain, line.free_nanousd)
        rows.append([*head, "USD", *(usd_text(amount) or "" for amount in amounts), *tail])
    if line.limit_tokens is not None:
        counts = (line.limit_tokens, line.tokens_spent, line.tokens_held, line.tokens_uncertain, line.free_tokens)
        rows.append([*head, "tokens", *(str(count) for count in counts), *tail])
    return rows


def _json(line: BudgetLine) -> dict[str, Any]:
    return {
        "scope": line.scope,
        "window": line.window,
        "reset_at": line.reset_at.isoformat(),
        "when_spent": line.when_spent,
        "source": line.source,
        "limit_usd": usd_text(line.limit_nanousd),
        "spent_usd": usd_text(line.spent),
        "held_usd": usd_text(line.held),
        "uncertain_usd": usd_text(line.uncertain),
        "free_usd": usd_text(line.free_nanousd),
        "overrun_usd": usd_text(line.overrun),
        "limit_tokens": line.limit_tokens,
        "spent_tokens": line.tokens_spent,
        "held_tokens": line.tokens_held,
        "uncertain_tokens": line.tokens_uncertain,
        "free_tokens": line.free_tokens,
        "calls": line.calls,
    }


def _alone(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        show(ctx)


_EXAMPLE = "Example:\n\n\b\n  penstock budget set tenant:acme --day-usd 5.00 --when-spent refuse"

app = typer.Typer(rich_markup_mode=None, add_completion=False, help="What may be spent, and what is. Alone it shows.")
app.callback(invoke_without_command=True, epilog=_EXAMPLE)(_alone)
add(app, show, "penstock budget show", "penstock budget show tenant:acme --json")
add(
    app,
    set_,
    "penstock budget set tenant:acme --day-usd 5.00 --when-spent refuse",
    "penstock budget set 'user:*' --hour-tokens 200000",
    name="set",
)
add(app, unset, "penstock budget unset tenant:acme")
add(app, reset, "penstock budget reset prompt:summarize@1")
