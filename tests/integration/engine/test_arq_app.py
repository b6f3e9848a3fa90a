"""An existing arq application: run on this engine, and looked at."""

from typing import Any, ClassVar

import pytest
from arq.connections import ArqRedis, RedisSettings

from penstock_schemas import keys
from penstock_schemas.errors import ConfigurationError
from penstock_store import arq_queue
from penstock_store.arq_queue import examine
from penstock_worker.engine import lease
from penstock_worker.engine.worker import DRAIN_S, make_arq_worker


async def double(ctx: dict[str, Any], number: int) -> int:
    """A function of the application."""
    return number * 2


class WorkerSettings:
    """As an arq application writes it."""

    functions: ClassVar[list[Any]] = [double]
    max_jobs = 3
    handle_signals = False


async def test_a_settings_class_runs_on_this_engine(redis_url: str, arq_redis: ArqRedis) -> None:
    """Its attributes are the worker's arguments; what it does not name gets our defaults."""
    job = await arq_redis.enqueue_job("double", 21)
    worker = make_arq_worker(WorkerSettings, redis_settings=RedisSettings.from_dsn(redis_url), burst=True)
    assert (worker.max_jobs, worker._job_completion_wait) == (3, DRAIN_S)
    await worker.main()
    await worker.close()
    assert job is not None
    assert await job.result(timeout=30, poll_delay=0.02) == 42


@pytest.mark.parametrize("settings", ["no.such.module.Settings", "collections.NoSuchSettings", "collections.Counter"])
def test_settings_that_cannot_be_used_are_a_configuration_error(settings: str) -> None:
    """The name is in the message."""
    with pytest.raises(ConfigurationError, match="--arq"):
        make_arq_worker(settings)


async def test_the_look_finds_what_is_wrong_and_changes_nothing(arq_redis: ArqRedis) -> None:
    """Expired, overdue, suspect, and an abort of nobody; what is well is not named."""
    for job_id in ("well", "expired", "overdue", "suspect"):
        await arq_redis.enqueue_job("double", 1, _job_id=job_id)
    await arq_redis.delete(keys.arq_job("expired"))
    await arq_redis.zadd("arq:queue", {"overdue": 1})
    await arq_redis.hset(keys.DEATHS, "suspect", 2)
    await arq_redis.zadd(keys.ARQ_ABORT, {"nobody": 5})
    before = {key: await arq_redis.dump(key) for key in await arq_redis.keys("*")}
    found = {finding.job_id: finding.what async for finding in examine(arq_redis)}
    assert found == {"expired": "expired", "overdue": "overdue", "suspect": "suspect", "nobody": "stale_abort"}
    assert {key: await arq_redis.dump(key) for key in await arq_redis.keys("*")} == before


def test_the_look_and_the_engine_agree_on_who_is_suspect() -> None:
    """The look needs no library of the worker's, so it cannot ask the engine."""
    assert arq_queue.SUSPECT_DEATHS == lease.SUSPECT_DEATHS
