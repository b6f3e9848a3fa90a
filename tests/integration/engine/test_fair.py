"""Lanes by weight, tenants by fair share, caps, pauses: the claim over many tenants' queues."""

import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from penstock_schemas import keys
from penstock_store.batcher import Batcher
from penstock_store.scripts import Script, load_include, load_script
from penstock_worker.engine import Claim, FairQueues, Lease
from penstock_worker.engine.sources import Ask

START = "local function start(job_id) return job_id end"

PUT = Script(
    load_include("penstock_store", "queue")
    + """
local now = redis.call("TIME")
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
for i = 2, #ARGV do
  queue_put(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[i], now_ms + KEYS[4], now_ms)
end
"""
)
RELEASE = Script(load_include("penstock_store", "lease") + "\nlease_release(KEYS[1], ARGV[1])")
RENEW = load_script("penstock_worker.engine", "renew")
MOVE = Script(
    load_include("penstock_store", "lease")
    + "\nlease_move(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2], tonumber(ARGV[3]), 0)"
)


class Queues:
    """The queues of one test, and a worker's claims on them."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.batcher = Batcher(redis)

    async def put(
        self, lane: str, tenant: str, ids: Iterable[str], *, in_ms: int = 0, priority: int | None = None
    ) -> None:
        """Queue jobs, as a producer does."""
        names = [keys.queue(lane, tenant, priority), keys.ring(lane), keys.wait(lane), str(in_ms)]
        await self.batcher.call(PUT, names, [tenant, *ids])

    async def claim(self, slots: int, **options: Any) -> list[Lease]:
        """Claim as a worker with these settings does."""
        return (await self.claimed(slots, **options)).leases

    async def claimed(
        self, slots: int, *, lease_s: float = 10, idle: bool = True, held: dict[str, int] | None = None, **source: Any
    ) -> Claim:
        """The whole answer of a claim."""
        fair = FairQueues(handler=None, **{"start_lua": START, "lanes": {"standard": 1}, **source})
        return await fair.claim(self.batcher, Ask(slots, lease_s, idle, patience_s=1, held=held or {}))

    async def release(self, lease: Lease) -> None:
        """End a lease as a terminal script does."""
        await self.batcher.call(RELEASE, [lease.queue], [lease.job_id])

    async def end_all(self, leases: Sequence[Lease]) -> None:
        """End many leases."""
        for lease in leases:
            await self.release(lease)

    async def is_consistent(self) -> bool:
        """Whether every tenant with a non-empty queue is in its ring, or waits no longer than it may."""
        now_ms = (await self.redis.time())[0] * 1000
        async for key in self.redis.scan_iter(match=keys.queue("*", "*"), _type="zset"):
            if key.endswith(b":running"):
                continue
            _, _, lane, tenant, *_ = key.decode().split(":")
            if await self.redis.zscore(keys.ring(lane), tenant) is not None:
                continue
            first = (await self.redis.zrange(key, 0, 0, withscores=True))[0][1]
            waits = await self.redis.zscore(keys.wait(lane), tenant)
            if waits is None or waits > max(first, now_ms + 2000):
                return False
        return True


@pytest.fixture
def queues(redis: Redis) -> Queues:
    return Queues(redis)


def ids(prefix: str, count: int) -> list[str]:
    """Job ids of one tenant."""
    return [f"{prefix}-{i}" for i in range(count)]


async def test_lanes_share_by_weight_and_none_starves(queues: Queues) -> None:
    """Of ten jobs six, three and one, whatever is queued where."""
    lanes = {"interactive": 6, "standard": 3, "bulk": 1}
    for lane in lanes:
        await queues.put(lane, "acme", ids(lane, 200))
    leases = await queues.claim(100, lanes=lanes)
    assert Counter(lease.lane for lease in leases) == {"interactive": 60, "standard": 30, "bulk": 10}


async def test_a_lane_that_was_idle_is_owed_nothing(queues: Queues) -> None:
    """It does not make up for the time it had no work."""
    lanes = {"interactive": 1, "bulk": 1}
    await queues.put("bulk", "acme", ids("b", 300))
    await queues.claim(200, lanes=lanes)
    await queues.put("interactive", "acme", ids("i", 100))
    leases = await queues.claim(20, lanes=lanes)
    assert abs(Counter(lease.lane for lease in leases)["interactive"] - 10) <= 1


async def test_a_flood_of_one_tenant_delays_another_by_a_job_or_two(queues: Queues) -> None:
    """The newcomer is served within its first turns, though ten thousand jobs were there before."""
    await queues.put("standard", "flood", ids("f", 10_000))
    await queues.claim(1000)
    await queues.put("standard", "small", ["s-0"])
    tenants = [lease.tenant for lease in await queues.claim(3)]
    assert "small" in tenants


async def test_tenants_who_come_and_go_do_not_starve_one_who_waits(queues: Queues) -> None:
    """Each newcomer joins behind whoever has the least."""
    await queues.put("standard", "zz-waits", ids("z", 50))
    served: Counter[str] = Counter()
    for i in range(40):
        await queues.put("standard", f"aa-{i % 2}", [f"a-{i}"])
        (lease,) = await queues.claim(1)
        served[lease.tenant] += 1
        await queues.release(lease)
    assert served["zz-waits"] >= 10


async def test_tenants_share_by_weight(queues: Queues) -> None:
    """A tenant of weight 3 gets three jobs for one of another's."""
    for tenant in ("acme", "other"):
        await queues.put("standard", tenant, ids(tenant, 100))
    leases = await queues.claim(80, tenants={"acme": {"weight": 3}})
    assert abs(Counter(lease.tenant for lease in leases)["acme"] - 60) <= 1


async def test_a_tenants_running_jobs_stay_within_its_cap_over_all_lanes(queues: Queues) -> None:
    """And when one ends, the next is to be had at once."""
    lanes = {"interactive": 1, "bulk": 1}
    for lane in lanes:
        await queues.put(lane, "acme", ids(lane, 10))
    leases = await queues.claim(10, lanes=lanes, tenant_cap=3)
    assert len(leases) == 3
    assert await queues.claim(10, lanes=lanes, tenant_cap=3) == []
    await queues.release(leases[0])
    assert len(await queues.claim(10, lanes=lanes, tenant_cap=3)) == 1


async def test_a_lease_that_comes_to_life_again_counts_against_the_cap_again(queues: Queues, redis: Redis) -> None:
    """It ran out, a claim under a cap forgot it, and its holder, late but alive, renewed it."""
    await queues.put("standard", "acme", ids("a", 3))
    first, late = await queues.claim(2)
    for lease in (first, late):
        await _let_leases_end(redis, queues, lease)
        await redis.zadd(keys.running(lease.queue), {lease.job_id: 1}, xx=True)
    assert len(await queues.claim(2, tenant_cap=1)) == 1
    assert await queues.batcher.call(RENEW, [late.queue], [10_000, late.job_id, late.token]) == []
    assert await redis.zcard(keys.running(late.queue)) == 2


@pytest.mark.parametrize("cap", [0, 5])
async def test_a_lost_workers_jobs_keep_their_place(queues: Queues, redis: Redis, cap: int) -> None:
    """Their score is their lease's end, later than all that waits; they come first all the same, under a cap too."""
    await queues.put("standard", "acme", ids("held", 2))
    held = await queues.claim(2)
    await queues.put("standard", "acme", ids("waits", 5))
    assert [lease.job_id for lease in await queues.claim(1, tenant_cap=cap)] == ["waits-0"]
    seconds, micros = await redis.time()
    for lease in held:
        await redis.pexpire(keys.arq_in_progress(lease.job_id), 60_000)
        score = seconds * 1000 + micros // 1000 - 1
        await redis.zadd(lease.queue, {lease.job_id: score})
        await redis.zadd(keys.running(lease.queue), {lease.job_id: score})
    again = await queues.claim(3, tenant_cap=cap)
    assert [lease.job_id for lease in again] == ["held-0", "held-1", "waits-1"]


async def test_a_tenant_may_have_a_cap_of_its_own(queues: Queues) -> None:
    """Its own cap stands in the place of the common one."""
    for tenant in ("acme", "other"):
        await queues.put("standard", tenant, ids(tenant, 10))
    leases = await queues.claim(20, tenant_cap=3, tenants={"acme": {"cap": 5}})
    assert Counter(lease.tenant for lease in leases) == {"acme": 5, "other": 3}


@pytest.mark.parametrize("what", ["lane:standard", "tenant:acme"])
async def test_what_is_paused_is_left_and_not_lost(queues: Queues, redis: Redis, what: str) -> None:
    """A paused job keeps its place and is charged nothing; when resumed, it comes."""
    await queues.put("standard", "acme", ids("a", 3))
    await redis.sadd(keys.PAUSED, what)
    assert await queues.claim(5) == []
    await redis.srem(keys.PAUSED, what)
    await redis.zadd(keys.wait("standard"), {"acme": 0}, xx=True)  # a second passes
    leases = await queues.claim(5)
    assert [lease.job_try for lease in leases] == [1, 1, 1]


async def test_a_flood_leaves_slots_to_others(queues: Queues) -> None:
    """A tenth of them, once another tenant is known; and the other takes them at once."""
    await queues.put("standard", "flood", ids("flood", 100))
    await queues.put("standard", "small", ["small-0"])
    first = await queues.claimed(20, spare_slots=0.1)
    assert Counter(lease.tenant for lease in first.leases) == {"flood": 18, "small": 1}
    assert first.kept
    await queues.end_all([lease for lease in first.leases if lease.tenant == "small"])
    none = await queues.claimed(2, spare_slots=0.1, held={"standard:flood": 18})
    assert (none.leases, none.kept, none.next_due_s) == ([], True, None)
    await queues.put("standard", "small", ["small-1", "small-2"])
    small = await queues.claimed(2, spare_slots=0.1, held={"standard:flood": 18})
    assert [lease.job_id for lease in small.leases] == ["small-1", "small-2"]


async def test_a_tenants_lanes_leave_slots_to_each_other(queues: Queues) -> None:
    """What is urgent does not wait behind the same tenant's bulk."""
    lanes = {"interactive": 6, "bulk": 1}
    await queues.put("interactive", "acme", ["now"])
    await queues.end_all(await queues.claim(1, lanes=lanes))
    await queues.put("bulk", "acme", ids("bulk", 100))
    assert len(await queues.claim(20, lanes=lanes, spare_slots=0.1)) == 18


async def test_who_is_alone_may_have_all_slots(queues: Queues) -> None:
    """Nothing is kept for tenants that nobody has seen."""
    await queues.put("standard", "flood", ids("flood", 100))
    claim = await queues.claimed(20, spare_slots=0.1)
    assert (len(claim.leases), claim.kept) == (20, False)


HOUR_MS = 3_600_000


async def test_the_higher_priority_goes_first(queues: Queues, redis: Redis) -> None:
    """Within a tenant's queue, and among equals by time; once its jobs are gone, a level is forgotten."""
    await queues.put("standard", "acme", ["d1", "d2"])
    await queues.put("standard", "acme", ["low"], priority=0)
    await queues.put("standard", "acme", ["h1", "h2"], priority=9)
    leases = await queues.claim(9)
    assert [lease.job_id for lease in leases] == ["h1", "h2", "d1", "d2", "low"]
    assert [(lease.lane, lease.tenant) for lease in leases] == [("standard", "acme")] * 5
    assert await redis.zcard(keys.running(keys.queue("standard", "acme"))) == 5
    await queues.end_all(leases)
    assert await redis.zcard(keys.running(keys.queue("standard", "acme"))) == 0
    await queues.put("standard", "acme", ["next"])
    assert [lease.job_id for lease in await queues.claim(9)] == ["next"]
    assert await redis.exists(keys.PRIORITIES) == 0


async def test_an_hour_of_waiting_outweighs_a_step_of_priority(queues: Queues) -> None:
    """So nothing waits for ever behind what is more urgent."""
    await queues.put("standard", "acme", ["old"], in_ms=-HOUR_MS - 10_000)
    await queues.put("standard", "acme", ["older and lower"], in_ms=-3 * HOUR_MS - 10_000, priority=3)
    await queues.put("standard", "acme", ["fresh"], priority=5)
    assert [lease.job_id for lease in await queues.claim(3)] == ["older and lower", "old", "fresh"]


async def test_priority_makes_no_job_due_before_its_time(queues: Queues, redis: Redis) -> None:
    """A deferred job waits, however urgent; it is the tenant's next all the same, and keeps its place when moved."""
    await queues.put("standard", "acme", ["urgent"], in_ms=60_000, priority=9)
    await queues.put("standard", "acme", ["later"], in_ms=90_000)
    claim = await queues.claimed(5)
    assert claim.leases == []
    assert claim.next_due_s is not None and 59 < claim.next_due_s <= 60
    await queues.put("standard", "acme", ["now"], priority=0)
    (lease,) = await queues.claim(5)
    assert lease.job_id == "now"
    await queues.put("standard", "acme", ["default"])
    due_ms = (await redis.time())[0] * 1000
    names = [lease.queue, keys.ring("standard"), keys.wait("standard")]
    await queues.batcher.call(MOVE, names, ["acme", "now", due_ms])
    assert [lease.job_id for lease in await queues.claim(5)] == ["default", "now"]
    assert await queues.is_consistent()


async def test_a_tenant_is_not_served_more_for_its_priorities(queues: Queues) -> None:
    """They order its own jobs; between tenants the shares stay what they are."""
    await queues.put("standard", "loud", ids("loud", 20), priority=9)
    await queues.put("standard", "calm", ids("calm", 20))
    taken = Counter(lease.tenant for lease in await queues.claim(10))
    assert taken == {"loud": 5, "calm": 5}


@pytest.mark.parametrize("what", ["lane:standard", "tenant:acme"])
async def test_room_made_for_a_paused_job_is_not_filled_by_it(queues: Queues, redis: Redis, what: str) -> None:
    """Asked for by name, it is left as well."""
    await queues.put("standard", "acme", ["a"])
    await redis.sadd(keys.PAUSED, what)
    fair = FairQueues(handler=None, start_lua=START, lanes={"standard": 1})
    named = Ask(1, 10, True, 1, [(keys.queue("standard", "acme"), "a")])
    assert (await fair.claim(queues.batcher, named)).leases == []
    await redis.srem(keys.PAUSED, what)
    assert len((await fair.claim(queues.batcher, named)).leases) == 1


async def test_a_refused_job_is_looked_at_again_later(queues: Queues, redis: Redis) -> None:
    """start answers false: the entry moves on, uncharged, and others come to their turn."""
    start = 'local function start(job_id) if job_id == "a-0" then return false, 60000 end return job_id end'
    await queues.put("standard", "acme", ids("a", 2))
    assert [lease.job_id for lease in await queues.claim(5, start_lua=start)] == ["a-1"]
    assert await redis.zcard(keys.queue("standard", "acme")) == 2
    assert await queues.is_consistent()


async def test_an_entry_without_a_record_is_dropped(queues: Queues, redis: Redis) -> None:
    """start answers nil: the entry is gone, and is no endless loop."""
    await queues.put("standard", "acme", ids("a", 2))
    assert await queues.claim(5, start_lua="local function start() return nil end") == []
    assert await redis.exists(keys.queue("standard", "acme")) == 0


async def test_an_unreadable_record_is_leased_as_corrupt_and_stops_no_other(queues: Queues, redis: Redis) -> None:
    """start raises: that one job says why, the next is fine."""
    start = """local function start(job_id) return redis.call("GET", "record:" .. job_id) end"""
    await queues.put("standard", "acme", ids("a", 2))
    await redis.lpush("record:a-0", "not a string")
    await redis.set("record:a-1", "record")
    corrupt, sound = await queues.claim(5, start_lua=start)
    assert "WRONGTYPE" in corrupt.corrupt
    assert (sound.corrupt, sound.payload) == ("", b"record")


async def test_a_tenant_that_is_no_name_stops_nobody(queues: Queues, redis: Redis) -> None:
    """Foreign members of a ring, of bytes that are not even text, are dropped from it; ids may be any bytes."""
    for tenant in (b"\xff\xfe", b"two words", b"a:b"):
        await redis.zadd(b"penstock:q:standard:" + tenant, {b"foreign": 1})
        await redis.zadd(keys.ring("standard"), {tenant: -1})
        await redis.zadd(keys.wait("standard"), {tenant + b"\xff": 1})
    await queues.put("standard", "acme", ["a"])
    await redis.zadd(keys.queue("standard", "acme"), {b"\xff": 1})
    leases = await queues.claim(5)
    assert [lease.raw_id for lease in leases] == [b"\xff", b"a"]
    assert await redis.zrange(keys.ring("standard"), 0, -1) == []
    assert await redis.zrange(keys.wait("standard"), 0, -1) == [b"acme"]


async def test_a_suspect_whose_id_is_no_text_is_run_alone_too(queues: Queues, redis: Redis) -> None:
    """Asked for by name as any other."""
    await queues.put("standard", "acme", ["other"])
    await redis.zadd(keys.queue("standard", "acme"), {b"\xff": 1})
    await redis.hset(keys.DEATHS, b"\xff", 2)
    busy = await queues.claimed(5, idle=False)
    assert busy.suspect is not None and busy.suspect[1] == b"\xff"
    fair = FairQueues(handler=None, start_lua=START, lanes={"standard": 1})
    named = await fair.claim(queues.batcher, Ask(1, 10, True, 1, [busy.suspect]))
    assert [lease.raw_id for lease in named.leases] == [b"\xff"]


async def test_a_deferred_job_is_claimed_when_due_and_the_answer_tells_when(queues: Queues) -> None:
    """next_due_s is the time until the first tenant's first job."""
    await queues.put("standard", "acme", ["later"], in_ms=60_000)
    claim = await queues.claimed(5)
    assert claim.leases == []
    assert claim.next_due_s is not None and 59 < claim.next_due_s <= 60


async def test_a_vanished_holders_job_comes_again_and_counts_a_death(queues: Queues, redis: Redis) -> None:
    """The try stays the same; the death is counted apart."""
    await queues.put("standard", "acme", ["a"])
    for deaths in (0, 1, 2):
        (lease,) = await queues.claim(1, lease_s=0)
        assert (lease.job_try, lease.deaths) == (1, deaths)
        await _let_leases_end(redis, queues, lease)


async def test_a_suspect_is_taken_alone_by_an_idle_worker(queues: Queues, redis: Redis) -> None:
    """A busy worker leaves it and is asked, one for all, to make room."""
    await queues.put("standard", "acme", ["suspect", "other"])
    await redis.hset(keys.DEATHS, "suspect", 2)
    busy = await queues.claimed(5, idle=False)
    assert [lease.job_id for lease in busy.leases] == ["other"]
    assert busy.suspect == (keys.queue("standard", "acme"), "suspect")
    assert (await queues.claimed(5, idle=False)).suspect is None
    await queues.put("standard", "acme", ["third"])
    fair = FairQueues(handler=None, start_lua=START, lanes={"standard": 1})
    named = await fair.claim(queues.batcher, Ask(1, 10, True, 1, [busy.suspect]))
    assert [lease.job_id for lease in named.leases] == ["suspect"]
    assert named.alone


async def test_a_moved_job_runs_again_in_its_turn(queues: Queues, redis: Redis) -> None:
    """Retry and hand back end the lease, clear deaths, and leave the tenant findable."""
    await queues.put("standard", "acme", ["a"])
    (lease,) = await queues.claim(1)
    await queues.batcher.call(MOVE, [lease.queue, keys.ring("standard"), keys.wait("standard")], ["acme", "a", 0])
    assert await queues.is_consistent()
    assert [again.job_id for again in await queues.claim(1)] == ["a"]


async def test_nothing_is_left_when_all_jobs_have_ended(queues: Queues, redis: Redis) -> None:
    """Only the lanes' virtual time stays, and for some minutes who was there."""
    for tenant in ("acme", "other"):
        await queues.put("standard", tenant, ids(tenant, 5))
    while leases := await queues.claim(3):
        await queues.end_all(leases)
    assert await queues.is_consistent()
    arrivals = keys.arrivals(keys.ring("standard"))
    assert sorted(await redis.keys("*")) == sorted([keys.LANES.encode(), arrivals.encode()])
    assert await redis.pttl(arrivals) > 0


async def test_tenants_stay_findable_whatever_happens(queues: Queues) -> None:
    """After each of many random steps, no tenant with work is out of both ring and wait set."""
    random = secrets.SystemRandom()
    leases: list[Lease] = []
    for step in range(150):
        match random.randrange(4):
            case 0:
                tenant = f"t{random.randrange(4)}"
                await queues.put("standard", tenant, [f"{tenant}-{step}"], in_ms=random.choice([0, 0, 5, 60_000]))
            case 1:
                leases += await queues.claim(random.randrange(1, 4), tenant_cap=random.choice([0, 2]))
            case 2 if leases:
                await queues.release(leases.pop())
            case 3 if leases:
                lease = leases.pop()
                names = [lease.queue, keys.ring("standard"), keys.wait("standard")]
                await queues.batcher.call(MOVE, names, [lease.tenant, lease.job_id, random.choice([0, 2**42])])
        assert await queues.is_consistent(), step


async def _let_leases_end(redis: Redis, queues: Queues, lease: Lease) -> None:
    """As if the time of a lease had passed: its life falls to the grace period, its score is due."""
    await redis.pexpire(keys.arq_in_progress(lease.job_id), 60_000)
    await redis.zadd(lease.queue, {lease.job_id: 1})
    await redis.zadd(keys.wait(lease.lane), {lease.tenant: 0})
