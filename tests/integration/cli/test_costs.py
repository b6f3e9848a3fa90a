"""Sums of the ledger, in the library and by the command."""

import csv
import io
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from redis.asyncio import Redis

from penstock import Producer, Summarize, read_costs
from penstock.costs import COST_KEYS
from penstock_schemas import keys
from penstock_schemas.results import moment
from tests.integration.cli.conftest import Command, called
from tests.support.jobs import HandWorker

HUGE = 2**53 + 1
"""Nano-USD that a float cannot hold."""


@pytest.fixture
async def ledger(producer: Producer, other: Producer, worker: HandWorker) -> None:
    """Calls of two tenants to two targets: answered, free, of unknown price, of unknown outcome, and amended."""
    for door in (producer, other):
        await door.enqueue(Summarize(text="Words."))
    mine, theirs = sorted(await worker.claim(2), key=lambda lease: lease.tenant)
    await called(worker, mine, "1.1.1", kind="answered", cost=HUGE)
    await called(worker, mine, "1.1.2", kind="answered", cost=1, target="anthropic/haiku")
    await called(worker, mine, "1.1.3", kind="answered", cost=None)
    await called(worker, theirs, "1.1.1", kind="unknown", cost=0, uncertain=500)
    await called(worker, theirs, "1.1.2", kind="unknown", cost=0, uncertain=300)
    await called(worker, theirs, "1.1.2", kind="answered", cost=70)


async def test_sums_are_exact_and_uncertain_stands_apart(producer: Producer, ledger: None) -> None:
    """A call that was unknown and is known by now counts once, with what it cost."""
    acme, rival = await read_costs(producer, "tenant")
    assert (acme.key, acme.calls, acme.cost_nanousd, acme.uncertain_nanousd) == ("default", 3, HUGE + 1, 0)
    assert (acme.unpriced_calls, acme.tokens["input_tokens"]) == (1, 300)
    assert (rival.key, rival.calls, rival.cost_nanousd, rival.uncertain_nanousd) == ("rival", 2, 70, 500)


async def test_every_key_sums_to_the_same(producer: Producer, ledger: None) -> None:
    """However the calls are grouped."""
    for by in COST_KEYS:
        lines = await read_costs(producer, by)
        assert sum(line.cost_nanousd for line in lines) == HUGE + 71
        assert sum(line.calls for line in lines) == 5
    assert [line.key for line in await read_costs(producer, "model")] == ["anthropic/haiku", "openai/gpt-4o-mini"]
    assert [line.key for line in await read_costs(producer, "prompt", tenant="rival")] == ["summarize@1"]


async def test_times_bound_the_sums(producer: Producer, redis: Redis) -> None:
    """A ledger of more than a page, an entry a day."""
    day_ms = 86_400_000
    for day in range(1, 1_201):
        fields: dict[Any, Any] = {"job": "j", "call": day, "kind": "answered", "cost_nanousd": day, "tenant": "t"}
        await redis.xadd(keys.LEDGER, fields, id=f"{day * day_ms}-0")
    assert sum(line.cost_nanousd for line in await read_costs(producer)) == sum(range(1, 1_201))
    first, last = moment(10 * day_ms), moment(12 * day_ms)
    lines = await read_costs(producer, since=first, until=last)
    assert [(line.key, line.cost_nanousd) for line in lines] == [
        ("1970-01-11", 10),
        ("1970-01-12", 11),
        ("1970-01-13", 12),
    ]
    assert await read_costs(producer, since=last + timedelta(days=2_000)) == []


async def test_the_command_gives_strings_of_dollars(command: Command, ledger: None) -> None:
    """As JSON, as CSV and tab-separated; of one tenant when it is named."""
    exact = str(Decimal(HUGE + 1).scaleb(-9))
    acme, rival = command("costs", "--by", "tenant", "--json").objects
    assert (acme["tenant"], acme["cost_usd"], acme["unpriced_calls"]) == ("default", exact, 1)
    assert (rival["cost_usd"], rival["uncertain_usd"]) == ("0.00000007", "0.0000005")
    rows = list(csv.DictReader(io.StringIO(command("costs", "--by", "tenant", "--csv").out)))
    assert [(row["tenant"], row["cost_usd"]) for row in rows] == [("default", exact), ("rival", "0.00000007")]
    assert command("costs", "--by", "tenant", "--tenant", "rival").out.split("\t")[:3] == ["rival", "2", "0.00000007"]
    assert command("costs", "--since", "1m", "--until", "0s", "--by", "task").out.startswith("summarize\t5\t")
    assert command("costs", "--until", "2020-01-01").out == ""
