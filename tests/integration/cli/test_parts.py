"""Subcommands of other parts: found by entry points, and missed with the line that installs them."""

import os
import signal
import sys
from pathlib import Path

import pytest

from penstock import Producer, Summarize
from penstock.cli import catalog
from penstock_store.command import ENTRY_POINTS
from tests.integration.cli.conftest import Command, environment
from tests.support.processes import Processes
from tests.support.wait import until

ROUTE = """
[providers.openai]
kind = "openai"
base_url = "{url}/v1"
allow_private = true
[routes.default]
targets = ["openai/gpt-4o-mini"]
"""


def test_each_part_brings_what_the_catalog_says() -> None:
    """Each listed subcommand that is not ours loads, as a typer application."""
    import typer

    elsewhere = [name for name, entry in catalog.LISTED.items() if entry.module is None]
    assert set(elsewhere) == {"worker", "prompts", "simulator", "redis", "demo"}
    assert all(isinstance(catalog.load(name), typer.Typer) for name in elsewhere)


@pytest.mark.parametrize(
    ("name", "library", "extra"),
    [
        ("worker", "penstock_worker", "worker"),
        ("prompts", "penstock_worker", "worker"),
        ("worker", "arq", "worker"),
        ("simulator", "penstock_simulator", "simulator"),
        ("simulator", "httptools", "simulator"),
        ("demo", "penstock_simulator", "simulator"),
    ],
)
def test_a_part_that_is_not_installed_says_what_to_install(
    command: Command, tmp_path: Path, name: str, library: str, extra: str
) -> None:
    """One line, exit code 3: for want of the part itself, or of a library that it needs."""
    (tmp_path / f"{library}.py").write_text(f"raise ModuleNotFoundError('no', name={library!r})")
    ended = command(name, PYTHONPATH=str(tmp_path))
    assert (ended.code, ended.out) == (3, "")
    assert ended.err == f"penstock: `penstock {name}` is not installed here. Run: pip install 'penstock[{extra}]'\n"


def test_another_package_may_bring_a_subcommand(command: Command, tmp_path: Path) -> None:
    """It is listed, and run with the options before it."""
    about = tmp_path / "greeter-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: greeter\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{ENTRY_POINTS}]\ngreet = greeter:app\n")
    (tmp_path / "greeter.py").write_text(
        "import typer\napp = typer.Typer()\n@app.command()\n"
        "def greet(ctx: typer.Context, name: str):\n    print(ctx.obj.tenant, 'greets', name)\n"
    )
    assert "greet  " in command("--help", PYTHONPATH=str(tmp_path)).out
    assert command("--tenant", "acme", "greet", "you", PYTHONPATH=str(tmp_path)).out == "acme greets you\n"
    assert "penstock greet" in command("gret", PYTHONPATH=str(tmp_path)).err


@pytest.mark.parametrize(
    ("toml", "key"),
    [
        ("[worker]\nconcurency = 5", "worker.concurency"),
        ("[worker]\nlease_s = 2\nheartbeat_s = 3", "lease_s (2) must be at least three times heartbeat_s (3)"),
        ("[worker]\nlanes = { fast = 1 }", "worker.lanes.fast"),
        ("[unknown]\nx = 1", "unknown"),
        ('[routes.summarize]\ntargets = ["nobody/x"]', "routes.summarize.targets"),
        ("[routes.sumarize]\ntargets = []", "routes.sumarize"),
    ],
)
def test_a_wrong_worker_configuration_ends_with_3(command: Command, tmp_path: Path, toml: str, key: str) -> None:
    """Before anything is claimed, and by --check alone."""
    (tmp_path / "worker.toml").write_text(toml)
    for arguments in (["worker", "--check", "--config", "worker.toml"], ["--config", "worker.toml", "worker"]):
        ended = command(*arguments)
        assert (ended.code, ended.out) == (3, "")
        assert key in ended.err


def test_check_of_a_sound_configuration(command: Command, tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").write_text(ROUTE.format(url="http://127.0.0.1:1"))
    assert command("worker", "--check").out.endswith("classify, extract, summarize\n")
    assert command("worker", "--check", "--concurrency", "0").code == 3


def test_a_worker_without_redis_ends_with_4(command: Command, tmp_path: Path) -> None:
    """Nothing was there to begin with; later it would wait for it."""
    (tmp_path / "penstock.toml").write_text(ROUTE.format(url="http://127.0.0.1:1"))
    assert command("worker", REDIS_URL="redis://127.0.0.1:1/0").code == 4


async def test_from_enqueue_to_answer_by_the_command_alone(
    command: Command, producer: Producer, processes: Processes, redis_url: str, tmp_path: Path
) -> None:
    """A simulator, a worker in burst mode, and the result, each by the command; the worker drains on SIGTERM."""
    env = environment(redis_url, tmp_path)
    simulator = processes.python("-m", "penstock", "simulator", "--latency", "10ms", env=env, cwd=tmp_path)
    ready = await simulator.event("simulator_ready")
    (tmp_path / "penstock.toml").write_text(ROUTE.format(url=ready["url"]))
    (tmp_path / "mill.txt").write_text(
        "The mill stands at the river. Its wheel was built in 1820. Grain is ground there."
    )
    job_id = command("enqueue", "summarize", "mill.txt", "--max-words", "12").out.strip()
    assert command("worker", "--burst").code == 0
    result = command("result", job_id)
    assert (result.code, result.out != "") == (0, True)
    assert "openai/gpt-4o-mini" in result.err
    (spent,) = command("costs", "--by", "model", "--json").objects
    assert (spent["model"], spent["calls"]) == ("openai/gpt-4o-mini", 1)
    assert spent["cost_usd"] == command("result", job_id, "--json").objects[0]["cost_usd"]

    worker = processes.python("-m", "penstock", "worker", env=env, cwd=tmp_path)
    job = await producer.enqueue(Summarize(text="One more text, for the worker that stays."))
    assert (await job.result(timeout_s=30)).state == "succeeded"
    worker.terminate()
    assert await worker.ended(30) == 0
    simulator.send_signal(signal.SIGINT)
    assert await simulator.ended() == 0


async def test_a_redis_for_development(processes: Processes, redis_url: str, tmp_path: Path) -> None:
    """It says where it is, does not load a stranger's data, and ends in order, without a file."""
    (tmp_path / "dump.rdb").write_bytes(b"REDIS9999 of someone else")
    from penstock_store.server import free_port

    env = environment(redis_url, tmp_path, {"PATH": os.path.dirname(sys.executable)})
    redis = processes.python("-m", "penstock", "redis", "--port", str(free_port()), env=env, cwd=tmp_path)
    url = (await redis.line(r" at (redis://\S+)"))[1]
    async with Producer(url) as producer:
        await until(lambda: producer.enqueue(Summarize(text="Words.")))
    redis.terminate()
    assert await redis.ended() == 0
    assert os.listdir(tmp_path) == ["dump.rdb"]
