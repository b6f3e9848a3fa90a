"""The ``penstock`` command.

1. :mod:`~penstock.cli.app` finds the subcommand by its name and imports it only then: a help screen loads neither
   a Redis client nor the contracts.
2. A subcommand runs in a :mod:`~penstock.cli.session`: the configuration, a producer, and where to print.
3. What goes wrong ends in one line on standard error and an exit code (:mod:`~penstock.cli.exits`).
"""

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code. *arguments* None: those of the process."""
    from penstock.cli.app import run

    return run(arguments)
