"""The cap of one answer: the route's, or a lower one of the job's or of its tenant's quota."""

from collections.abc import Callable

import orjson
import pytest
from redis.asyncio import Redis

from penstock import Producer, RateLimitedError, Summarize
from penstock_schemas import keys
from penstock_schemas.errors import ConfigurationError
from penstock_schemas.quotas import Quota
from penstock_worker.money.quotas import Quotas
from penstock_worker.settings import Settings
from tests.support.workers import work_off

ASKED = Summarize(text="The mill stands by the river. Its wheel turns day and night.")
Make = Callable[..., Settings]


async def test_the_lowest_cap_counts(producer: Producer, redis: Redis, settings: Make) -> None:
    """Of the route's 400, the job's 200 and the quota's 300: with what each call may take at most, they differ."""
    route = {"max_output_tokens": 400}
    plain, bounded = settings(route=route), settings(route=route, quotas={"tenant:acme": {"max_output_tokens": 300}})
    jobs = [await producer.enqueue(ASKED), await producer.enqueue(ASKED, max_output_tokens=200)]
    await work_off(plain)
    jobs.append(await producer.enqueue(ASKED))
    await work_off(bounded)
    held = [orjson.loads((await redis.hget(keys.journal(job.id), "1.1.1")) or b"{}")["held_tokens"] for job in jobs]
    assert [tokens - min(held) for tokens in held] == [200, 0, 100]


async def test_a_worker_tells_producers_the_quotas_of_its_configuration(producer: Producer, settings: Make) -> None:
    """From its start on they hold for producers that know nothing of it."""
    await producer.enqueue(ASKED)
    await work_off(settings(quotas={"tenant:*": {"requests_per_min": 1}}))
    await producer.enqueue(ASKED)
    with pytest.raises(RateLimitedError):
        await producer.enqueue(ASKED)


@pytest.mark.parametrize(("scope", "what"), [("acme", "name tenant:NAME"), ("tenant:acme", "bounds nothing")])
def test_a_quota_for_nobody_or_of_nothing_is_refused(scope: str, what: str) -> None:
    """The message names the key, and what may stand there."""
    with pytest.raises(ConfigurationError, match=what):
        Quotas({scope: Quota(requests_per_min=1) if scope == "acme" else Quota()})
