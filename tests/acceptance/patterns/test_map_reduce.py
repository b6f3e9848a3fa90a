"""Map-reduce summarize for long input: chunks in parallel, notes joined; what is paid for is paid for once."""

import re
from collections import Counter
from collections.abc import Callable

import orjson
from redis.asyncio import Redis

from penstock import Producer, Summarize
from penstock_schemas import keys
from penstock_simulator.simulator import Simulator
from tests.acceptance.conftest import StartWorker
from tests.support.wait import until

CHUNKS, AT_ONCE = 20, 4
SENTENCES = (
    "Mill {0} by the river turns day and night. Its miller saw {0} boats. Flour of {0} sacks went by. Rain fell. "
)
TEXT = "".join(f"# Letter {n}\n\n{(SENTENCES * 4).replace('{0}', str(n))}\n\n" for n in range(10, 10 + CHUNKS))
ASKED = Summarize(text=TEXT, max_words=40)
ROUTE = {"chunk_tokens": 200, "chunk_overlap_tokens": 0, "chunks_at_once": AT_ONCE}


async def calls_of(redis: Redis, job_id: str) -> tuple[Counter[str], Counter[str]]:
    """How often each step was asked, and how often it was answered."""
    row = await redis.hgetall(keys.journal(job_id))  # type: ignore[misc]
    asked = {name: orjson.loads(row[name])["step"] for name in row if re.fullmatch(rb"\d+\.\d+\.\d+", name)}
    ends = {name: row.get(name + b":end", b"") for name in asked}
    return Counter(asked.values()), Counter(asked[name] for name in asked if ends[name].startswith(b"answered"))


async def test_a_killed_worker_s_document_goes_on_at_the_next_chunk(
    producer: Producer, simulator: Simulator, start_worker: StartWorker, redis: Redis, faults: Callable[..., list[str]]
) -> None:
    """Twenty chunks, a SIGKILL after twelve: the bill is each step once, and the four that were in flight."""
    before = 12
    simulator.script([{"match": {"nth": list(range(before + 1, 99))}, "fault": "hang"}])
    first = start_worker(route=ROUTE)
    job = await producer.enqueue(ASKED)
    await until(lambda: _settled(redis, before))
    await simulator.until(lambda stats: stats.in_flight == AT_ONCE)
    first.kill()
    asked, answered = await calls_of(redis, job.id)
    assert (answered.total(), asked.total()) == (before, before + AT_ONCE)

    simulator.script([])
    start_worker(route=ROUTE)
    result = await job.result(timeout_s=60)
    assert (result.state, result.chunks, result.attempts) == ("succeeded", CHUNKS, 1)
    assert len(result.output.summary.split()) <= 40
    asked, answered = await calls_of(redis, job.id)
    assert set(answered.values()) == {1}
    assert {f"chunk:{n}" for n in range(1, CHUNKS + 1)} | {"join"} <= answered.keys()
    assert len(simulator.calls()) == result.calls == answered.total() + AT_ONCE
    assert result.uncertain_nanousd > 0
    assert faults([job.id]) == []


async def test_a_worker_told_to_stop_hands_the_document_on_between_two_chunks(
    producer: Producer, simulator: Simulator, start_worker: StartWorker, redis: Redis, faults: Callable[..., list[str]]
) -> None:
    """It waits for what is in flight and begins no more; nothing at all is made twice, and nothing is uncertain."""
    simulator.script(["delay seconds=1"])
    first = start_worker(route=ROUTE)
    job = await producer.enqueue(ASKED)
    await until(lambda: _settled(redis, AT_ONCE))
    first.terminate()
    assert await first.ended() == 0
    status = await job.status()
    assert (status.state.terminal, status.attempts) == (False, 0)
    assert status.calls < CHUNKS
    simulator.script([])
    start_worker(route=ROUTE)
    result = await job.result(timeout_s=40)
    asked, answered = await calls_of(redis, job.id)
    assert (result.state, result.attempts, result.uncertain_nanousd) == ("succeeded", 1, 0)
    assert asked == answered
    assert len(simulator.calls()) == result.calls == asked.total()


async def _settled(redis: Redis, calls: int) -> bool:
    return int(await redis.xlen(keys.LEDGER)) >= calls


async def test_the_calls_of_one_document_are_bounded_in_number_and_money(
    producer: Producer, simulator: Simulator, start_worker: StartWorker, redis: Redis
) -> None:
    """So many at a time; a document that the job cannot pay for as a whole costs nothing."""
    simulator.script(["delay seconds=0.05"])
    start_worker(route=ROUTE)
    poor = await producer.enqueue(ASKED, max_cost_usd="0.002")
    result = await poor.result(timeout_s=20)
    assert (result.state, result.calls, result.failure and result.failure.code) == ("degraded", 0, "over_budget")
    job = await producer.enqueue(ASKED, max_cost_usd="0.10")
    result = await job.result(timeout_s=40)
    assert (result.state, result.chunks) == ("succeeded", CHUNKS)
    assert 0 < (result.cost_nanousd or 0) <= 100_000_000
    assert simulator.stats().max_in_flight == AT_ONCE
