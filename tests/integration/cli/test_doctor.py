"""`penstock doctor` sees what is wrong, says how to mend it, and changes nothing."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from penstock import Producer, Summarize
from penstock_schemas import keys
from penstock_store.server import RedisServer
from tests.integration.cli.conftest import Command, Ended, called, dead_letters
from tests.support.jobs import HandWorker, dump


def marks(ended: Ended) -> dict[str, str]:
    return {finding["id"]: finding["mark"] for finding in ended.objects}


def finding(ended: Ended, check: str) -> Any:
    return next(finding for finding in ended.objects if finding["id"] == check)


async def test_a_safe_redis_is_told_check_by_check(command: Command) -> None:
    ended = command("doctor", "--json")
    assert ended.code == 0
    assert list(marks(ended)) == [f"D{n:02}" for n in range(1, 18)]
    assert not {check for check, mark in marks(ended).items() if mark == "fail"}
    text = command("doctor")
    assert text.code == 0
    assert [line.split()[1] for line in text.out.splitlines()] == list(marks(ended))
    assert list(marks(command("doctor", "--quick", "--json"))) == list(marks(ended))[:13]


async def test_it_reads_only(command: Command, producer: Producer, worker: HandWorker, redis: Redis) -> None:
    ids = await dead_letters(producer, worker, 3)
    await producer.enqueue(Summarize(text="Words."))
    await redis.delete(keys.record(ids[0]))
    before = await dump(redis)
    command("doctor")
    assert await dump(redis) == before


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_eviction_is_unsafe(command: Command, redis: Redis, policy: str) -> None:
    """Exit code 3, and the command that mends it."""
    await redis.config_set("maxmemory-policy", policy)
    try:
        ended = command("doctor", "--json")
    finally:
        await redis.config_set("maxmemory-policy", "noeviction")
    assert (ended.code, marks(ended)["D04"]) == (3, "fail")
    assert "CONFIG SET maxmemory-policy noeviction" in finding(ended, "D04")["fix"]


async def test_persistence_and_a_full_memory_are_told(command: Command, redis: Redis) -> None:
    """None here; with an append-only file it is fine."""
    assert "loses all jobs" in finding(command("doctor", "--json"), "D06")["said"]
    await redis.config_set("maxmemory", "1mb")
    try:
        assert marks(command("doctor", "--json"))["D05"] == "warn"
    finally:
        await redis.config_set("maxmemory", "0")


async def test_an_append_only_file_is_fine(own_redis_server: RedisServer, command: Command) -> None:
    ended = command("doctor", "--json", REDIS_URL=own_redis_server.url)
    assert finding(ended, "D06") | {"name": ""} == {
        "id": "D06",
        "name": "",
        "mark": "ok",
        "said": "append-only file, fsync everysec",
        "fix": "",
        "faults": [],
    }


async def test_a_replica_takes_no_writes(own_redis_server: RedisServer, command: Command) -> None:
    async with Redis.from_url(own_redis_server.url) as client:
        await client.replicaof("127.0.0.1", 1)
    ended = command("doctor", "--json", REDIS_URL=own_redis_server.url)
    assert (ended.code, marks(ended)["D07"]) == (3, "fail")


async def test_queues_letters_and_workers_are_counted(
    command: Command, producer: Producer, worker: HandWorker, redis: Redis
) -> None:
    """What is due by lane; that nobody works; what is paused; records that cannot be read."""
    dead = await dead_letters(producer, worker, 2)
    await producer.enqueue_many([Summarize(text=f"{n}.") for n in range(3)], lane="bulk")
    await producer.enqueue(Summarize(text="Later."), delay_s=60)
    await redis.hset(keys.record(dead[0]), "run", "many")  # type: ignore[misc]
    ended = command("doctor", "--json")
    assert finding(ended, "D09")["said"].startswith("bulk 3 due")
    assert (finding(ended, "D10")["mark"], "3 queued, 1 scheduled" in finding(ended, "D10")["said"]) == ("warn", True)
    assert finding(ended, "D11")["said"] == "2 dead, 0 degraded"
    assert "1 of 5 cannot be read" in finding(ended, "D12")["said"]
    assert dead[0] in finding(ended, "D12")["said"]
    await redis.sadd(keys.PAUSED, "lane:bulk")  # type: ignore[misc]
    assert "paused: lane:bulk" in finding(command("doctor", "--json"), "D09")["said"]


@pytest.fixture
async def reader_url(redis: Redis, redis_url: str) -> AsyncIterator[str]:
    """A user with a password who may read neither settings nor sets."""
    await redis.execute_command("ACL", "SETUSER", "reader", "on", ">pw", "~*", "&*", "+@all", "-config", "-smembers")
    yield redis_url.replace("redis://", "redis://reader:pw@")
    await redis.execute_command("ACL", "DELUSER", "reader")


async def test_a_user_who_may_not_read_settings_gets_the_rest(command: Command, reader_url: str) -> None:
    """A managed Redis has no CONFIG."""
    ended = command("doctor", "--json", REDIS_URL=reader_url)
    assert (ended.code, len(ended.objects)) == (0, 17)
    assert marks(ended)["D09"] == "warn"
    assert marks(ended)["D04"] == "ok"


async def test_a_password_that_others_may_read_is_told(command: Command, reader_url: str, tmp_path: Path) -> None:
    """By a warning of every command, and by a check."""
    file = tmp_path / "penstock.toml"
    file.write_text(f'[redis]\nurl = "{reader_url}"\n')
    file.chmod(0o644)
    ended = command("doctor", "--json", REDIS_URL=None)
    assert marks(ended)["D13"] == "warn"
    assert "chmod 600" in ended.err
    assert "chmod 600" in command("dead", REDIS_URL=None).err
    file.chmod(0o600)
    assert command("dead", REDIS_URL=None).err == "none\n"


async def test_money_that_does_not_add_up_is_told_with_its_ids(
    command: Command, producer: Producer, worker: HandWorker, redis: Redis
) -> None:
    """Exit code 1, the job by its id, and how to look further."""
    await producer.enqueue(Summarize(text="Words."))
    lease = await worker.claim_one()
    await called(worker, lease, kind="answered", cost=7)
    await worker.succeed(lease)
    assert command("doctor", "--json").code == 0
    await redis.hincrby(keys.record(lease.job_id), "cost_nanousd", 1)  # type: ignore[misc]
    ended = command("doctor", "--json")
    assert (ended.code, marks(ended)["D16"], marks(ended)["D14"]) == (1, "wrong", "ok")
    told = "record 8 + at most 0 nano-USD, journal 7 + at most 0 nano-USD"
    assert finding(ended, "D16")["faults"][0] == f"{lease.job_id}: {told}"
    text = command("doctor")
    assert lease.job_id in text.out and "money does not add up" in text.err
