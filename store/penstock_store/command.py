"""What stands before a subcommand's name, for the subcommands of every part.

A part adds a subcommand by an entry point in the group ``penstock.commands`` that names a ``typer.Typer``; its
context's ``obj`` is these options.
"""

from __future__ import annotations

from dataclasses import dataclass

ENTRY_POINTS = "penstock.commands"


@dataclass(frozen=True, slots=True)
class CommandOptions:
    """Options of the command as a whole."""

    config: str | None = None
    """The configuration file; None: where it is looked for."""
    redis_url: str | None = None
    """Instead of what the configuration says; None: that."""
    tenant: str | None = None
    """Instead of what the configuration says; None: that."""
    json: bool = False
    """One JSON object a line on standard output."""
    quiet: bool = False
    """Nothing on standard error but errors."""
    color: bool = True
    """Whether colours are wanted, where the output is a terminal."""
