"""``penstock simulator``, ``penstock redis`` and ``penstock demo``, which the command finds by their entry points.

The first two read their arguments themselves, as they do when they are started without the command.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from penstock_store.command import CommandOptions

_AS_THEY_ARE = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}

simulator_app = typer.Typer(rich_markup_mode=None, add_completion=False)
redis_app = typer.Typer(rich_markup_mode=None, add_completion=False)
demo_app = typer.Typer(rich_markup_mode=None, add_completion=False)


@simulator_app.command(add_help_option=False, context_settings=_AS_THEY_ARE)
def simulator(ctx: typer.Context) -> None:
    """A local LLM provider that fails on command."""
    from penstock_simulator.__main__ import main

    raise typer.Exit(main(ctx.args))


@redis_app.command(add_help_option=False, context_settings=_AS_THEY_ARE)
def redis(ctx: typer.Context) -> None:
    """A Redis for development: on this machine alone, and gone with its owner."""
    from penstock_store.server import main

    raise typer.Exit(main(ctx.args))


@demo_app.command(
    epilog="Examples:\n\n\b\n  penstock demo\n  penstock demo letter.txt report.md\n"
    "  penstock demo --base-url http://localhost:8000/v1 --model NAME"
)
def demo(
    ctx: typer.Context,
    files: Annotated[list[Path] | None, typer.Argument(metavar="FILE", help="texts of your own; else samples")] = None,
    base_url: Annotated[
        str | None, typer.Option("--base-url", metavar="URL", help="ask this OpenAI-compatible server")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="ask this model")] = None,
    api_key_env: Annotated[
        str | None, typer.Option("--api-key-env", metavar="NAME", help="variable with the key for --base-url")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one object per job")] = False,
) -> None:
    """Run real text through all three tasks, then clean up.

    A simulator answers, and nothing is spent, unless OPENAI_API_KEY is set or a server is named.
    """
    from penstock_simulator.demo.command import demo as play

    options: CommandOptions = ctx.obj or CommandOptions()
    raise typer.Exit(
        play(files or [], base_url=base_url, model=model, api_key_env=api_key_env, as_json=as_json or options.json)
    )
