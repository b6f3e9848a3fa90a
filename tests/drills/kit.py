"""What every drill of whole workers does: enqueue, wait until nothing is left to do, look at calls and attempts."""

import asyncio
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from penstock import JobOptions, Producer, Summarize
from penstock_simulator.process import SimulatorProcess
from tests.drills.stage import Stage, stage
from tests.drills.verdict import Verdict
from tests.support.wait import wait_until
from tests.support.worker_processes import worker_argv, write_config

LEASE_S, HEARTBEAT_S = 10.0, 3.5
"""Within it every worker has renewed its leases."""
SLACK_S = 2.0
"""From the end of a dead worker's lease to the next start of its jobs."""
BUDGETS = {"global": {"day_usd": "1000"}, "tenant:*": {"hour_usd": "1000"}}
"""Never spent, so that whatever a drill does is done to reservations too."""
TEXT = "Text {}. The mill stands by the river, and its wheel turns day and night. The miller sleeps well."


@dataclass(frozen=True)
class Options:
    """How a drill is run."""

    short: bool
    as_json: bool

    @property
    def lease(self) -> dict[str, Any]:
        """A worker's leases: those that it has by default, or shorter ones."""
        return {"lease_s": 4.0, "heartbeat_s": 1.2} if self.short else {"lease_s": 10.0, "heartbeat_s": 3.0}

    def pick(self, short: Any, whole: Any) -> Any:
        """One of two sizes."""
        return short if self.short else whole


def run(name: str, argv: Sequence[str], body: Callable[[Verdict, Options], None]) -> int:
    """Run one drill and print what it found; 0 when it has passed."""
    options = Options(short="--long" not in argv, as_json="--json" in argv)
    verdict = Verdict(name)
    try:
        body(verdict, options)
    except Exception as error:
        traceback.print_exc()
        verdict.none_of("errors that kept it from its end", [f"{type(error).__name__}: {error}".split("\n", 1)[0]])
    return verdict.report(as_json=options.as_json, busy="--busy" in argv)


def worker_stage(stack: ExitStack, *, latency: str = "uniform:500ms..1500ms", count: int = 3, **options: Any) -> Stage:
    """A stage of *count* workers with ten slots each, all of which have started. *options* are the workers'."""

    def argv(folder: Path, redis_url: str, base_url: str) -> list[str]:
        return worker_argv(write_config(folder, redis_url, base_url, **{"budgets": BUDGETS, **options}))

    here = stack.enter_context(stage(argv, workers=count, latency=latency))
    here.workers.wait_started(count)
    for child in here.workers.started:
        child.wait_event("worker_started", timeout_s=30)
    return here


def enqueue(url: str, count: int, *, keyed: bool = False, **options: Any) -> list[str]:
    """Enqueue so many summaries; their ids. *keyed*: under the keys ``key-0`` and so on."""

    async def go() -> list[str]:
        async with Producer.connect(url, tenant="drill") as producer:
            texts = [Summarize(text=TEXT.format(n)) for n in range(count)]
            keys = [f"key-{n}" for n in range(count)] if keyed else None
            jobs = await producer.enqueue_many(texts, idempotency_keys=keys, **cast("JobOptions", options))
            return [job.id for job in jobs]

    return asyncio.run(go())


@contextmanager
def fed(here: Stage, least: int) -> Iterator[list[str]]:
    """Keep at least so many jobs open while the block runs, however slow the machine; the ids of all of them."""
    ids = enqueue(here.server.url, least)
    done = threading.Event()

    def feed() -> None:
        with here.redis() as client:
            while not done.wait(0.05):
                if int(cast("str", client.hget("penstock:counts", "open"))) < least:
                    ids.extend(enqueue(here.server.url, least // 2))

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    try:
        yield ids
    finally:
        done.set()
        thread.join()


def wait_quiet(here: Stage, timeout_s: float) -> float:
    """Wait until no job is open; how long that took, in seconds."""
    began = time.monotonic()
    with here.redis() as client:
        wait_until(lambda: client.hget("penstock:counts", "open") in (None, "0"), timeout_s, what="no open jobs")
    return time.monotonic() - began


def calls_by_job(here: Stage, *others: SimulatorProcess) -> Counter[str]:
    """How often the providers were asked, by their own accounts."""
    calls = [call for simulator in (here.simulator, *others) for call in simulator.calls()]
    return Counter((call.caller_id or "").split(":")[0] for call in calls)


def extra_calls(here: Stage, *others: SimulatorProcess) -> int:
    """Calls beyond one for each job."""
    return sum(times - 1 for times in calls_by_job(here, *others).values())


def lost_ends(here: Stage) -> int:
    """Calls whose end nobody told, by the ledger: those that were open when a worker died."""
    with here.redis() as client:
        entries = cast("list[tuple[str, dict[str, str]]]", client.xrange("penstock:ledger"))
        return sum(row["kind"] == "unknown" for _, row in entries)


def charged(here: Stage, ids: Sequence[str]) -> int:
    """Attempts charged beyond the first, over all jobs."""
    with here.redis() as client:
        attempts = [int(cast("str", client.hget(f"penstock:job:{job_id}", "attempt"))) for job_id in ids]
        return sum(max(0, attempt - 1) for attempt in attempts)


def states(here: Stage, ids: Sequence[str]) -> Counter[str]:
    """How the jobs ended."""
    with here.redis() as client:
        return Counter(str(client.hget(f"penstock:job:{job_id}", "state")) for job_id in ids)


def takeovers(here: Stage, ids: Sequence[str]) -> int:
    """How often a job was started while its record said that it ran: its holder was taken for dead."""
    count = 0
    with here.redis() as client:
        for job_id in ids:
            events = cast("list[tuple[str, dict[str, str]]]", client.xrange(f"penstock:events:{job_id}"))
            kinds = [row["type"] for _, row in events if row["type"] in ("queued", "scheduled", "running")]
            count += sum(a == b == "running" for a, b in pairwise(kinds))
    return count
