"""The supervisor and the health port, with real processes."""

import asyncio
import os
import signal
from itertools import pairwise

import pytest
from arq.connections import RedisSettings
from redis.asyncio import Redis

from penstock_schemas import keys
from penstock_worker.engine import check_health, health, serve_health
from tests.integration.engine.conftest import MakeWorker
from tests.integration.engine.test_arq_weaknesses import Gate, Start
from tests.support.processes import Processes
from tests.support.wait import until

_SUPERVISED = """
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
from penstock_worker.supervisor import Supervisor
child = [sys.executable, "-u", "-c", sys.argv[1]]
sys.exit(Supervisor(lambda index: [*child, str(index)], 2).run())
"""
_SERVES = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("up", sys.argv[1], flush=True)
while True:
    signal.pause()
"""

_TICKS = """
import sys
from arq.connections import RedisSettings
from arq.cron import cron
from penstock_worker.engine import Worker
async def tick(ctx):
    await ctx["redis"].rpush("ticks", ctx["job_id"])
async def up(ctx):
    print("up", flush=True)
every_second = cron(tick, name="tick", second=set(range(60)))
Worker([], cron_jobs=[every_second], on_startup=up, redis_settings=RedisSettings.from_dsn(sys.argv[1]),
       poll_delay=0.1).run()
"""


async def test_a_process_that_dies_is_started_again_and_sigterm_ends_all(processes: Processes) -> None:
    """Both come up, a killed one comes up again, and a signal to the parent ends the family with 0."""
    parent = processes.python("-c", _SUPERVISED, _SERVES)
    await parent.line("up 0")
    await parent.line("up 1")
    pid = int((await parent.line(r"process 0 started, pid (\d+)")).group(1))
    os.kill(pid, signal.SIGKILL)
    await parent.line(r"process 0 died \(exit code -9\), next in 0.5 s")
    await until(lambda: len([line for line in parent.lines if line == "up 0"]) == 2)
    parent.terminate()
    assert await parent.ended() == 0


async def test_a_wrong_configuration_is_not_tried_again(processes: Processes) -> None:
    """Exit code 3 of one ends all with 3."""
    parent = processes.python("-c", _SUPERVISED, "import sys; sys.exit(3)")
    assert await parent.ended() == 3


async def test_each_tick_runs_once_with_three_workers_one_of_them_frozen_for_a_while(
    processes: Processes, redis: Redis, redis_url: str
) -> None:
    """The one that wakes up late asks for ticks that the others have run; none runs again, none is missing."""
    workers = [processes.python("-c", _TICKS, redis_url) for _ in range(3)]
    for worker in workers:
        await worker.line("up")

    async def ticks(more_than: int) -> list[int]:
        """When they were due, ms, as soon as there are more than so many and the last is written as done."""

        async def done() -> list[int]:
            ids = [job_id.decode() for job_id in await redis.lrange("ticks", 0, -1)]
            over = len(ids) > more_than and await redis.get(keys.arq_in_progress(ids[-1])) == b"ticked"
            return [int(job_id.split(":")[1]) for job_id in ids] if over else []

        return await until(done)

    seen = await ticks(0)
    workers[0].pause()
    seen = await ticks(len(seen) + 1)
    workers[0].resume()
    seen = await ticks(len(seen) + 1)
    assert [later - sooner for sooner, later in pairwise(seen)] == [1000] * (len(seen) - 1)


async def test_the_health_port_tells_readiness_and_leases(start: Start, make_worker: MakeWorker) -> None:
    """Ready while jobs are taken; not while it stops."""
    gate = Gate()
    worker = await start(gate.function())
    async with serve_health(worker, 0) as port:
        await until(lambda: health(worker).redis_contact_age_s is not None)
        ready, report = await check_health(port)
        assert ready and report["leases_held"] == 0 and report["why_not"] is None
        await worker.pool.enqueue_job("work")
        await until(lambda: worker.held)
        assert (await check_health(port))[1]["leases_held"] == 1
        worker.allow_pick_jobs = False
        ready, report = await check_health(port)
        assert not ready and report["why_not"] == "stopping"
    ready, report = await check_health(port)
    assert not ready and "no answer" in str(report["why_not"])


async def test_the_health_port_answers_other_paths_with_404(make_worker: MakeWorker) -> None:
    """And a worker that was not started is not ready."""
    worker = make_worker(Gate().function(), redis_settings=RedisSettings())
    async with serve_health(worker, 0) as port:
        assert await _status(port, "/live") == 200
        assert await _status(port, "/ready") == 503
        assert await _status(port, "/other") == 404


async def _status(port: int, path: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return int(answer.split()[1])


@pytest.mark.parametrize("garbage", [b"\r\n\r\n", b"GET\r\n\r\n", b"\xff\xfe\r\n\r\n"])
async def test_the_health_port_survives_garbage(make_worker: MakeWorker, garbage: bytes) -> None:
    """What is no request gets no answer, and the next one does."""
    worker = make_worker(Gate().function(), redis_settings=RedisSettings())
    async with serve_health(worker, 0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(garbage)
        await reader.read()
        writer.close()
        assert await _status(port, "/live") == 200
