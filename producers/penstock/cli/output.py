"""Where a subcommand prints: data on standard output, talk on standard error.

On a terminal tables are drawn and text is made harmless; elsewhere tables are tab-separated and an answer is given
as it is. JSON is UTF-8 whatever the locale, one object a line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from penstock.cli.text import block, one_line, safe_json
from penstock_store.command import CommandOptions

Advance = Callable[[int], None]


class OutputClosed(Exception):
    """Whoever read standard output wants no more, as ``head`` does."""


class Output:
    """The two streams of a process, and how the user wants them."""

    def __init__(self, options: CommandOptions) -> None:
        self.as_json = options.json
        self.quiet = options.quiet
        self._color = options.color and not os.environ.get("NO_COLOR")
        self.terminal = sys.stdout.isatty()

    def can_write(self, text: str) -> bool:
        """Whether standard output's encoding has these characters."""
        try:
            text.encode(sys.stdout.encoding or "ascii")
        except (UnicodeEncodeError, LookupError):
            return False
        return True

    def line(self, text: str = "") -> None:
        """A line of data; the caller has seen to what it may hold. Raises OutputClosed."""
        self._write(f"{text}\n")

    def answer(self, text: str) -> None:
        """A text that came from elsewhere, made harmless for a terminal. Raises OutputClosed."""
        self._write(f"{block(text) if self.terminal else text}\n")

    def json(self, value: Any) -> None:
        """One JSON object on a line. Raises OutputClosed."""
        import orjson

        text = safe_json(orjson.dumps(value).decode())
        with _noticing_a_closed_reader():
            sys.stdout.flush()
            sys.stdout.buffer.write(f"{text}\n".encode())
            sys.stdout.buffer.flush()

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()) -> None:
        """Rows of cells: drawn on a terminal, the columns of *right* flush right; else tab-separated, no header."""
        shown = [[one_line(cell, 200) for cell in row] for row in rows]
        if not self.terminal:
            for row in shown:
                self.line("\t".join(row))
            return
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold")
        for header in headers:
            table.add_column(header, justify="right" if header in right else "left", overflow="fold")
        for row in shown:
            table.add_row(*map(Text, row))
        with _noticing_a_closed_reader():
            Console(no_color=not self._color, highlight=False).print(table)

    def fields(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Names and values, one pair a line; pairs without a value are left out."""
        for name, value in pairs:
            if value:
                self.line(f"{name + ':':<13}{one_line(value)}" if self.terminal else f"{name}\t{one_line(value)}")

    def talk(self, text: str) -> None:
        """A line for a person; nothing when that is not wanted."""
        if not self.quiet:
            self.error(text)

    def error(self, text: str) -> None:
        """A line for a person, wanted or not."""
        _say(text)

    @contextmanager
    def progress(self, what: str, total: int | None, *, least: int = 2) -> Iterator[Advance]:
        """A bar on standard error while something long goes on, if that is a terminal; advance it by calling it.

        With a *total* below *least* there is none: it would only flash.
        """
        if self.quiet or not sys.stderr.isatty() or (total is not None and total < least):
            yield lambda _: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        console = Console(stderr=True, no_color=not self._color)
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda count: bar.advance(task, count)

    def _write(self, text: str) -> None:
        with _noticing_a_closed_reader():
            sys.stdout.write(text)
            sys.stdout.flush()


@contextmanager
def _noticing_a_closed_reader() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise OutputClosed from None


def _say(text: str) -> None:
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except OSError:  # nobody listens; there is nobody to tell
        pass


def prepare_streams() -> None:
    """Let text through that the locale cannot write, as escapes: a reader of another locale gets no traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def abandon(stream: TextIO) -> None:
    """Point *stream* nowhere, so that the interpreter's last flush finds no closed pipe."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, stream.fileno())
    os.close(devnull)
