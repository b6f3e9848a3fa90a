"""What the command prints where: pipes that close, terminals, other locales."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from penstock import Producer, Summarize
from tests.integration.cli.conftest import Command, dead_letters, environment
from tests.support.jobs import HandWorker

EVIL = "Gr\u00fc\u00dfe \x1b[31mred\x1b[0m \u202eesrever\u202c \u200bend"


async def evil(producer: Producer, worker: HandWorker) -> str:
    """A job whose answer would play with a terminal."""
    job = await producer.enqueue(Summarize(text="Words."))
    await worker.succeed(await worker.claim_one(), {"summary": EVIL})
    return job.id


def on_terminal(redis_url: str, folder: Path, *arguments: str, **changes: str) -> str:
    """All that the command prints when standard output and error are a terminal."""
    master, slave = pty.openpty()
    env = environment(redis_url, folder, {"TERM": "xterm-256color", "COLUMNS": "160", **changes})
    command = [sys.executable, "-m", "penstock", *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave, cwd=folder, env=env
    ) as running:
        os.close(slave)
        printed = b""
        try:
            while piece := os.read(master, 65_536):
                printed += piece
        except OSError:  # Linux says so when the other end is closed
            pass
        running.wait(30)
    os.close(master)
    return printed.decode().replace("\r\n", "\n")


async def test_a_reader_that_closes_early_is_no_error(
    command: Command, producer: Producer, worker: HandWorker, redis_url: str, tmp_path: Path
) -> None:
    """As `head` does, after far more than a pipe holds; a replay goes on all the same."""
    await dead_letters(producer, worker, 600)
    for arguments in (["dead", "list", "--json", "--limit", "1000"], ["dead", "replay", "--all", "--yes", "--json"]):
        ended = _read_one_line(redis_url, tmp_path, arguments)
        assert ended == (0, b"")
    assert command("dead").out == ""


def _read_one_line(redis_url: str, folder: Path, arguments: list[str]) -> tuple[int, bytes]:
    with subprocess.Popen(
        [sys.executable, "-m", "penstock", "-q", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment(redis_url, folder),
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        json.loads(running.stdout.readline())
        running.stdout.close()
        said = running.stderr.read()
        return running.wait(30), said


async def test_an_answer_is_itself_in_a_pipe_and_harmless_on_a_terminal(
    command: Command, producer: Producer, worker: HandWorker, redis_url: str, tmp_path: Path
) -> None:
    job_id = await evil(producer, worker)
    assert command("result", job_id).out == EVIL + "\n"
    shown = on_terminal(redis_url, tmp_path, "result", job_id)
    assert "Gr\u00fc\u00dfe \\x1b[31mred\\x1b[0m \\u202eesrever\\u202c \\u200bend" in shown
    assert "\x1b" not in shown


async def test_json_is_the_same_for_every_locale_and_terminal(
    command: Command, producer: Producer, worker: HandWorker, redis_url: str, tmp_path: Path
) -> None:
    """One object a line, without a character that a terminal obeys."""
    job_id = await evil(producer, worker)
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    lines = {
        command("result", job_id, "--json", "-q").out.strip(),
        command("result", job_id, "--json", "-q", **ascii_only).out.strip(),
        on_terminal(redis_url, tmp_path, "result", job_id, "--json", "-q").strip(),
    }
    (line,) = lines
    assert json.loads(line)["output"] == {"summary": EVIL}
    assert "\x1b" not in line
    assert "\u202e" not in line


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
async def test_another_locale_gets_escapes_and_no_traceback(
    command: Command, producer: Producer, worker: HandWorker, encoding: str
) -> None:
    job = await producer.enqueue(Summarize(text="世界"))
    await worker.succeed(await worker.claim_one(), {"summary": "世界"})
    ended = command("result", job.id, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert (ended.code, ended.out) == (0, "\\u4e16\\u754c\n")
    assert command("doctor", PYTHONIOENCODING=encoding, PYTHONUTF8="0").out.startswith("ok D01")


async def test_tables_are_drawn_on_a_terminal_with_colour_if_wanted(
    producer: Producer, worker: HandWorker, redis_url: str, tmp_path: Path
) -> None:
    """A header, and the same cells as in a pipe; NO_COLOR and --no-color take the colour away."""
    (job_id,) = await dead_letters(producer, worker, 1)
    shown = on_terminal(redis_url, tmp_path, "dead")
    assert job_id in shown
    assert "attempts" in shown.splitlines()[0]
    drawn = on_terminal(redis_url, tmp_path, "costs", NO_COLOR="1") + on_terminal(
        redis_url, tmp_path, "dead", "--no-color"
    )
    assert "\x1b[3" not in drawn


async def test_standard_input_that_is_a_terminal_is_not_waited_for(redis_url: str, tmp_path: Path) -> None:
    """Nobody would know what it waits for."""
    master, slave = pty.openpty()
    try:
        for arguments in (["run", "summarize", "-"], ["enqueue", "classify", "--labels", "a,b"], ["cancel", "-"]):
            done = subprocess.run(  # noqa: ASYNC221
                [sys.executable, "-m", "penstock", *arguments],
                stdin=slave,
                capture_output=True,
                cwd=tmp_path,
                env=environment(redis_url, tmp_path),
                timeout=30,
            )
            assert done.returncode == 2
            assert b"standard input is a terminal" in done.stderr
    finally:
        os.close(master)
        os.close(slave)


def test_a_shell_completes_subcommands_and_verbs(command: Command) -> None:
    """Without loading what they need."""

    def completed(line: str) -> list[str]:
        words = line.split(" ")
        ended = command(
            _PENSTOCK_COMPLETE="complete_bash",
            COMP_WORDS=line,
            COMP_CWORD=str(len(words) - 1),
            _TYPER_COMPLETE_ARGS=line,
        )
        return ended.out.split()

    assert {"dead", "degraded", "demo", "doctor"} == set(completed("penstock d"))
    assert completed("penstock dead re") == ["replay"]
    assert "--labels" in completed("penstock run classify --la")
