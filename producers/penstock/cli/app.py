"""From the arguments to a subcommand, and from whatever it ends with to an exit code."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from penstock.cli import catalog, exits
from penstock.cli.help import asked_text, help_screen, version_line
from penstock.cli.output import OutputClosed, abandon, prepare_streams
from penstock.cli.text import one_line
from penstock_schemas.errors import PenstockError
from penstock_store.command import CommandOptions

_FLAGS = ("--json", "--quiet", "-q", "--no-color")
_COMPLETION = "_PENSTOCK_COMPLETE"  # set by a shell that asks for what may come next
_VALUES = ("--config", "--redis", "--tenant")
_USAGE_ERRORS: Any = typer.BadParameter.__mro__[2]  # the base of all errors that typer finds in arguments


class Subcommands(TyperGroup):
    """The subcommands of the catalog, each loaded when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return catalog.names()

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        app = catalog.load(cmd_name)
        if app is None:
            return None
        command = typer.main.get_command(app)
        command.name = cmd_name
        return command

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """What may stand here, without loading any of it: a shell asks at every press of a key."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        near = [name for name in catalog.names() if name.startswith(incomplete)]
        return [typer.core.CompletionItem(name, help=catalog.summary(name)) for name in near]  # type: ignore[attr-defined]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in catalog.LISTED and args[0] not in catalog.others():
            near = get_close_matches(args[0], catalog.names(), n=1, cutoff=0.5)
            hint = f"Did you mean `penstock {near[0]}`?" if near else "`penstock --help` lists them."
            ctx.fail(f"no command {one_line(args[0], 40)!r}. {hint}")
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write(help_screen())


app = typer.Typer(
    cls=Subcommands,
    rich_markup_mode=None,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


@app.callback()
def penstock(
    ctx: typer.Context,
    config: Annotated[str | None, typer.Option("--config", metavar="FILE")] = None,
    redis: Annotated[str | None, typer.Option("--redis", metavar="URL")] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", metavar="NAME")] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q")] = False,
    no_color: Annotated[bool, typer.Option("--no-color")] = False,
    version: Annotated[bool, typer.Option("--version")] = False,
) -> None:
    """LLM work in a queue: summarize, classify, extract."""
    if redis is not None:
        _refuse_a_secret(redis)
    ctx.obj = CommandOptions(config, redis, tenant, as_json, quiet, not no_color)
    if version:
        sys.stdout.write(version_line())
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        sys.stdout.write(ctx.get_help() + "\n")


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    prepare_streams()
    given = in_front(list(sys.argv[1:] if arguments is None else arguments))
    as_json = "--json" in given
    try:
        if _COMPLETION not in os.environ and (text := asked_text(given)) is not None:
            sys.stdout.write(text)
            sys.stdout.flush()
            return exits.DONE
        code = typer.main.get_command(app).main(given, prog_name="penstock", standalone_mode=False)
        sys.stdout.flush()
    except (OutputClosed, BrokenPipeError):
        abandon(sys.stdout)
        return exits.DONE
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except PenstockError as error:
        _tell(error, as_json)
        return exits.exit_code(error)
    except catalog.MissingPart as error:
        sys.stderr.write(f"penstock: {error}\n")
        return exits.CONFIGURATION
    except ModuleNotFoundError as error:
        at = _position_of_command(given)
        missing = catalog.missing_part(given[at], error) if at is not None else None
        if missing is None:
            raise
        sys.stderr.write(f"penstock: {missing}\n")
        return exits.CONFIGURATION
    except _USAGE_ERRORS as error:
        sys.stderr.write(f"penstock: {one_line(_message(error))}\n")
        return exits.USAGE
    return code if isinstance(code, int) else exits.DONE


def in_front(arguments: list[str]) -> list[str]:
    """The arguments with global options that stand behind one of our own subcommands moved to the front.

    ``penstock status ID --json`` means ``penstock --json status ID``. What stands behind ``--`` stays, and so do
    the arguments of subcommands that other parts bring.
    """
    at = _position_of_command(arguments)
    entry = catalog.LISTED.get(arguments[at]) if at is not None else None
    if at is None or entry is None or entry.module is None:
        return arguments
    front, rest = arguments[:at], [arguments[at]]
    behind = iter(arguments[at + 1 :])
    for argument in behind:
        if argument == "--":
            rest += [argument, *behind]
        elif argument in _FLAGS or argument.startswith(tuple(f"{name}=" for name in _VALUES)):
            front.append(argument)
        elif argument in _VALUES:
            front += [argument, *(value for value in [next(behind, None)] if value is not None)]
        else:
            rest.append(argument)
    return front + rest


def _position_of_command(arguments: list[str]) -> int | None:
    skip = False
    for at, argument in enumerate(arguments):
        if skip:
            skip = False
        elif argument in _VALUES:
            skip = True
        elif not argument.startswith("-"):
            return at
    return None


def _refuse_a_secret(url: str) -> None:
    """An argument is seen by everyone on the machine, and kept in the shell's history."""
    if "@" in url and ":" in url.rpartition("@")[0].partition("://")[2]:
        raise typer.BadParameter("--redis must not hold a password; give the URL by REDIS_URL or in penstock.toml")


def _tell(error: PenstockError, as_json: bool) -> None:
    if as_json:
        sys.stderr.write(json.dumps({"error": error.as_dict()}, default=str) + "\n")
    else:
        sys.stderr.write(f"penstock: {one_line(error.message)}\n")


def _message(error: Any) -> str:
    plain = isinstance(error, typer.BadParameter) and not getattr(error, "param", None)
    message: str = error.message if plain else error.format_message()
    ctx = getattr(error, "ctx", None)
    where = f" (see `{ctx.command_path} --help`)" if ctx is not None and "--help" not in message else ""
    return message.rstrip() + where
