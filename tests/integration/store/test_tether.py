"""A tethered child behaves as if it were started directly, and dies with its owner."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from penstock_store.tether import TetheredProcess, tethered_command
from tests.support.processes import Processes, is_alive
from tests.support.wait import wait_until

# Starts itself tethered, as a chain of owners, each link in a thread that ends at once; the last one waits.
CHAIN = """
import os, signal, subprocess, sys, threading
from penstock_store.tether import tethered_command
depth = int(sys.argv[2])
print("pid", os.getpid(), flush=True)
def start():
    subprocess.Popen(tethered_command([sys.executable, "-c", sys.argv[1], sys.argv[1], str(depth - 1)]))
if depth:
    thread = threading.Thread(target=start); thread.start(); thread.join()
else:
    print("ready", flush=True)
signal.pause()
"""


def test_what_is_started_has_our_arguments_environment_and_folder(tmp_path: Path) -> None:
    """Nothing is lost on the way through the wrapper, and the isolation of its interpreter is not inherited."""
    code = "import os, sys; print(sys.argv[1:], os.getcwd(), os.environ['MARK'], sys.flags.isolated)"
    child = TetheredProcess(
        [sys.executable, "-c", code, "a b", "", "--c"],
        stdout=subprocess.PIPE,
        env={**os.environ, "MARK": "here"},
        cwd=tmp_path,
    )
    assert child.stdout is not None
    with child.stdout as stdout:
        assert stdout.read().decode().split() == ["['a", "b',", "'',", "'--c']", str(tmp_path), "here", "0"]
    assert child.wait() == 0


def test_the_default_dispositions_of_signals_are_restored() -> None:
    """Python ignores SIGPIPE; what it starts must not."""
    code = "import signal, sys; sys.exit(signal.getsignal(signal.SIGPIPE) is not signal.SIG_IGN)"
    plain = subprocess.run([sys.executable, "-c", code], check=False).returncode
    assert TetheredProcess([sys.executable, "-c", code]).wait() == plain
    blocked = "import signal, sys; sys.exit(len(signal.pthread_sigmask(signal.SIG_BLOCK, ())))"
    assert TetheredProcess([sys.executable, "-c", blocked]).wait() == 0


@pytest.mark.parametrize("code", [0, 1, 77, 255])
def test_the_exit_code_comes_through(code: int) -> None:
    """The wrapper ends with the code of the command."""
    assert TetheredProcess([sys.executable, "-c", f"raise SystemExit({code})"]).wait() == code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGINT])
def test_the_signal_that_ended_it_comes_through(number: signal.Signals) -> None:
    """The wrapper ends as the command did."""
    code = f"import os, signal; signal.signal({number}, signal.SIG_DFL); os.kill(os.getpid(), {number})"
    if number is signal.SIGKILL:
        code = f"import os; os.kill(os.getpid(), {number})"
    assert TetheredProcess([sys.executable, "-c", code]).wait() == -number


def test_a_command_that_does_not_exist_ends_with_127(capfd: pytest.CaptureFixture[str]) -> None:
    """As in a shell, with the reason on standard error."""
    assert TetheredProcess(["/no/such/command"]).wait() == 127
    assert "/no/such/command" in capfd.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_to_the_wrapper_are_passed_on(number: signal.Signals) -> None:
    """``Popen.send_signal`` of a plain Popen reaches the command, once."""
    code = (
        "import signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals());"
        "print('ready', flush=True); print(int(signal.sigwait(signal.valid_signals())), flush=True)"
    )
    wrapper = subprocess.Popen(tethered_command([sys.executable, "-c", code]), stdout=subprocess.PIPE, text=True)
    with wrapper:
        assert wrapper.stdout is not None
        assert wrapper.stdout.readline() == "ready\n"
        wrapper.send_signal(number)
        assert wrapper.stdout.readline() == f"{int(number)}\n"
    assert wrapper.returncode == 0


def test_ctrl_c_reaches_the_owner_only(processes: Processes) -> None:
    """The command is in another process group than its owner, so that the owner can stop it in order."""
    code = "import os; print('group', os.getpgrp(), flush=True)"
    owner = processes.python(
        "-c",
        "import os, subprocess, sys; from penstock_store.tether import tethered_command;"
        "print('own', os.getpgrp(), flush=True);"
        f"subprocess.run(tethered_command([sys.executable, '-c', {code!r}]))",
    )
    own = owner.wait_line(r"own (\d+)").group(1)
    assert owner.wait_line(r"group (\d+)").group(1) != own


def test_a_chain_of_children_dies_with_the_first_owner(processes: Processes) -> None:
    """Each dies with its own owner; the threads that started them are long gone."""
    first = processes.python("-c", CHAIN, CHAIN, "3")
    first.wait_line("ready")
    pids = [int(line.split()[1]) for line in first.lines if line.startswith("pid")]
    assert len(pids) == 4
    assert all(is_alive(pid) for pid in pids)
    first.kill()
    wait_until(lambda: not any(is_alive(pid) for pid in pids))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a parent-death signal")
def test_the_command_dies_when_its_wrapper_is_killed() -> None:
    """``Popen.kill`` on a plain Popen does not leave the command behind."""
    code = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
    with subprocess.Popen(tethered_command([sys.executable, "-c", code]), stdout=subprocess.PIPE, text=True) as wrapper:
        assert wrapper.stdout is not None
        pid = int(wrapper.stdout.readline())
        wrapper.kill()
        wait_until(lambda: not is_alive(pid))


def test_the_end_of_the_thread_that_started_it_changes_nothing() -> None:
    """The owner is the process, not the thread."""
    started: list[TetheredProcess] = []
    code = "import signal; signal.pause()"
    thread = threading.Thread(target=lambda: started.append(TetheredProcess([sys.executable, "-c", code])))
    thread.start()
    thread.join()
    (child,) = started
    assert child.poll() is None
    os.kill(child.pid, 0)
    assert child.stop(10.0) == -signal.SIGTERM


def test_stop_kills_what_does_not_listen() -> None:
    """SIGTERM ignored: SIGKILL after the time given."""
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
    child = TetheredProcess([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout as stdout:
        stdout.readline()
        assert child.stop(0.05) == -signal.SIGKILL
    child.send_signal(signal.SIGTERM)  # to nobody
    assert child.kill() == -signal.SIGKILL


async def test_asyncio_can_start_it_too() -> None:
    """The wrapped command is an ordinary argv."""
    child = await asyncio.create_subprocess_exec(*tethered_command([sys.executable, "-c", "raise SystemExit(3)"]))
    assert await child.wait() == 3
