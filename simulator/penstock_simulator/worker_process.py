"""A real worker as a process of its own: for the demo, and for the tests of services."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import orjson

from penstock_store.settings import CONFIG_VARIABLE, REDIS_URL_VARIABLE
from penstock_store.tether import TetheredProcess

READY_EVENT = b'"worker_started"'
"""What a worker logs when its settings are found good and it begins to work."""

_NO_FILE = Path(__file__).with_name("no-settings.toml")
_READY_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 5.0
_POLL_S = 0.01


class WorkerProcess:
    """``penstock worker`` as a child that ends with its parent, however that ends. A context manager.

    *settings* are the sections of ``penstock.toml`` as plain values, and all that the worker reads: neither a
    file in the current folder nor a ``PENSTOCK_`` variable or ``REDIS_URL`` of the parent reaches it, so that it
    never works for a Redis or with a provider that it was not given. It finds modules (``worker.tasks``) where
    the parent does. No file is written. RuntimeError, with what it logged, if it does not get ready.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = dict(settings)
        self._process: TetheredProcess | None = None
        self._output: IO[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id; RuntimeError when it was not started."""
        return self._running().pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What it has logged since its latest start, one JSON object a line."""
        return "" if self._output is None else self._read(self._output).decode(errors="replace")

    def start(self) -> None:
        """Start it and wait until it works; nothing happens when it runs already."""
        if self.running:
            return
        self._forget()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - it has no name, and is closed with the process
        argv = [sys.executable, "-m", "penstock", "worker"]
        self._process = TetheredProcess(argv, stdout=self._output, stderr=self._output, env=self._environment())
        self._wait_ready()

    def stop(self, timeout_s: float = _STOP_TIMEOUT_S) -> None:
        """Let it finish what it has and end, by force after *timeout_s*; its log stays. A repeat does nothing."""
        if self._process is not None:
            self._process.stop(timeout_s)

    def kill(self) -> None:
        """End it by SIGKILL and wait until it is gone: what it held runs again when its leases are over."""
        self._running().kill()

    def close(self) -> None:
        """``stop``, and forget the log."""
        self.stop()
        self._forget()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def _running(self) -> TetheredProcess:
        if self._process is None:
            raise RuntimeError("the worker was not started")
        return self._process

    def _forget(self) -> None:
        self._process = None
        if self._output is not None:
            self._output.close()
            self._output = None

    def _environment(self) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("PENSTOCK_") and name != REDIS_URL_VARIABLE
        }
        sections = {
            f"PENSTOCK_{name.upper()}": orjson.dumps(section, default=str).decode()
            for name, section in self.settings.items()
        }
        own = {CONFIG_VARIABLE: str(_NO_FILE), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        return {**inherited, **sections, **own}

    def _wait_ready(self) -> None:
        assert self._output is not None
        give_up_at = time.monotonic() + _READY_TIMEOUT_S
        while READY_EVENT not in self._read(self._output):
            if not self.running or time.monotonic() > give_up_at:
                log = self.log
                self.stop(timeout_s=0)
                raise RuntimeError(f"the worker did not start:\n{log}")
            time.sleep(_POLL_S)

    @staticmethod
    def _read(output: IO[bytes]) -> bytes:
        return os.pread(output.fileno(), os.fstat(output.fileno()).st_size, 0)
