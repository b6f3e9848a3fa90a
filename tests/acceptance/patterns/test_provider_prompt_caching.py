"""Provider prompt caching: of jobs with a long beginning in common one warms the provider's cache, the rest read it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from penstock import Classify, Extract, JobDeadError, Producer
from penstock_schemas import keys
from penstock_simulator.simulator import Simulator
from penstock_worker.settings import Settings, load_settings
from tests.support.workers import worker_settings, working

RULES = "".join(
    f"Rule {n}: a letter of kind {n % 37} on matter {n * 7919} goes to desk {n % 11}.\n" for n in range(500)
)
LETTERS = [Classify(text=f"Letter {n}: the mill stands still.", labels=["mills", "dogs"]) for n in range(100)]
PROMPT = f"[system]\nSort letters.\n{RULES}\n[user]\n{{{{how_many}}}} {{{{none}}}}\n{{{{labels}}}}\n\n{{{{text}}}}\n"
KINDS = {
    "openai": "openai/gpt-4o-mini",
    "anthropic": "anthropic/claude-sonnet-4-5",
    "gemini": "gemini/gemini-2.5-flash",
}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A provider that takes a moment, so that calls overlap."""
    async with Simulator(latency="30ms") as simulator:
        yield simulator


@pytest.fixture
async def producer(redis_url: str) -> AsyncIterator[Producer]:
    async with Producer.connect(redis_url) as producer:
        yield producer


def made(redis_url: str, simulator: Simulator, folder: Path, kind: str = "openai", **provider: object) -> Settings:
    """One route with a prompt of long instructions."""
    (folder / "prompts").mkdir(exist_ok=True)
    (folder / "prompts" / "desk@1.md").write_text(PROMPT)
    base = {"openai": simulator.base_url, "anthropic": simulator.url, "gemini": simulator.url}[kind]
    return load_settings(
        redis={"url": redis_url, "allow_volatile": True},
        providers={kind: {"kind": kind, "base_url": base, "allow_private": True, **provider}},
        routes={"default": {"targets": [KINDS[kind]], "prompt": "desk@1", "unknown_price": "allow"}},
        worker={"concurrency": 50},
    )


def read_from_cache(simulator: Simulator) -> int:
    return sum(call.cached_input_tokens > 0 for call in simulator.calls())


@pytest.mark.parametrize("kind", KINDS)
async def test_of_a_hundred_jobs_with_one_long_beginning_most_read_it_from_the_cache(
    kind: str, redis_url: str, producer: Producer, simulator: Simulator, tmp_path: Path
) -> None:
    """One warms it; two workers know of it."""
    settings = made(redis_url, simulator, tmp_path, kind)
    jobs = await producer.enqueue_many(LETTERS)
    async with working(settings, tmp_path), working(settings, tmp_path):
        results = await asyncio.gather(*(job.result(timeout_s=30) for job in jobs))
    assert read_from_cache(simulator) >= 95 and len(simulator.calls()) == 100
    read = sum(result.usage.cache_read_tokens or 0 for result in results)
    whole = sum((result.usage.input_tokens or 0) + (result.usage.cache_write_tokens or 0) for result in results) + read
    assert read > 0.8 * whole


async def test_without_it_all_go_at_once_and_pay_in_full(
    redis_url: str, producer: Producer, simulator: Simulator, tmp_path: Path
) -> None:
    """What a provider is told not to use is not waited for."""
    jobs = await producer.enqueue_many(LETTERS[:50])
    settings = made(redis_url, simulator, tmp_path, prompt_cache=False)
    async with working(settings, tmp_path):
        await asyncio.gather(*(job.result(timeout_s=30) for job in jobs))
    assert simulator.stats().max_in_flight > 10
    assert read_from_cache(simulator) < 40


async def test_when_the_call_that_goes_ahead_fails_the_next_one_does(
    redis_url: str, producer: Producer, simulator: Simulator, tmp_path: Path, redis: Redis
) -> None:
    """Nobody waits for a beginning that nobody warms."""
    simulator.script(["400 times=1"])
    jobs = await producer.enqueue_many(LETTERS[:20], on_failure="dead_letter")
    async with working(made(redis_url, simulator, tmp_path), tmp_path):
        results = await asyncio.gather(*(job.result(timeout_s=30) for job in jobs), return_exceptions=True)
    assert sum(isinstance(result, JobDeadError) for result in results) == 1
    assert read_from_cache(simulator) >= 18
    (warm,) = [name async for name in redis.scan_iter(keys.warm(KINDS["openai"], "*"))]
    assert await redis.get(warm) == b"warm" and await redis.pttl(warm) > 0


async def test_an_extraction_shares_its_schema(
    redis_url: str, producer: Producer, simulator: Simulator, tmp_path: Path
) -> None:
    """What stands before the text in the user part counts too: here a schema that says much."""
    about = "As it stands in the letter, word for word, with its unit, and null where the letter does not say it"
    fields = {f"field_{n}": {"type": ["string", "null"], "description": f"{about} ({n})"} for n in range(40)}
    schema = {"type": "object", "properties": fields, "additionalProperties": False}
    settings = worker_settings(redis_url, simulator.base_url, targets=[KINDS["openai"]])
    jobs = await producer.enqueue_many([Extract(text=f"Letter {n}.", schema=schema) for n in range(20)])
    async with working(settings, tmp_path):
        await asyncio.gather(*(job.result(timeout_s=30) for job in jobs))
    assert read_from_cache(simulator) >= 18
