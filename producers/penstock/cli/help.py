"""The help screen, and the topics of ``penstock help``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from penstock import __version__
from penstock.cli import catalog, exits

_HEAD = """\
Penstock - LLM work in a queue: summarize, classify, extract.

Usage: penstock [OPTIONS] COMMAND

  penstock demo                                        see it work, no key needed
  penstock run summarize report.txt --max-words 80
  cat mails.jsonl | penstock enqueue classify --labels bug,billing,praise --wait --json
  penstock dead replay --error schema_invalid --target openai/gpt-4o --dry-run
"""

_FOOT = """\
Options, before or behind the command
  --config FILE  the configuration (PENSTOCK_CONFIG; else penstock.toml here)
  --redis URL    without a password; with one: REDIS_URL or the configuration
  --tenant NAME  whose jobs (PENSTOCK_PRODUCER__TENANT; else default)
  --json         data as JSON, one object a line      --quiet, -q    only errors on standard error
  --no-color     also by NO_COLOR                     --version      and nothing else

Help topics: penstock help exit-codes | environment | formatting
Help of a command: penstock COMMAND --help            Completion: penstock --install-completion
"""

_ENVIRONMENT = """\
REDIS_URL                        where Redis is, if neither the file nor the next line says so
PENSTOCK_REDIS__URL              the same, over the file
PENSTOCK_REDIS__ALLOW_PLAINTEXT  true: allow redis:// to another machine
PENSTOCK_PRODUCER__TENANT        whose jobs are enqueued and seen
PENSTOCK_CONFIG                  the configuration file
PENSTOCK_<SECTION>__<KEY>        any other key of the configuration; the worker reads more of them
NO_COLOR                         no colours, whatever its value
COLUMNS                          width of tables

An option wins over a variable, a variable over the file, the file over a default. A secret is never an argument:
it is given by a variable or by a file that only its owner may read.
"""

_FORMATTING = """\
Data goes to standard output, everything else to standard error.

On a terminal       tables are drawn, times are local, text from jobs is made harmless: escape sequences and
                    characters that nobody sees are shown as \\x1b or \\u202e.
Into a pipe or file tables are tab-separated and have no header; an answer is given as it is.
--json              one object a line in UTF-8, whatever the locale; times in UTC, money as strings of USD
                    (cost_usd) or whole nano-USD (cost_nanousd), unknown is null. Fields are added, never renamed.

Times: 30s, 15m, 2h, 7d (ago), or 2026-01-31, 2026-01-31T12:00, 2026-01-31T12:00Z (local without a zone).
Durations: 90, 90s, 15m, 2h, 7d.
"""

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog="Example:\n\n\b\n  penstock help exit-codes")
def topic(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="TOPIC", help="exit-codes, environment or formatting")] = None,
) -> None:
    """Explain what all commands share."""
    text = asked_text(["help", name] if name else ["help"])
    if text is not None:
        sys.stdout.write(text)
    elif name in catalog.LISTED:
        raise typer.BadParameter(f"is a command; see `penstock {name} --help`", ctx)
    else:
        raise typer.BadParameter(f"no topic {(name or '')[:40]!r}; there are {', '.join(_TOPICS)}", ctx)


def asked_text(arguments: list[str]) -> str | None:
    """The text that *arguments* ask for, if that is all they ask for; typer would load pydantic to find it out."""
    match arguments:
        case [] | ["--help"] | ["-h"] | ["help"]:
            return help_screen()
        case ["--version"]:
            return version_line()
        case ["help", name] if name in _TOPICS:
            return _TOPICS[name]
        case _:
            return None


def version_line() -> str:
    """What ``penstock --version`` shows."""
    return f"penstock {__version__}\n"


def help_screen() -> str:
    """What ``penstock --help`` shows."""
    sections = {
        title: [(entry.name, entry.summary) for entry in entries] for title, entries in catalog.SECTIONS.items()
    }
    if others := catalog.others():
        sections["From other packages"] = [(name, f"see `penstock {name} --help`") for name in others]
    parts = [_HEAD]
    for title, entries in sections.items():
        rows = "".join(f"  {name:<12}{summary}\n" for name, summary in entries)
        parts.append(f"{title}\n{rows}")
    return "\n".join([*parts, _FOOT])


_TOPICS = {
    "exit-codes": "".join(f"{code:>4}  {meaning}\n" for code, meaning in exits.MEANINGS.items()),
    "environment": _ENVIRONMENT,
    "formatting": _FORMATTING,
}
