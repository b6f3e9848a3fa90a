"""The supervisor keeps its slots filled, and counts every end."""

import random
import signal
import sys
from pathlib import Path

from penstock_store.server import RedisServer
from tests.drills.stage import Stage, stage
from tests.drills.supervisor import supervised
from tests.support.processes import is_alive
from tests.support.wait import wait_until

WAITER = [sys.executable, "-c", "import signal; print('ready', flush=True); signal.pause()"]


def test_a_killed_worker_is_started_again() -> None:
    """In the same slot, with a new process, and the end is on record."""
    with supervised(WAITER, count=2, restart_after_s=0.01) as workers:
        workers.wait_started(2)
        victim = workers.kill_random(random.Random(1))
        workers.wait_started(3)
        (end,) = workers.ends
        assert (end.pid, end.code) == (victim.pid, -signal.SIGKILL)
        wait_until(lambda: len(workers.alive) == 2)
        assert victim.pid not in [child.pid for child in workers.alive]


def test_a_worker_that_ends_by_itself_is_started_again_and_again() -> None:
    """A crash loop is seen in the list of ends."""
    with supervised([sys.executable, "-c", "raise SystemExit(3)"], count=1, restart_after_s=0.01) as workers:
        workers.wait_started(3)
    assert len(workers.ends) >= 2
    assert {end.code for end in workers.ends} == {3}


def test_stop_ends_all_and_restarts_none() -> None:
    """In order, a paused one too; these ends are not counted as losses."""
    with supervised(WAITER, count=3, restart_after_s=0.01) as workers:
        workers.wait_started(3)
        for child in workers.started:
            child.wait_line("ready")
        workers.alive[0].pause()
        assert workers.stop() == [-signal.SIGTERM] * 3
    assert workers.ends == []
    assert len(workers.started) == 3
    assert not any(is_alive(child.pid) for child in workers.started)


def test_a_stage_has_a_server_a_proxy_a_provider_and_workers() -> None:
    """Everything runs inside the block, with the workers behind the proxy, and nothing after it."""
    code = (
        "import redis, signal, sys; client = redis.Redis.from_url(sys.argv[1]);"
        "client.set('seen', sys.argv[2]); signal.pause()"
    )

    def worker(folder: Path, redis_url: str, provider_url: str) -> list[str]:
        assert folder.is_dir()
        return [sys.executable, "-c", code, redis_url, provider_url]

    with stage(worker, workers=1) as here:
        with here.redis() as client:
            assert wait_until(lambda: client.get("seen")) == here.simulator.base_url
        assert here.proxy.url != here.server.url
        assert here.proxy.connections > 0
        pids = processes_of(here)
        assert all(is_alive(pid) for pid in pids)
    assert not any(is_alive(pid) for pid in pids)
    assert not here.folder.exists()


def processes_of(here: Stage) -> list[int]:
    server: RedisServer = here.server
    return [server.pid, here.simulator.pid, *(child.pid for child in here.workers.alive)]
