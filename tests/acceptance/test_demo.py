"""The demo is the first thing that a stranger runs: it does what it says, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from penstock_simulator import SimulatorProcess
from tests.support.processes import Processes
from tests.support.wait import wait_until

NOTE = "The mill stands at the bridge. The stream drives its wheel. It is still in use, says owner@mill.example."
SCENES = ["work", "work", "work", "deduplicated", "degraded", "dead", "replayed"]
ALL_RUNNING = 5
"""Redis, simulator, two workers, and the demo itself."""

linux_only = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found by /proc")


class Surroundings:
    """A folder and a temporary folder of the demo's own, and a mark by which its processes are known."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.temporary = folder / "here", folder / "tmp"
        self.folder.mkdir()
        self.temporary.mkdir()
        self.mark = f"DEMO_MARK={uuid.uuid4().hex}"
        name, value = self.mark.split("=")
        self.env = {"TMPDIR": str(self.temporary), name: value}

    def run(self, *arguments: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """The demo, to its end."""
        command = [sys.executable, "-m", "penstock", "demo", *map(str, arguments)]
        environment = {**os.environ, "OPENAI_API_KEY": "", **self.env, **(env or {})}
        return subprocess.run(command, capture_output=True, text=True, timeout=90, cwd=self.folder, env=environment)

    def processes(self) -> list[int]:
        """The ids of the processes that carry the mark."""
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and self._marked(entry)]

    def _marked(self, entry: Path) -> bool:
        try:
            return self.mark.encode() in (entry / "environ").read_bytes().split(b"\0")
        except OSError:  # it has gone, or is not ours to look at
            return False

    def files(self) -> list[Path]:
        """What is left on the disk."""
        return [*self.folder.iterdir(), *self.temporary.iterdir()]


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    """Where the demo is run."""
    return Surroundings(tmp_path)


@pytest.fixture
def note(tmp_path: Path) -> Path:
    """A text of one's own, under a name that is not ASCII."""
    file = tmp_path / "Notiz über die Mühle.txt"
    file.write_text(NOTE, "utf-8")
    return file


def objects(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """What was printed with --json: nothing else may be on standard output."""
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@linux_only
def test_every_scene_is_true(around: Surroundings, note: Path) -> None:
    """Three answers, one that was not paid again, one that no model gave, a dead letter and its replay."""
    shown = objects(around.run("--json", note))
    assert [one["scene"] for one in shown] == SCENES
    assert [one["task"] for one in shown[:3]] == ["summarize", "classify", "extract"]
    summary, _, facts, again, degraded, dead, replayed = shown
    assert facts["result"]["output"]["email"] == "owner@mill.example"
    assert again["result"] == summary["result"]
    assert (degraded["state"], degraded["result"]["made_by"]["kind"]) == ("degraded", "fallback")
    assert degraded["result"]["failure"]["last_error"] == "connect_failed"
    assert dead["error"]["reason"] == "attempts_exhausted"
    assert [call["target"] for call in dead["calls"]] == ["offline/any-model"] * 2
    assert (replayed["job_id"], replayed["result"]["run"]) == (dead["job_id"], 2)
    for one in (*shown[:3], replayed):
        result = one["result"]
        assert (one["simulated"], one["state"], result["quality"]) == (True, "succeeded", "ok")
        assert result["made_by"]["model"] and result["made_by"]["prompt"]
        assert Decimal(one["cost_usd"]) > 0 and one["latency_s"] > 0 and result["usage"]["input_tokens"] > 0
    assert around.processes() == []
    assert around.files() == []


def test_people_are_told_who_answered(around: Surroundings, note: Path) -> None:
    """That it was a simulator, that nothing was spent, and how to use a real model."""
    done = around.run(note, env={"COLUMNS": "120"})
    assert done.returncode == 0, done.stderr
    for told in ("A simulator on this machine answered", "nothing was spent", "OPENAI_API_KEY=", "--base-url"):
        assert told in done.stdout
    for state in ("succeeded", "degraded", "deduplicated", "dead", "replayed"):
        assert state in done.stdout


def test_the_samples_are_shown_when_no_file_is_named(around: Surroundings) -> None:
    """Each of them goes through all three tasks and gets the label that it was written for."""
    shown = objects(around.run("--json"))
    labels = {one["source"]: one["result"]["output"]["labels"] for one in shown if one["task"] == "classify"}
    assert labels == {
        "article.txt": ["article"],
        "incident.txt": ["incident"],
        "invoice.txt": ["invoice"],
        "mail-billing.txt": ["billing"],
        "mail-bug.txt": ["bug"],
        "mail-cancel.txt": ["cancellation"],
        "mail-praise.txt": ["praise"],
    }


def test_two_files_of_one_name_are_two_texts(around: Surroundings, tmp_path: Path) -> None:
    """A key is not made of the name."""
    files = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        files.append(tmp_path / folder / "note.txt")
        files[-1].write_text(f"{NOTE} It is the mill of {folder}.")
    shown = objects(around.run("--json", *files))
    assert len({one["job_id"] for one in shown if one["scene"] == "work"}) == 6


UNUSABLE: dict[str, Callable[[Path], object]] = {
    "No such file": lambda file: file,
    "is empty": lambda file: file.write_text(" \n"),
    "is not UTF-8": lambda file: file.write_bytes(b"\xff\xfe\x00\x01"),
    "more than 262144 bytes": lambda file: file.write_text("word " * 60_000),
    "Is a directory": lambda file: file.mkdir(),
}


@pytest.mark.parametrize("why", UNUSABLE)
def test_a_file_that_is_no_text_is_named_before_anything_starts(
    around: Surroundings, note: Path, tmp_path: Path, why: str
) -> None:
    """In one line, with exit code 2."""
    file = tmp_path / "unusable.txt"
    UNUSABLE[why](file)
    done = around.run(note, file)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"penstock demo: {file}: ") and why in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--base-url", "http://127.0.0.1:1/v1"], "--model"),
        (["--model", "any"], "--base-url"),
        (["--base-url", "http://127.0.0.1:1/v1", "--model", "any", "--api-key-env", "NOT_SET"], "NOT_SET"),
    ],
)
def test_wishes_that_do_not_go_together_are_refused(around: Surroundings, arguments: Sequence[str], told: str) -> None:
    """With exit code 2, saying which."""
    done = around.run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr


def test_a_server_of_ones_own_answers_and_gets_no_key_but_its_own(around: Surroundings, note: Path) -> None:
    """The key for OpenAI is not sent to it; the one that is named for it is."""
    with SimulatorProcess(api_key="sk-of-this-server") as server:
        wishes: list[str | Path] = ["--json", "--base-url", server.base_url, "--model", "local-model", note]
        keys = {"OPENAI_API_KEY": "sk-of-this-server", "MY_KEY": "sk-of-this-server"}
        without = around.run(*wishes, env=keys)
        assert without.returncode == 1
        told = [json.loads(line) for line in without.stdout.splitlines()]
        assert {one["result"]["failure"]["code"] for one in told} == {"auth_failed"}
        assert not any(call.billed for call in server.calls())
        shown = objects(around.run(*wishes, "--api-key-env", "MY_KEY", env=keys))
    assert {one["simulated"] for one in shown} == {False}
    assert shown[0]["result"]["made_by"]["name"] == "server/local-model"
    assert shown[0]["cost_usd"] is None  # nobody knows what it costs


def test_a_redis_that_is_in_use_is_left_alone(around: Surroundings, note: Path, redis_url: str) -> None:
    """Its jobs would stay there, and workers of that Redis would take them."""
    objects(around.run("--json", note, env={"REDIS_URL": redis_url, "PENSTOCK_REDIS__URL": redis_url}))
    with Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0


@linux_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_behind_however_it_ends(
    around: Surroundings, processes: Processes, number: signal.Signals
) -> None:
    """Interrupted or killed while all is running: no process, no file."""
    demo = processes.python("-m", "penstock", "demo", env={**around.env, "OPENAI_API_KEY": None}, cwd=around.folder)
    wait_until(lambda: len(around.processes()) >= ALL_RUNNING, 30, what="Redis, simulator and workers running")
    demo.send_signal(number)
    code = demo.wait(20)
    assert code == (130 if number is signal.SIGINT else -number)
    wait_until(lambda: around.processes() == [], 20, what="all processes gone")
    assert around.files() == []
