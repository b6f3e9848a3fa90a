"""Keeps worker processes alive as an init system would: whoever ends is started again 0.5 s later."""

import random
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.processes import ChildProcess

RESTART_AFTER_S = 0.5
_STOP_TIMEOUT_S = 30.0
ASKED_FOR = {0, -signal.SIGKILL}
"""Codes of those who were told to drain, and of those who were killed, by us or by a crash point."""


@dataclass(frozen=True)
class End:
    """A worker process that ended before the supervisor was stopped."""

    slot: int
    pid: int
    code: int
    """Exit code, negative for a signal."""
    lived_s: float


class Supervisor:
    """Runs the same command in a number of slots."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        count: int,
        env: Mapping[str, str | None] | None = None,
        restart_after_s: float = RESTART_AFTER_S,
    ) -> None:
        self.ends: list[End] = []
        """Every end so far, in order, killed ones included."""
        self.started: list[ChildProcess] = []
        """Every process ever started, with its log."""
        self._argv, self._env, self._restart_after_s = argv, env, restart_after_s
        self._current: list[ChildProcess | None] = [None] * count
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._keep, args=(slot,), daemon=True) for slot in range(count)]

    @property
    def alive(self) -> list[ChildProcess]:
        """The processes that run now."""
        with self._changed:
            return [child for child in self._current if child is not None and child.returncode is None]

    def ended_by_themselves(self) -> list[str]:
        """The ends that neither a signal of ours nor a drain explains: the beginning of a crash loop."""
        return [
            f"{end.pid} ended with {end.code} after {end.lived_s:.1f} s"
            for end in self.ends
            if end.code not in ASKED_FOR
        ]

    def kill_random(self, rng: random.Random) -> ChildProcess:
        """SIGKILL one of those that run; it. Raises ``AssertionError`` when none does for 10 s."""
        with self._changed:
            self._changed.wait_for(lambda: self.alive, 10.0)
            alive = self.alive
            assert alive, "no worker runs"
            victim = rng.choice(alive)
        victim.kill()
        return victim

    def wait_started(self, count: int, timeout_s: float = 20.0) -> None:
        """Wait until *count* processes have been started in all, restarts included."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.started) >= count, timeout_s):
                raise AssertionError(f"{len(self.started)} instead of {count} workers started; ends: {self.ends}")

    def start(self) -> None:
        """Start one process in each slot."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> list[int]:
        """SIGTERM all, restart none; their exit codes. Whoever is left after 30 s is killed."""
        self._stopping.set()
        running = self.alive
        for child in running:
            child.send_signal(signal.SIGTERM)
            child.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        for child in self.started:
            child.kill()
        return [child.wait() for child in running]

    def _keep(self, slot: int) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            child = ChildProcess(self._argv, env=self._env)
            with self._changed:
                self.started.append(child)
                self._current[slot] = child
                self._changed.notify_all()
            if self._stopping.is_set():  # the stop did not see this one
                child.terminate()
            code = child.wait(None)
            if self._stopping.is_set():
                return
            with self._changed:
                self.ends.append(End(slot, child.pid, code, time.monotonic() - began))
                self._changed.notify_all()
            self._stopping.wait(self._restart_after_s)


@contextmanager
def supervised(
    argv: Sequence[str],
    *,
    count: int,
    env: Mapping[str, str | None] | None = None,
    restart_after_s: float = RESTART_AFTER_S,
) -> Iterator[Supervisor]:
    """A supervisor whose processes run for the block, and end with it."""
    supervisor = Supervisor(argv, count=count, env=env, restart_after_s=restart_after_s)
    supervisor.start()
    try:
        yield supervisor
    finally:
        supervisor.stop()
