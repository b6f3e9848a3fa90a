"""``penstock prompts``, which the command finds by its entry point."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from penstock_store.command import CommandOptions

app = typer.Typer(rich_markup_mode=None, add_completion=False, context_settings={"help_option_names": ["--help", "-h"]})

Folder = Annotated[
    Path | None, typer.Argument(metavar="FOLDER", help="of prompts; else `prompts` beside the configuration")
]

_CHANGED = "{0} was released with another text: give the new one a new version, and leave the old one as it was"
_DRAFT = "{0} is not released: penstock prompts lock"


@app.callback(invoke_without_command=True)
def prompts(ctx: typer.Context) -> None:
    """Prompts are fixed once they are released: release them, and check that they did not change."""
    if ctx.invoked_subcommand is None:
        check(ctx)


@app.command(epilog="Examples:\n\n\b\n  penstock prompts check\n  penstock prompts check shop/tasks/prompts")
def check(ctx: typer.Context, folder: Folder = None) -> None:
    """For CI: that each prompt reads well, is released, and has the text that was.

    Ends with 1 when a text was changed without a new version, or a prompt is not released yet; with 3 when one cannot
    be read. A worker refuses changed texts by itself when it starts.
    """
    from penstock_worker.prompts.lock import compare

    where = _folder(ctx, folder)
    found = compare(where, _digests(where))
    _tell([_CHANGED.format(name) for name in found.changed] + [_DRAFT.format(name) for name in found.drafts])
    if found.changed or found.drafts:
        raise typer.Exit(1)
    sys.stdout.write(f"{len(found.released)} released, none changed\n")


@app.command(epilog="Examples:\n\n\b\n  penstock prompts lock\n  git add prompts/prompts.lock")
def lock(ctx: typer.Context, folder: Folder = None) -> None:
    """Release all drafts: their texts are fixed from here on, by their digests in `prompts.lock`.

    Ends with 1, and writes nothing, when a released text was changed.
    """
    from penstock_worker.prompts import lock as locks

    where = _folder(ctx, folder)
    found = locks.lock(where, _digests(where))
    if found.changed:
        _tell([_CHANGED.format(name) for name in found.changed])
        raise typer.Exit(1)
    sys.stdout.write("".join(f"released {name}\n" for name in found.drafts) or "nothing to release\n")


def _folder(ctx: typer.Context, given: Path | None) -> Path:
    """Raises ConfigurationError when there is no such folder."""
    from penstock_schemas.errors import ConfigurationError
    from penstock_store.settings import config_file

    options: CommandOptions = ctx.obj or CommandOptions()
    file = None if given is not None else config_file(options.config)
    where = given or (file.parent if file is not None else Path()) / "prompts"
    if not where.is_dir():
        raise ConfigurationError(str(where), "is not a folder; name the folder of your prompts")
    return where


def _digests(folder: Path) -> dict[str, str]:
    """The folder's prompts; each is read and checked, but not yet against the lock."""
    from penstock_worker.prompts.prompt import read_prompt

    return {file.stem: read_prompt(folder, file.stem).digest for file in sorted(folder.glob("*@*.md"))}


def _tell(lines: list[str]) -> None:
    sys.stderr.write("".join(f"penstock: {line}\n" for line in lines))
