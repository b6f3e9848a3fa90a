"""The process tool: logs are kept, waits end for a reason, nothing is left running."""

import signal

import pytest

from tests.support.processes import ChildProcess, Processes, is_alive, processes
from tests.support.wait import wait_until

TALKER = """
import json, signal, sys
print("starting")
print("a warning", file=sys.stderr)
for number in range(3):
    print(json.dumps({"event": "job_finished", "job_id": f"job-{number}", "number": number}), flush=True)
print("{not json")
print('["event"]', flush=True)
signal.pause()
"""


def test_lines_and_events_are_told_apart(processes: Processes) -> None:
    """A JSON object with an event is an event; standard error is part of the log."""
    child = processes.python("-c", TALKER)
    assert child.wait_event("job_finished", job_id="job-2")["number"] == 2
    assert child.wait_line(r"a (\w+)").group(1) == "warning"
    child.wait_line('"event"]')
    assert [event["number"] for event in child.events("job_finished")] == [0, 1, 2]
    assert child.events("job_finished", number=1, job_id="job-2") == []
    assert len(child.events()) == 3


async def test_a_coroutine_waits_without_blocking(processes: Processes) -> None:
    """The async twins of the waits."""
    child = processes.python("-c", TALKER)
    assert (await child.event("job_finished", number=1))["job_id"] == "job-1"
    await child.line("starting")
    child.terminate()
    assert await child.ended() == -signal.SIGTERM


def test_a_wait_that_fails_shows_the_log(processes: Processes) -> None:
    """The message says what was missing and all that was printed."""
    child = processes.python("-c", TALKER)
    child.wait_line("starting")
    with pytest.raises(AssertionError, match=r"no event job_lost (.|\n)*runs(.|\n)*starting"):
        child.wait_event("job_lost", timeout_s=0.05)
    with pytest.raises(AssertionError, match=r"no its end"):
        child.wait(0.05)


def test_a_wait_ends_at_once_when_the_process_has(processes: Processes) -> None:
    """No need to sit out an hour for what cannot come."""
    child = processes.python("-c", "print('bye'); raise SystemExit(4)")
    with pytest.raises(AssertionError, match=r"ended with code 4(.|\n)*bye"):
        child.wait_line("welcome", timeout_s=3600)


def test_the_environment_is_laid_over_ours(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """None takes a variable away."""
    monkeypatch.setenv("TAKEN", "1")
    monkeypatch.setenv("KEPT", "2")
    code = "import os; print(os.environ.get('TAKEN'), os.environ.get('KEPT'), os.environ.get('ADDED'))"
    child = processes.python("-c", code, env={"TAKEN": None, "ADDED": "3"})
    child.wait_line("None 2 3")


def test_signals_reach_the_process_itself(processes: Processes) -> None:
    """A paused process does not end by SIGTERM before it is resumed; kill needs no consent."""
    child = processes.python("-c", TALKER)
    child.wait_line("starting")
    child.pause()
    child.terminate()
    assert child.returncode is None
    child.resume()
    assert child.wait() == -signal.SIGTERM
    other = processes.python("-c", TALKER)
    assert other.kill() == -signal.SIGKILL
    assert other.returncode == -signal.SIGKILL


def test_the_block_ends_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    """Paused or running, nothing stays; the logs are printed."""
    with processes() as starter:
        running, paused = (starter.python("-c", TALKER) for _ in range(2))
        for child in (running, paused):
            child.wait_line("a warning")
        paused.pause()
    for child in (running, paused):
        assert child.returncode == -signal.SIGTERM
        assert not is_alive(child.pid)
    assert capsys.readouterr().out.count("\na warning\n") == 2


def test_children_die_with_a_killed_test_run(processes: Processes) -> None:
    """SIGKILL of the process that started them leaves nothing behind."""
    runner = processes.python(
        "-c",
        "import signal\n"
        "from tests.support.processes import ChildProcess\n"
        "child = ChildProcess.python('-c', 'import signal; signal.pause()')\n"
        "print('child', child.pid)\n"
        "signal.pause()",
    )
    pid = int(runner.wait_line(r"child (\d+)").group(1))
    runner.kill()
    wait_until(lambda: not is_alive(pid))


def test_a_context_ends_a_single_process() -> None:
    """For use without the fixture."""
    with ChildProcess.python("-c", TALKER) as child:
        child.wait_line("starting")
    assert child.returncode == -signal.SIGTERM
