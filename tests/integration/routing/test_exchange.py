"""What workers tell each other: how many tokens texts are, and which accounts are closed."""

from typing import Any

import pytest
from redis.asyncio import Redis

from penstock_schemas import keys
from penstock_schemas.results import Usage
from penstock_store.batcher import Batcher
from penstock_worker.llm.port import CallRequest
from penstock_worker.routing.exchange import Exchange
from penstock_worker.routing.tokens import FORGET_AFTER, LEAST_SEEN, TokenEstimates
from tests.support.attempts import TARGET

ASKED = CallRequest(system="Summarize.", user="The mill stands by the river. " * 100, max_output_tokens=100)


def teach(tokens: TokenEstimates, count: int, input_tokens: int) -> None:
    for _ in range(count):
        tokens.learn(TARGET, ASKED, Usage(input_tokens=input_tokens, output_tokens=1))


@pytest.fixture
def workers(redis: Redis) -> list[Exchange]:
    """Two, each with what it knows and what it is concerned about."""
    batcher = Batcher(redis)
    return [Exchange(batcher, TokenEstimates(), [TARGET.name], [].append) for _ in range(2)]


async def exchange(*workers: Exchange) -> None:
    for worker in workers:
        await worker.once()


async def test_what_one_has_seen_the_others_know(workers: list[Exchange]) -> None:
    """Half of what makes a bound each: together it is enough, and the higher of both counts."""
    one, two = (worker._tokens for worker in workers)
    first = one.of_request(TARGET, ASKED)
    teach(one, LEAST_SEEN // 2, 500)
    teach(two, LEAST_SEEN // 2, 600)
    assert one.of_request(TARGET, ASKED) == two.of_request(TARGET, ASKED) == first
    await exchange(*workers, *workers)
    assert one.of_request(TARGET, ASKED) == two.of_request(TARGET, ASKED)
    assert 600 <= one.of_request(TARGET, ASKED) < 800 < first


async def test_nothing_is_told_twice(workers: list[Exchange], redis: Redis) -> None:
    """Calls are counted once, however often workers talk."""
    teach(workers[0]._tokens, 5, 500)
    await exchange(*workers, *workers, *workers)
    (value,) = (await redis.hgetall(keys.tokens(TARGET.name))).values()  # type: ignore[misc]
    assert value.split()[0] == b"5"


async def test_a_maximum_is_forgotten_after_as_many_calls_again(workers: list[Exchange], redis: Redis) -> None:
    """One odd call does not raise the bound for ever, in no process."""
    one, two = workers
    teach(one._tokens, 1, 3_000)
    for _ in range(40):
        teach(one._tokens, FORGET_AFTER, 500)
        await exchange(one, two)
    assert one._tokens.of_request(TARGET, ASKED) == two._tokens.of_request(TARGET, ASKED) < 800


async def test_a_worker_that_starts_knows_at_once(workers: list[Exchange]) -> None:
    """What was learned outlives who learned it."""
    teach(workers[0]._tokens, 50, 500)
    await exchange(*workers)
    assert workers[1]._tokens.of_request(TARGET, ASKED) < 800


async def test_what_is_none_of_ours_is_passed_over(workers: list[Exchange], redis: Redis) -> None:
    """Garbage under the key teaches nothing and stops nobody."""
    await redis.hset(keys.tokens(TARGET.name), mapping={"words:5": "many", "prose:9": "20 1 1", "x": ""})  # type: ignore[misc]
    await exchange(*workers)
    assert workers[0]._tokens.of_request(TARGET, ASKED) == TokenEstimates().of_request(TARGET, ASKED)


async def test_a_closed_account_is_a_concern_until_it_is_open(redis: Redis) -> None:
    """Told when it changes, and not each time."""
    concerns: list[Any] = []
    worker = Exchange(Batcher(redis), TokenEstimates(), [TARGET.name, "azure/gpt"], concerns.append)
    await worker.once()
    await redis.hset(keys.breaker("openai"), mapping={"state": "open", "until": 4_000_000_000_000})  # type: ignore[misc]
    await exchange(worker, worker)
    assert worker.closed == {"openai"}
    await redis.delete(keys.breaker("openai"))
    await exchange(worker, worker)
    assert concerns == ["closed for a refused key or for want of credit: openai", None]
