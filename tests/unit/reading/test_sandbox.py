"""The sandbox: real child processes, killed, limited and orphaned."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from penstock_worker.attempt.reading.sandbox import Sandbox, SandboxDiedError, SandboxTimeoutError
from penstock_worker.attempt.reading.wire import Rules, request

RULES = Rules(max_bytes=2**20, max_depth=32, prose=False, repair=True)
OBJECT = {"type": "object"}
HALVES = {"items": {"enum": [number + 0.5 for number in range(1_000)]}}
"""Comparing fractions exactly is slow: this takes minutes on a hundred thousand numbers that are in the list."""


def ask(text: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return request(text, schema or OBJECT, RULES)


SLOW = ask(str([999.5] * 100_000), HALVES)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    sandbox = Sandbox(size=2, cpu_s=0.5, wall_s=60.0)
    yield sandbox
    await sandbox.aclose()
    assert sandbox.pids == []


def alive(pid: int) -> bool:
    """Whether the process runs; one that is dead and not yet reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_gone(pid: int, within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.01)


async def test_children_start_lazily_and_are_used_again(sandbox: Sandbox) -> None:
    """None before the first request, one for requests in turn, at most two for many at once."""
    assert sandbox.pids == []
    for _ in range(3):
        assert await sandbox.call(ask("{}")) == {"value": {}, "repairs": []}
    assert len(sandbox.pids) == 1
    await asyncio.gather(*(sandbox.call(ask("{}")) for _ in range(10)))
    assert len(sandbox.pids) == 2


async def test_replies_belong_to_their_requests(sandbox: Sandbox) -> None:
    """Fifty requests at once each get their own answer."""
    replies = await asyncio.gather(*(sandbox.call(ask(f'{{"n": {n}}}')) for n in range(50)))
    assert [reply["value"]["n"] for reply in replies] == list(range(50))


async def test_a_request_that_takes_too_long_is_killed(sandbox: Sandbox) -> None:
    """Past its processor time the child is gone, and the next request has a new one."""
    await sandbox.call(ask("{}"))
    (before,) = sandbox.pids
    with pytest.raises(SandboxTimeoutError):
        await sandbox.call(SLOW)
    assert not alive(before)
    assert (await sandbox.call(ask("{}")))["value"] == {}
    assert before not in sandbox.pids


async def test_processor_time_is_counted_for_each_request() -> None:
    """Many requests that together take longer than one may do not end the child."""
    sandbox = Sandbox(size=1, cpu_s=1.0)
    large = ask(str([999.5] * 300), HALVES)
    before = None
    for _ in range(8):
        await sandbox.call(large)
        before = before or sandbox.pids
    assert sandbox.pids == before
    await sandbox.aclose()


async def test_a_stopped_child_is_killed_by_the_clock() -> None:
    """A child that takes no processor time at all is bounded by the wall clock."""
    sandbox = Sandbox(size=1, wall_s=0.3)
    await sandbox.call(ask("{}"))
    (pid,) = sandbox.pids
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(SandboxTimeoutError):
        await sandbox.call(ask("{}"))
    assert not alive(pid)
    await sandbox.aclose()


async def test_a_child_killed_while_idle_costs_no_request(sandbox: Sandbox) -> None:
    """What happened to an idle child is not blamed on the next request."""
    await sandbox.call(ask("{}"))
    (pid,) = sandbox.pids
    os.kill(pid, signal.SIGKILL)
    assert (await sandbox.call(ask("{}")))["value"] == {}


async def test_a_request_that_needs_too_much_memory_ends_its_child_only() -> None:
    """Memory is limited: the child dies, and the next request is served."""
    sandbox = Sandbox(size=1, cpu_s=30.0, wall_s=60.0, memory_bytes=400 * 2**20)
    rules = Rules(max_bytes=2**25, max_depth=32, prose=False, repair=False)
    with pytest.raises(SandboxDiedError):
        await sandbox.call(request("[" + "[]," * 8_000_000 + "[]]", OBJECT, rules))
    assert (await sandbox.call(ask("{}")))["value"] == {}
    await sandbox.aclose()


async def test_a_child_that_fails_is_replaced(sandbox: Sandbox) -> None:
    """A request that makes the child raise ends that child, and nothing else."""
    with pytest.raises(SandboxDiedError):
        await sandbox.call({"text": "{}", "schema": OBJECT, "rules": None})
    assert (await sandbox.call(ask("{}")))["value"] == {}


async def test_a_cancelled_request_takes_its_child_along(sandbox: Sandbox) -> None:
    """Nobody waits for the rest of a request whose caller has gone."""
    await sandbox.call(ask("{}"))
    (pid,) = sandbox.pids
    task = asyncio.create_task(sandbox.call(SLOW))
    await asyncio.sleep(0)  # let it write
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive(pid)


async def test_closing_twice_is_fine_and_nothing_starts_afterwards(sandbox: Sandbox) -> None:
    """After closing there are no children, and no new ones."""
    await sandbox.call(ask("{}"))
    (pid,) = sandbox.pids
    await sandbox.aclose()
    await sandbox.aclose()
    assert not alive(pid)
    with pytest.raises(RuntimeError):
        await sandbox.call(ask("{}"))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_child_has_no_secrets_no_files_and_limits(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its environment is empty, its only files are the pipes, and it can open no others."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    await sandbox.call(ask("{}"))
    (pid,) = sandbox.pids
    process = Path(f"/proc/{pid}")
    assert (process / "environ").read_bytes() == b""
    assert b"sk-canary" not in (process / "cmdline").read_bytes()
    assert sorted(os.listdir(process / "fd")) == ["0", "1", "2"]
    limits = {line[:26].strip(): line[26:].split()[0] for line in (process / "limits").read_text().splitlines()}
    assert limits["Max open files"] == "3"
    assert limits["Max core file size"] == "0"
    assert limits["Max file size"] == "0"
    assert int(limits["Max address space"]) <= 2**30
    assert os.getpgid(pid) != os.getpgid(0)


PARENT = """
    import asyncio, os, signal, sys
    from penstock_worker.attempt.reading.sandbox import Sandbox
    from penstock_worker.attempt.reading.wire import Rules, request

    async def main() -> None:
        rules = Rules(max_bytes=2**20, max_depth=32, prose=False, repair=True)
        sandbox = Sandbox(cpu_s=30.0, wall_s=600.0)
        await sandbox.call(request("{}", {"type": "object"}, rules))
        busy = request(str([999.5] * 100_000), {"items": {"enum": [n + 0.5 for n in range(1_000)]}}, rules)
        task = asyncio.create_task(sandbox.call(busy)) if sys.argv[1] == "busy" else None
        print(*sandbox.pids, flush=True)
        await asyncio.Event().wait()

    asyncio.run(main())
"""


@pytest.mark.parametrize("work", ["idle", "busy"])
def test_children_die_with_a_parent_that_is_killed(work: str) -> None:
    """SIGKILL of the worker leaves no child behind, not even one in the middle of its work."""
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(PARENT), work], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert pids
    assert all(alive(pid) for pid in pids)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for pid in pids:
        wait_until_gone(pid)


def test_the_worker_does_not_load_the_slow_libraries() -> None:
    """jsonschema and json-repair live in the sandbox alone."""
    code = (
        "import sys, penstock_worker.attempt.reading\n"
        "print([m for m in ('jsonschema', 'json_repair', 'referencing') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
