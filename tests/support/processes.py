"""Real processes under test: their log is kept, their signals are ours, and none outlives the tests.

A line that is a JSON object with an ``event`` (as structlog writes it) is an event; any other is a line.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from penstock_store.tether import TetheredProcess

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""

_STOP_TIMEOUT_S = 10.0


class ChildProcess:
    """A running command whose standard output and error are collected, line by line, in one log.

    It dies with the test process. Every wait raises an ``AssertionError`` that shows the log: when its time
    is up, or at once when the process has ended without the thing waited for.
    """

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str | None] | None = None, cwd: Path = ROOT) -> None:
        """Start *argv*; *env* is laid over the environment of the tests, None taking a variable away."""
        self.argv = list(argv)
        self.lines: list[str] = []
        self._ended = False
        self._changed = threading.Condition()
        self._process = TetheredProcess(
            self.argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=_environment(env), cwd=cwd
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @classmethod
    def python(cls, *arguments: str, env: Mapping[str, str | None] | None = None, cwd: Path = ROOT) -> Self:
        """Run this interpreter: ``ChildProcess.python("-m", "penstock_worker")``."""
        return cls([sys.executable, *arguments], env=env, cwd=cwd)

    @property
    def pid(self) -> int:
        """Process id of the command itself."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    @property
    def output(self) -> str:
        """All that it has printed so far."""
        with self._changed:
            return "\n".join(self.lines)

    def events(self, name: str | None = None, **fields: object) -> list[dict[str, Any]]:
        """The events logged so far, of this name (None: of any) and with these fields."""
        with self._changed:
            parsed = [_parse(line) for line in self.lines]
        return [event for event in parsed if event is not None and _matches(event, name, fields)]

    def wait_event(self, name: str, timeout_s: float = 10.0, **fields: object) -> dict[str, Any]:
        """Wait for the first event of this name with these fields; one logged before counts."""
        what = f"event {name} {fields or ''}".strip()
        return self._wait_for(lambda line: _parsed_match(line, name, fields), timeout_s, what)

    def wait_line(self, pattern: str, timeout_s: float = 10.0) -> re.Match[str]:
        """Wait for the first line in which the regular expression is found; one printed before counts."""
        expression = re.compile(pattern)
        return self._wait_for(expression.search, timeout_s, f"line with {pattern!r}")

    def wait(self, timeout_s: float | None = 10.0) -> int:
        """Wait for the end and the last of the log, None for as long as it takes; the exit code."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(self._failure("its end", f"within {timeout_s:g} s")) from None
        self._reader.join(timeout_s)
        return code

    async def event(self, name: str, timeout_s: float = 10.0, **fields: object) -> dict[str, Any]:
        """``wait_event``, from a coroutine."""
        return await asyncio.to_thread(self.wait_event, name, timeout_s, **fields)

    async def line(self, pattern: str, timeout_s: float = 10.0) -> re.Match[str]:
        """``wait_line``, from a coroutine."""
        return await asyncio.to_thread(self.wait_line, pattern, timeout_s)

    async def ended(self, timeout_s: float = 10.0) -> int:
        """``wait``, from a coroutine."""
        return await asyncio.to_thread(self.wait, timeout_s)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the command; nothing happens when it has ended."""
        self._process.send_signal(number)

    def terminate(self) -> None:
        """SIGTERM, without waiting."""
        self.send_signal(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP: it holds whatever it holds and does nothing."""
        self.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: go on after ``pause``."""
        self.send_signal(signal.SIGCONT)

    def kill(self) -> int:
        """SIGKILL, and wait until it is gone; its exit code."""
        self._process.kill()
        return self.wait()

    def close(self) -> int:
        """End it in order, by force after 10 s; its exit code. May be repeated."""
        self._process.stop(_STOP_TIMEOUT_S)
        return self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        with stream:
            for raw in stream:
                with self._changed:
                    self.lines.append(raw.decode(errors="replace").rstrip("\n"))
                    self._changed.notify_all()
        self._process.wait()  # the log ends a moment before the process does
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _wait_for(self, match: Callable[[str], T | None], timeout_s: float, what: str) -> T:
        found: T | None = None
        looked_at = 0

        def look() -> bool:
            nonlocal found, looked_at
            while found is None and looked_at < len(self.lines):
                found = match(self.lines[looked_at])
                looked_at += 1
            return found is not None or self._ended

        with self._changed:
            self._changed.wait_for(look, timeout_s)
        if found is None:
            raise AssertionError(self._failure(what, f"within {timeout_s:g} s"))
        return found

    def _failure(self, what: str, when: str) -> str:
        state = "runs" if self.returncode is None else f"ended with code {self.returncode}"
        return f"no {what} {when} from {self.argv} ({state}). Its log:\n{self.output}"


class Processes:
    """Starts processes and ends all that are left."""

    def __init__(self) -> None:
        self.started: list[ChildProcess] = []

    def python(self, *arguments: str, env: Mapping[str, str | None] | None = None, cwd: Path = ROOT) -> ChildProcess:
        """Run this interpreter with these arguments; see ``ChildProcess``."""
        return self.command(sys.executable, *arguments, env=env, cwd=cwd)

    def command(self, *argv: str, env: Mapping[str, str | None] | None = None, cwd: Path = ROOT) -> ChildProcess:
        """Run any command; see ``ChildProcess``."""
        child = ChildProcess(argv, env=env, cwd=cwd)
        self.started.append(child)
        return child


@contextmanager
def processes() -> Iterator[Processes]:
    """A starter of processes that end with the block; then their logs are printed, for a failure's report."""
    starter = Processes()
    try:
        yield starter
    finally:
        for child in reversed(starter.started):
            code = child.close()
            print(f"--- {child.argv} ended with code {code}:\n{child.output}")


def is_alive(pid: int) -> bool:
    """Whether a process of this id runs; one that has ended but was not yet reaped by its new parent does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # it went in between, or there is no /proc to ask
        return not Path("/proc/self").exists()


def _environment(changes: Mapping[str, str | None] | None) -> dict[str, str]:
    merged = {**os.environ, "PYTHONUNBUFFERED": "1", **(changes or {})}
    return {name: value for name, value in merged.items() if value is not None}


def _parse(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) and "event" in value else None


def _matches(event: dict[str, Any], name: str | None, fields: Mapping[str, object]) -> bool:
    same_name = name is None or event["event"] == name
    return same_name and all(field in event and event[field] == value for field, value in fields.items())


def _parsed_match(line: str, name: str, fields: Mapping[str, object]) -> dict[str, Any] | None:
    event = _parse(line)
    return event if event is not None and _matches(event, name, fields) else None
