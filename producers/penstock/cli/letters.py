"""``penstock dead`` and ``penstock degraded``: list, show, replay, purge."""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.cli import letter_actions
from penstock.cli.commands import add
from penstock.cli.letter_actions import FULL_ID, Choice, choice_of
from penstock.cli.letter_lines import letter_json, print_letters, print_report
from penstock.cli.parsing import time_range
from penstock.cli.session import Session, run
from penstock.dead_letters import DeadLetters, check_target
from penstock.letters import DeadLetter

Ids = Annotated[
    list[str] | None, typer.Argument(metavar="ID", help="ids, or how they begin; - for those on standard input")
]
Task = Annotated[str | None, typer.Option("--task", metavar="NAME", help="only of this task")]
Error = Annotated[
    str | None, typer.Option("--error", metavar="CODE", help="only with this code, or with it as the error behind")
]
Since = Annotated[str | None, typer.Option("--since", metavar="TIME", help="ended since, such as 2h or 2026-01-31")]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="ended until, such as 30m or 2026-01-31")]
AllTenants = Annotated[bool, typer.Option("--all-tenants", help="of every tenant, not only of --tenant")]
Everything = Annotated[bool, typer.Option("--all", help="all of them; needs --yes")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="confirmed")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="tell how many, and what it may cost; write nothing")]
Target = Annotated[
    str | None, typer.Option("--target", metavar="PROVIDER/MODEL", help="use this one instead of the route's")
]


def list_letters(
    ctx: typer.Context,
    task: Task = None,
    error: Error = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="at most so many")] = 100,
    all_tenants: AllTenants = False,
) -> None:
    """List them, the newest first."""
    choice = Choice([], task, error, *time_range(since, until))

    async def work(session: Session) -> None:
        out = session.out
        found: list[DeadLetter] = []
        async for letter in _letters(session, ctx, all_tenants).letters(await choice.where(session)):
            if len(found) == limit:
                out.talk(f"the newest {limit}; --limit N shows more")
                break
            found.append(letter)
            if out.as_json:
                out.json(letter_json(letter))
        if not found:
            out.talk("none")
        elif not out.as_json:
            print_letters(out, found, with_tenant=all_tenants)

    run(ctx, work)


def show(
    ctx: typer.Context,
    job_id: Annotated[str, typer.Argument(metavar="ID", help="the job's id, or how it begins")],
    all_tenants: AllTenants = False,
) -> None:
    """Show a job in full: its request, and each attempt and call of all its runs."""

    async def work(session: Session) -> None:
        letters = _letters(session, ctx, all_tenants)
        full_id = job_id if len(job_id) >= FULL_ID else await letters.resolve(job_id)
        print_report(session.out, await letters.show(full_id))

    run(ctx, work)


def replay(
    ctx: typer.Context,
    ids: Ids = None,
    task: Task = None,
    error: Error = None,
    since: Since = None,
    until: Until = None,
    everything: Everything = False,
    target: Target = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    all_tenants: AllTenants = False,
) -> None:
    """Run them again, each as a new numbered run of the same job.

    It may be interrupted and given again, or given twice at once: each is run again once.
    """
    check_target(target)
    choice = choice_of(ids, task, error, time_range(since, until), everything)

    async def work(session: Session) -> int:
        letters = _letters(session, ctx, all_tenants)
        return await letter_actions.replay(session, letters, choice, target=target, dry_run=dry_run, yes=yes)

    run(ctx, work)


def purge(
    ctx: typer.Context,
    ids: Ids = None,
    task: Task = None,
    error: Error = None,
    since: Since = None,
    until: Until = None,
    everything: Everything = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    all_tenants: AllTenants = False,
) -> None:
    """Forget them for good, but for what they cost. A filter or --all needs --yes."""
    choice = choice_of(ids, task, error, time_range(since, until), everything)

    async def work(session: Session) -> int:
        letters = _letters(session, ctx, all_tenants)
        return await letter_actions.purge(session, letters, choice, dry_run=dry_run, yes=yes)

    run(ctx, work)


def _letters(session: Session, ctx: typer.Context, all_tenants: bool) -> DeadLetters:
    """The letters of the noun before the verb; a noun alone is its own context."""
    parent = ctx.parent
    nouns = (ctx.info_name, parent.info_name if parent else None)
    return DeadLetters(session.producer, state="degraded" if "degraded" in nouns else "dead", all_tenants=all_tenants)


def _app(noun: str, about: str) -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None, add_completion=False, help=about)

    def alone(ctx: typer.Context) -> None:
        if ctx.invoked_subcommand is None:
            list_letters(ctx)

    epilog = f"Example:\n\n\b\n  penstock {noun}\n  penstock {noun} replay --help"
    app.callback(invoke_without_command=True, help=about, epilog=epilog)(alone)
    add(
        app,
        list_letters,
        f"penstock {noun} list --error schema_invalid --since 24h",
        f"penstock {noun} list --json | jq -r .job_id",
        name="list",
    )
    add(app, show, f"penstock {noun} show 3f0c5e")
    add(
        app,
        replay,
        f"penstock {noun} replay 3f0c5e 77ab01",
        f"penstock {noun} replay --error throttled --since 2h --dry-run",
        f"penstock {noun} replay --task extract --target openai/gpt-4o",
    )
    add(app, purge, f"penstock {noun} purge 3f0c5e", f"penstock {noun} purge --until 30d --yes")
    return app


dead_app = _app("dead", "Jobs that failed for good: list, show, replay, purge. Alone it lists them.")
degraded_app = _app("degraded", "Jobs with an answer that no model gave: list, show, replay, purge. Alone it lists.")
