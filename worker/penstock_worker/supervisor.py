"""Several worker processes under one parent: one event loop each, restarted with back-off when one dies.

A child that exits with 0 is done; one that exits with a configuration error ends them all, since it would fail
again; any other is started anew, after a wait that doubles from half a second to half a minute and begins again
once a child has lived for a minute. SIGTERM and SIGINT are passed on, and nothing is started after them. The
children are gone when the parent is gone, killed or not.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from penstock_store.tether import TetheredProcess

logger = logging.getLogger(__name__)

CONFIGURATION_EXIT = 3
"""Exit code of a worker whose configuration is wrong or unsafe."""

_FIRST_WAIT_S, _LONGEST_WAIT_S, _LIVED_S = 0.5, 30.0, 60.0
_LOOK_S = 0.05
_PASSED_ON = (signal.SIGTERM, signal.SIGINT)


@dataclass(slots=True)
class _Child:
    """The place of one process, whichever runs in it."""

    index: int
    process: TetheredProcess | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    wait_s: float = _FIRST_WAIT_S
    exit_code: int | None = None


Told = Callable[[str, dict[str, Any]], None]
"""Takes an event, ``process_started`` or ``process_died``, and its fields: numbers."""


def _log(event: str, fields: dict[str, Any]) -> None:
    if event == "process_started":
        logger.info("worker process %(index)d started, pid %(pid)d", fields)
    else:
        logger.warning("worker process %(index)d died (exit code %(exit_code)d), next in %(delay_s).1f s", fields)


class Supervisor:
    """Runs ``command(index)`` for each index below *processes*; index tells children apart (ports, names).

    *told* hears what happens to them; by default it is logged.
    """

    def __init__(self, command: Callable[[int], Sequence[str]], processes: int, told: Told = _log) -> None:
        self._command = command
        self._told = told
        self._children = [_Child(index) for index in range(processes)]
        self._stop = threading.Event()

    def run(self) -> int:
        """Run until a signal, or until all children are done; the exit code: the worst of the children's.

        Takes over SIGTERM and SIGINT; call it from the main thread.
        """
        for number in _PASSED_ON:
            signal.signal(number, self._pass_on)
        while any(child.exit_code is None for child in self._children):
            for child in self._children:
                self._look_after(child)
            time.sleep(_LOOK_S)
        return max(abs(child.exit_code or 0) for child in self._children)

    @property
    def pids(self) -> list[int | None]:
        """Process ids of the children; None where one is not running at the moment."""
        return [child.process.pid if child.process is not None else None for child in self._children]

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self._stop.set()
        for child in self._children:
            if child.process is not None:
                child.process.send_signal(signal.Signals(number))

    def _look_after(self, child: _Child) -> None:
        if child.exit_code is not None:
            return
        if child.process is not None:
            self._reap(child)
        elif self._stop.is_set():
            child.exit_code = 0
        elif time.monotonic() >= child.start_at:
            self._start(child)

    def _start(self, child: _Child) -> None:
        child.process = TetheredProcess(self._command(child.index))
        child.started_at = time.monotonic()
        self._told("process_started", {"index": child.index, "pid": child.process.pid})
        if self._stop.is_set():  # the signal came while it was being started
            child.process.send_signal(signal.SIGTERM)

    def _reap(self, child: _Child) -> None:
        assert child.process is not None
        code = child.process.poll()
        if code is None:
            return
        child.process = None
        if self._stop.is_set() and -code in _PASSED_ON:
            child.exit_code = 0  # it had only begun, and held nothing
        elif code == 0 or self._stop.is_set():
            child.exit_code = code
        elif code == CONFIGURATION_EXIT:
            child.exit_code = code
            self._pass_on(signal.SIGTERM, None)
        else:
            self._back_off(child, code)

    def _back_off(self, child: _Child, code: int) -> None:
        now = time.monotonic()
        if now - child.started_at >= _LIVED_S:
            child.wait_s = _FIRST_WAIT_S
        self._told("process_died", {"index": child.index, "exit_code": code, "delay_s": child.wait_s})
        child.start_at = now + child.wait_s
        child.wait_s = min(2 * child.wait_s, _LONGEST_WAIT_S)
