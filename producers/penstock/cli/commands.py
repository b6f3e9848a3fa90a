"""How a subcommand is declared: a function, its help, and an example of its use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

_CONTEXT = {"help_option_names": ["--help", "-h"]}


def single(function: Callable[..., Any], *examples: str) -> typer.Typer:
    """A subcommand that is this one function."""
    app = typer.Typer(rich_markup_mode=None, add_completion=False)
    add(app, function, *examples)
    return app


def group(name: str, summary: str, functions: dict[Callable[..., Any], tuple[str, ...]]) -> typer.Typer:
    """A subcommand with verbs: functions, named as they are, each with its examples. Alone it lists."""
    app = typer.Typer(rich_markup_mode=None, add_completion=False, name=name, help=summary, no_args_is_help=False)
    for function, examples in functions.items():
        add(app, function, *examples)
    return app


def add(app: typer.Typer, function: Callable[..., Any], *examples: str, name: str | None = None) -> None:
    """Give *app* a verb."""
    title = "Examples" if len(examples) > 1 else "Example"
    lines = "\n".join(f"  {example}" for example in examples)
    epilog = f"{title}:\n\n\b\n{lines}\n\n\b\nOptions of all commands: penstock --help"
    app.command(name, epilog=epilog, context_settings=_CONTEXT)(function)
