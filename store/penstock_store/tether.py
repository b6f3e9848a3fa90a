"""Child processes that are gone when their owner is gone, killed or not.

How it works, for ``tethered_command(["redis-server"])``:

1. The owner starts this file as a wrapper: a process of one thread and the standard library alone (10 ms).
2. The wrapper leaves the owner's process group, so that Ctrl-C in a terminal reaches the owner only, which
   can then stop its children in order. It starts the command in the group that it has made.
3. It watches the owner's process, not a thread of it or a pipe from it: a pidfd on Linux, a kqueue on macOS.
   The kernel's parent-death signal alone would fire when the *thread* that started the child ends, and a pipe
   would stay open in whatever the owner forks.
4. The owner gone, however it went: the wrapper kills its whole process group, itself included.
5. The command gone: the wrapper ends in the same way, with the same exit code or by the same signal.
6. The wrapper itself killed: on Linux the kernel kills the command (here the parent-death signal is safe, for
   the wrapper has one thread). macOS has no such signal: there, kill the process group.

SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 sent to the wrapper are passed on. No file is written.
"""

import contextlib
import ctypes
import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NoReturn

_FORWARDED = {
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
}
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_OWNER_POLL_S = 0.2  # only where the kernel offers neither pidfd nor kqueue
_NO_FD = -1


def tethered_command(argv: Sequence[str], *, pid_fd: int | None = None) -> list[str]:
    """Wrap *argv*, so that it runs as before but dies with the process that calls this.

    The caller must start the result itself (in any thread). *pid_fd* is an inherited descriptor to which the
    command's own process id is written, in decimal; None when nobody asks. SIGKILL and SIGSTOP cannot be
    passed on: sent to the wrapper, the first ends both, the second stops only the wrapper.
    """
    reported_to = _NO_FD if pid_fd is None else pid_fd
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(reported_to), *argv]


class TetheredProcess:
    """A running command that dies with this process; signals go to the command itself, not to the wrapper."""

    pid: int
    """Process id of the command."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
    ) -> None:
        """Start *argv*, with nothing on its standard input. None means "as the owner's".

        Raises ``ChildProcessError`` when the wrapper could not start anything. A command that cannot be
        executed is not an error here: it has exit code 127, and its standard error says why.
        """
        read_fd, write_fd = os.pipe()
        with os.fdopen(read_fd, "rb") as report:
            try:
                self._wrapper = subprocess.Popen(  # noqa: S603 - no shell; the command is the caller's
                    tethered_command(argv, pid_fd=write_fd),
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    env=env,
                    cwd=cwd,
                    pass_fds=(write_fd,),
                )
            finally:
                os.close(write_fd)
            pid = report.read()
        if not pid:
            raise ChildProcessError(f"{argv[0]} was not started (exit code {self._wrapper.wait()})")
        self.pid = int(pid)

    @property
    def stdout(self) -> IO[bytes] | None:
        """The reading end of the command's standard output; None unless it was started with a pipe."""
        return self._wrapper.stdout

    def poll(self) -> int | None:
        """Exit code, negative for a signal; None while it runs."""
        return self._wrapper.poll()

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for the end, None for as long as it takes; raises ``subprocess.TimeoutExpired``."""
        return self._wrapper.wait(timeout_s)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the command; nothing happens when it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> int:
        """SIGKILL the command and wait until it is gone; its exit code."""
        self.send_signal(signal.SIGKILL)
        return self.wait()

    def stop(self, timeout_s: float) -> int:
        """SIGTERM (a stopped process is continued), SIGKILL after *timeout_s*; its exit code."""
        self.send_signal(signal.SIGTERM)
        self.send_signal(signal.SIGCONT)
        try:
            return self.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return self.kill()


# From here on: what runs inside the wrapper.


def _main(owner_pid: int, pid_fd: int, argv: list[str]) -> NoReturn:
    if os.getpgrp() != os.getpid():  # a session's leader already leads its group
        os.setpgid(0, 0)
    owner_fd = _exit_fd(owner_pid)
    if os.getppid() != owner_pid:  # gone before we could watch it
        sys.exit(1)
    signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)  # until there is a child to send them to
    wake_fd = _wake_on_signals()
    child_pid = _start(argv, pid_fd)
    for number in _FORWARDED:
        signal.signal(number, lambda received, _frame: os.kill(child_pid, received))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
    _report(pid_fd, child_pid)
    _end_like(_wait(child_pid, owner_pid, owner_fd, wake_fd))


def _exit_fd(pid: int) -> int | None:
    """A descriptor that becomes readable when process *pid* has ended; None where there is no such thing."""
    with contextlib.suppress(OSError):
        if sys.platform == "linux":
            return os.pidfd_open(pid)
        queue = select.kqueue()
        event = select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT)
        queue.control([event], 0)
        return os.dup(queue.fileno())
    return None


def _wake_on_signals() -> int:
    """A descriptor that becomes readable when a signal came, SIGCHLD among them."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(read_fd, False)
    os.set_blocking(write_fd, False)
    signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return read_fd


def _start(argv: list[str], pid_fd: int) -> int:
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    wrapper_pid = os.getpid()
    child_pid = os.fork()
    if child_pid:
        return child_pid
    try:
        if pid_fd != _NO_FD:
            os.close(pid_fd)
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != wrapper_pid:  # killed before the kernel was told
            os._exit(1)
        for number in _IGNORED_BY_PYTHON:
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
        os.execvp(argv[0], argv)  # noqa: S606 - no shell; the command is the owner's
    except BaseException as error:
        os.write(2, f"{argv[0]}: {error}\n".encode())
        os._exit(127)


def _report(pid_fd: int, child_pid: int) -> None:
    if pid_fd != _NO_FD:
        with contextlib.suppress(BrokenPipeError), os.fdopen(pid_fd, "w") as report:
            report.write(str(child_pid))


def _wait(child_pid: int, owner_pid: int, owner_fd: int | None, wake_fd: int) -> int:
    """Wait for the child's end, and kill the group at once when the owner's comes first; the wait status."""
    watched = [wake_fd] if owner_fd is None else [wake_fd, owner_fd]
    while True:
        ended, status = os.waitpid(child_pid, os.WNOHANG)
        if ended:
            return status
        readable, _, _ = select.select(watched, [], [], _OWNER_POLL_S if owner_fd is None else None)
        if os.getppid() != owner_pid or owner_fd in readable:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child_pid, signal.SIGKILL)  # it may have left the group
            os.killpg(os.getpgrp(), signal.SIGKILL)
        with contextlib.suppress(BlockingIOError):
            os.read(wake_fd, 4096)


def _end_like(status: int) -> NoReturn:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # one core dump is enough
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
