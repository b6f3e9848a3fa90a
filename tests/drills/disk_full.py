"""Redis' disk is full for a while: no call is begun, nobody ends, and what was accepted is done when it has room."""

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from penstock import Producer, Summarize, UnavailableError
from tests.drills import kit
from tests.drills.stage import Stage, stage
from tests.drills.verdict import Verdict
from tests.support.worker_processes import worker_argv, write_config

_DISK = "3m"
_FILLER = "filler"


def main(argv: Sequence[str]) -> int:
    return kit.run("disk_full", argv, disk_full)


def disk_full(verdict: Verdict, options: kit.Options) -> None:
    if not _may_mount():
        verdict.skip("a small disk cannot be mounted here: it takes root, and the right to mount")
        return
    full_s = options.pick(3.0, 20.0)
    with ExitStack() as stack:
        here = stack.enter_context(stage(_argv, workers=3, disk=_small_disk))
        for child in here.workers.started:
            child.wait_event("worker_started", timeout_s=30)
        ids = kit.enqueue(here.server.url, 100)
        here.simulator.until(lambda stats: stats.in_flight >= 25)
        _fill(here)
        accepted, refused_s = asyncio.run(_until_refused(here.server.url))
        calls = here.simulator.stats().requests
        time.sleep(full_s)  # how long the disk is full is the drill's own choice
        begun = here.simulator.stats().requests - calls
        (here.folder / "redis" / _FILLER).unlink()
        room_at = time.monotonic()
        here.simulator.until(lambda stats: stats.requests > calls + begun, timeout_s=30)
        resumed_s = time.monotonic() - room_at
        kit.wait_quiet(here, 120)
        here.workers.stop()
        ids += accepted
        verdict.exactly("ended as succeeded", kit.states(here, ids)["succeeded"], len(ids))
        verdict.at_most("s that a refusal took", round(refused_s, 2), 1.0)
        verdict.exactly("calls begun while writes were refused", begun, 0)
        verdict.at_most("s from room to the next call", round(resumed_s, 2), 5.0)
        verdict.exactly("workers that ended", len(here.workers.ends), 0)
        verdict.at_most("calls beyond one per job", kit.extra_calls(here), 0)
        verdict.at_most("attempts charged", kit.charged(here, ids), 0)
        here.check(verdict, ids)


def _argv(folder: Path, redis_url: str, base_url: str) -> list[str]:
    return worker_argv(write_config(folder, redis_url, base_url))


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


async def _until_refused(url: str) -> tuple[list[str], float]:
    """Enqueue until Redis takes no more; what was accepted, and how long the refusal took."""
    accepted: list[str] = []
    async with Producer.connect(url, tenant="drill") as producer:
        while True:
            began = time.monotonic()
            try:
                accepted.append((await producer.enqueue(Summarize(text=kit.TEXT.format(len(accepted))))).id)
            except UnavailableError:
                return accepted, time.monotonic() - began
