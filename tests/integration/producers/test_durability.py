"""A job that has to be durable is not told to be accepted before a replica, or the disk, has it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from penstock import (
    ConfigurationError,
    DurabilityError,
    EnqueueManyError,
    InvalidRequestError,
    JobState,
    Producer,
    QueueFullError,
    Summarize,
    SyncProducer,
)
from penstock_schemas import keys
from penstock_schemas.limits import Limits
from penstock_store.server import RedisServer
from tests.support.proxy import TcpProxy
from tests.support.servers import server_binary
from tests.support.wait import until

ASKED = Summarize(text="The mill stands by the river.")


class Pair:
    """A primary, and a replica that follows it through a proxy, once told to."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.primary, self.replica = (self._server(stack, folder / name) for name in ("primary", "replica"))
        self.link = stack.enter_context(TcpProxy.to(self.primary.url))

    @staticmethod
    def _server(stack: ExitStack, folder: Path) -> RedisServer:
        folder.mkdir()
        return stack.enter_context(RedisServer(binary=server_binary(), directory=folder))

    async def follow(self) -> None:
        """Let the replica follow; returns when it does."""
        async with Redis.from_url(self.replica.url) as client, Redis.from_url(self.primary.url) as primary:
            await primary.config_set("repl-diskless-sync-delay", 0)
            await client.replicaof("127.0.0.1", self.link.port)

            async def follows() -> bool:
                state = await primary.info("replication")
                return any(row["state"] == "online" for name, row in state.items() if name.startswith("slave"))

            await until(follows)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two servers for the tests of this module."""
    with ExitStack() as stack:
        yield Pair(stack, tmp_path_factory.mktemp("pair"))


@pytest.fixture
async def pair(servers: Pair) -> AsyncIterator[Pair]:
    """Both servers, empty, neither following the other."""
    servers.link.pass_through()
    for server in (servers.replica, servers.primary):
        async with Redis.from_url(server.url) as client:
            await client.replicaof("NO", "ONE")
            await client.flushall()
    yield servers
    servers.link.pass_through()


@pytest.fixture
async def far(pair: Pair) -> AsyncIterator[Producer]:
    """A producer of the primary."""
    async with Producer.connect(pair.primary.url, tenant="acme") as opened:
        yield opened


async def test_a_replica_has_the_job_before_it_is_accepted(pair: Pair, far: Producer) -> None:
    """So a fail-over to it at once loses nothing."""
    await pair.follow()
    job = await far.enqueue(ASKED, durability="replica")
    with SyncRedis.from_url(pair.replica.url) as replica:
        assert replica.hget(keys.record(job.id), "state") == b"queued"


async def test_without_a_replica_the_job_is_not_told_to_be_accepted(pair: Pair, far: Producer) -> None:
    """The error names it, may be met again, and says what to do; a repeat finds the job and waits for it."""
    with pytest.raises(DurabilityError, match="same idempotency key") as refused:
        await far.enqueue(ASKED, idempotency_key="k", durability="replica")
    assert refused.value.retriable and refused.value.code == "durability_not_reached"
    assert await far.job(refused.value.job_id).cancel() is JobState.QUEUED

    await pair.follow()
    job = await far.enqueue(ASKED, idempotency_key="k", durability="replica")
    assert (job.id, job.created) == (refused.value.job_id, False)


async def test_a_repeat_waits_for_what_an_earlier_call_wrote(pair: Pair, far: Producer) -> None:
    """Another producer, on another connection, that finds the job there: it is told no sooner."""
    await pair.follow()
    pair.link.freeze()
    first = await far.enqueue(ASKED, idempotency_key="k")
    async with Producer.connect(pair.primary.url, tenant="acme", durability="replica") as later:
        with pytest.raises(DurabilityError) as refused:
            await later.enqueue(ASKED, idempotency_key="k")
        assert refused.value.job_id == first.id
        pair.link.pass_through()
        assert (await later.enqueue(ASKED, idempotency_key="k")).id == first.id
    with SyncRedis.from_url(pair.replica.url) as replica:
        assert replica.exists(keys.record(first.id))


async def test_many_at_once_share_a_wait(pair: Pair, far: Producer) -> None:
    """And each that was not reached says so."""
    with pytest.raises(EnqueueManyError) as refused:
        await far.enqueue_many([ASKED] * 3, durability="replica")
    assert [type(error) for error in refused.value.errors.values()] == [DurabilityError] * 3
    await pair.follow()
    jobs = await far.enqueue_many([ASKED] * 200, durability="replica")
    with SyncRedis.from_url(pair.replica.url) as replica, SyncRedis.from_url(pair.primary.url) as primary:
        assert replica.exists(*(keys.record(job.id) for job in jobs)) == 200
        assert int(primary.hget(keys.COUNTS, "waits")) <= 4  # type: ignore[arg-type]


async def test_a_refusal_stays_a_refusal(pair: Pair) -> None:
    """Nothing was written that could be lost."""
    async with Producer.connect(pair.primary.url, limits=Limits(queued_jobs=1), durability="replica") as small:
        await small.enqueue(ASKED, durability="none")
        with pytest.raises(QueueFullError):
            await small.enqueue(ASKED)


async def test_a_connection_lost_in_the_wait_is_waited_out_on_another(pair: Pair) -> None:
    """The job is sent again, under the same id, and waited for again: on one connection both, or not at all."""
    await pair.follow()
    with TcpProxy.to(pair.primary.url) as proxy:
        async with Producer.connect(proxy.url) as producer:
            proxy.drop_next_reply(b"WAIT")
            job = await producer.enqueue(ASKED, durability="replica")
            proxy.wait_dropped()
    with SyncRedis.from_url(pair.replica.url) as replica:
        assert replica.exists(keys.record(job.id))


def test_a_blocking_producer_waits_as_well(servers: Pair) -> None:
    """The same options."""
    with SyncRedis.from_url(servers.primary.url) as primary:
        primary.flushall()
    servers.link.freeze()
    try:
        with SyncProducer.connect(servers.primary.url) as producer, pytest.raises(DurabilityError):
            producer.enqueue(ASKED, durability="replica")
    finally:
        servers.link.pass_through()


async def test_the_disk_has_the_job_before_it_is_accepted(own_redis_server: RedisServer) -> None:
    """Where the server can tell; one that cannot is named as what it is."""
    async with Producer.connect(own_redis_server.url) as producer:
        if own_redis_server.version.startswith("Redis 7.0"):
            with pytest.raises(ConfigurationError, match="fsync"):
                await producer.enqueue(ASKED, durability="fsync")
            return
        job = await producer.enqueue(ASKED, durability="fsync")
        assert (await job.status()).state is JobState.QUEUED
    with SyncRedis.from_url(own_redis_server.url) as client:
        client.config_set("appendonly", "no")
    async with Producer.connect(own_redis_server.url) as producer:
        with pytest.raises(ConfigurationError, match="appendonly"):
            await producer.enqueue(ASKED, durability="fsync")


async def test_who_asks_for_nothing_pays_nothing(redis: Redis, producer: Producer) -> None:
    """No wait, no connection."""
    before = (await redis.info("clients"))["connected_clients"]
    await producer.enqueue(ASKED)
    assert (await redis.info("clients"))["connected_clients"] == before + 1
    assert await redis.hget(keys.COUNTS, "waits") is None  # type: ignore[misc]


async def test_a_durability_that_there_is_not_is_refused(redis_url: str, producer: Producer) -> None:
    """Before anything is written, naming those that there are."""
    with pytest.raises(InvalidRequestError, match="none, replica, fsync"):
        await producer.enqueue(ASKED, durability="two")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="none, replica, fsync"):
        Producer.connect(redis_url, durability="two")  # type: ignore[typeddict-item]
