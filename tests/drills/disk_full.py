"""Redis' disk is full for a while: no call is begun, nobody ends, and what was accepted is done when it has room."""

import asyncio
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import redis

from penstock import Producer, Summarize, UnavailableError
from penstock_store.server import RedisServer, RedisServerError
from tests.drills import kit
from tests.drills.stage import Stage, stage
from tests.drills.verdict import Verdict
from tests.support.worker_processes import worker_argv, write_config

_DISK = "3m"
_FILLER = "filler"
_RESTART_AFTER_S = 0.5


def main(argv: Sequence[str]) -> int:
    return kit.run("disk_full", argv, disk_full)


def disk_full(verdict: Verdict, options: kit.Options) -> None:
    if not _may_mount():
        verdict.skip("a small disk cannot be mounted here: it takes root, and the right to mount")
        return
    for fsync in ("everysec", "always"):
        full(verdict, fsync, options.pick(3.0, 20.0))


def full(verdict: Verdict, fsync: str, full_s: float) -> None:
    """With ``always`` the server ends when it cannot write; its supervisor starts it again, for as long as it takes."""
    with ExitStack() as stack:
        here = stack.enter_context(stage(_argv, workers=3, disk=_small_disk))
        here.workers.wait_started(3)
        for child in here.workers.started:
            child.wait_event("worker_started", timeout_s=30)
        with here.redis() as client:
            client.config_set("appendfsync", fsync)
        deaths = stack.enter_context(_kept_alive(here.server, fsync))
        ids = kit.enqueue(here.server.url, 100)
        here.simulator.until(lambda stats: stats.in_flight >= 25, timeout_s=60)
        _fill(here)
        accepted, refused_s, key = asyncio.run(_until_refused(here.server.url))
        calls = here.simulator.stats().requests
        time.sleep(full_s)  # how long the disk is full is the drill's own choice
        begun = here.simulator.stats().requests - calls
        (here.folder / "redis" / _FILLER).unlink()
        room_at = time.monotonic()
        here.simulator.until(lambda stats: stats.requests > calls + begun, timeout_s=60)
        resumed_s = time.monotonic() - room_at
        accepted.append(asyncio.run(_again(here.server.url, key)))
        kit.wait_quiet(here, 120)
        here.workers.stop()
        ids += accepted
        verdict.exactly(f"{fsync}: ended as succeeded", kit.states(here, ids)["succeeded"], len(ids))
        verdict.at_most(f"{fsync}: s that a refusal took", round(refused_s, 2), 1.0, speed=True)
        verdict.exactly(f"{fsync}: calls begun while writes were refused", begun, 0)
        verdict.at_most(f"{fsync}: s from room to the next call", round(resumed_s, 2), 5.0, speed=True)
        verdict.exactly(f"{fsync}: workers that ended", len(here.workers.ends), 0)
        most = 30 if full_s > kit.LEASE_S - 1 else 0  # of calls whose leases ran out meanwhile, those open then
        verdict.at_most(f"{fsync}: calls beyond one per job", kit.extra_calls(here), most)
        verdict.at_most(f"{fsync}: attempts charged", kit.charged(here, ids), 0)
        if fsync == "always":
            verdict.at_least("always: times that the server ended and was started again", len(deaths), 1)
        here.check(verdict, ids)


@contextmanager
def _kept_alive(server: RedisServer, fsync: str) -> Iterator[list[float]]:
    """Start the server again half a second after it has ended, while the block runs; the moments of its ends.

    As its configuration would say, *fsync* holds from its start on.
    """
    ends: list[float] = []
    done = threading.Event()

    def keep() -> None:
        while not done.wait(_RESTART_AFTER_S):
            if server.running:
                continue
            ends.append(time.monotonic())
            with suppress(RedisServerError, redis.RedisError):  # there is no room yet
                server.start()
                with redis.Redis.from_url(server.url) as client:
                    client.config_set("appendfsync", fsync)

    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    try:
        yield ends
    finally:
        done.set()
        thread.join()


def _argv(folder: Path, redis_url: str, base_url: str) -> list[str]:
    return worker_argv(write_config(folder, redis_url, base_url, budgets=kit.BUDGETS))


def _may_mount() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("mount") is not None and _mounts_at_all()


def _mounts_at_all() -> bool:
    with tempfile.TemporaryDirectory(prefix="penstock-drill-") as folder:
        try:
            with _small_disk(Path(folder)):
                return True
        except subprocess.CalledProcessError:
            return False


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    """A disk of a few MiB in place of *folder* while the block runs."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "tmpfs", folder], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True, capture_output=True)


def _fill(here: Stage) -> None:
    """Write until the disk is full."""
    with suppress(OSError), (here.folder / "redis" / _FILLER).open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass


async def _until_refused(url: str) -> tuple[list[str], float, str]:
    """Enqueue until Redis takes no more; what was accepted, how long the refusal took, and the refused job's key."""
    accepted: list[str] = []
    async with Producer.connect(url, tenant="drill") as producer:
        while True:
            began, key = time.monotonic(), f"key-{len(accepted)}"
            try:
                job = await producer.enqueue(Summarize(text=kit.TEXT.format(key)), idempotency_key=key)
                accepted.append(job.id)
            except UnavailableError:
                return accepted, time.monotonic() - began, key


async def _again(url: str, key: str) -> str:
    """Enqueue what was refused, which a server that ended in the midst of it may have; its id."""
    async with Producer.connect(url, tenant="drill") as producer:
        return (await producer.enqueue(Summarize(text=kit.TEXT.format(key)), idempotency_key=key)).id
