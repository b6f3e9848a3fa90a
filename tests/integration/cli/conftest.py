"""The command in processes of its own, and dead letters made by the scripts that workers use."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from penstock import Producer, Summarize
from penstock_worker.engine.lease import Lease
from tests.support.jobs import HandWorker, hand_worker

USAGE = {"input_tokens": 100, "output_tokens": 20}


@dataclass
class Ended:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[Any]:
        """Standard output as JSON Lines."""
        return [json.loads(line) for line in self.out.splitlines()]


Command = Callable[..., Ended]


def environment(redis_url: str, folder: Path, changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """What the command finds: this Redis, and nothing else of the machine's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "REDIS_"))}
    merged = {
        **kept,
        "REDIS_URL": redis_url,
        "PENSTOCK_REDIS__ALLOW_VOLATILE": "true",
        "HOME": str(folder),
        **(changes or {}),
    }
    return {name: value for name, value in merged.items() if value is not None}


@pytest.fixture
def command(redis_url: str, tmp_path: Path) -> Command:
    """Runs `penstock` with arguments, standard input and changes of the environment, in an empty folder."""

    def run(*arguments: str, stdin: str | bytes = b"", **changes: str | None) -> Ended:
        done = subprocess.run(
            [sys.executable, "-m", "penstock", *arguments],
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            cwd=tmp_path,
            env=environment(redis_url, tmp_path, changes),
            timeout=60,
        )
        ended = Ended(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert "Traceback" not in ended.err, ended.err
        return ended

    return run


@pytest.fixture
async def producer(redis_url: str) -> AsyncIterator[Producer]:
    """The door of the command's own tenant."""
    async with Producer.connect(redis_url) as opened:
        yield opened


@pytest.fixture
async def other(redis_url: str) -> AsyncIterator[Producer]:
    """The door of another tenant."""
    async with Producer.connect(redis_url, tenant="rival") as opened:
        yield opened


@pytest.fixture
async def worker(redis_url: str) -> AsyncIterator[HandWorker]:
    """Claims and ends jobs as the test says."""
    async with hand_worker(redis_url) as opened:
        yield opened


async def called(
    worker: HandWorker,
    lease: Lease,
    call_id: str = "1.1.1",
    *,
    target: str = "openai/gpt-4o-mini",
    kind: str = "failed",
    cost: int | None = 0,
    uncertain: int = 0,
    held: int | None = 5_000_000,
    task: str = "summarize",
    price: str | None = None,
    budgets: str | None = None,
    at_ms: int = 1_700_000_000_000,
) -> None:
    """A provider call as a worker writes it down: its intent, its end, and its line in the ledger."""
    intent = {"stage": "calling", "attempt": 1, "target": target, "prompt": f"{task}@1", "purpose": "ask"}
    await worker.store.intend(lease, call_id, {**intent, "held_nanousd": held, "at_ms": at_ms}, 30)
    end: dict[str, Any] = {"took_ms": 1234, "usage": USAGE, "cost_nanousd": cost, "uncertain_nanousd": uncertain}
    if kind == "failed":
        end |= {"error": "throttled", "status": 429}
    ledger = {"tenant": lease.tenant, "task": task, "target": target, "prompt": f"{task}@1", **USAGE}
    more = {"price": price, "budgets": budgets, "sent_at_ms": at_ms}
    ledger = {"estimated": 0, **ledger, **{name: value for name, value in more.items() if value is not None}}
    await worker.store.settle(lease, call_id, kind, end, cost_nanousd=cost, uncertain_nanousd=uncertain, ledger=ledger)


async def dead_letters(
    producer: Producer, worker: HandWorker, count: int, code: str = "attempts_exhausted"
) -> list[str]:
    """So many jobs that died, in the order of their ends."""
    await producer.enqueue_many([Summarize(text=f"Text {n}.") for n in range(count)])
    ids = []
    while leases := await worker.claim(64):
        for lease in leases:
            await worker.bury(lease, code)
            ids.append(lease.job_id)
    assert len(ids) == count
    return ids
