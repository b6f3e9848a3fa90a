"""Sums of the ledger, in the library and by the command."""

import csv
import io
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from penstock import Producer, Summarize, read_costs
from penstock.costs import COST_KEYS
from penstock_schemas import keys
from penstock_schemas.prices import PriceRow
from penstock_schemas.results import moment
from tests.integration.cli.conftest import Command, called
from tests.integration.cli.test_output import on_terminal
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


async def test_a_terminal_gets_bars_that_fit(redis_url: str, tmp_path: Path, ledger: None) -> None:
    """In blocks where the locale has them, else in ASCII; no colour where none is wanted; no bar without room."""
    for changes, mark in (({}, "█"), ({"PYTHONIOENCODING": "ascii"}, "#")):
        text = on_terminal(redis_url, tmp_path, "costs", "--by", "tenant", NO_COLOR="1", COLUMNS="110", **changes)
        assert "\x1b[3" not in text
        rows = [line for line in text.splitlines() if line.startswith(("default", "rival"))]
        assert [mark in line for line in rows] == [True, False] or mark == "#"
        assert all(len(line) <= 110 for line in rows)
    assert "█" not in on_terminal(redis_url, tmp_path, "costs", "--by", "tenant", COLUMNS="60")


ROW = PriceRow(
    ref="openai/gpt-4o-mini",
    source="configuration",
    usd_per_mtok={"input_tokens": Decimal("0.15"), "output_tokens": Decimal("0.0005")},
)


async def test_a_charge_is_explained_to_the_last_nano_dollar(
    command: Command, producer: Producer, worker: HandWorker, redis: Redis
) -> None:
    """Tokens by rate, what rounding adds, the row and where it is from; for one job of any tenant."""
    job = await producer.enqueue(Summarize(text="Words."))
    lease = await worker.claim_one()
    worker.store.prices.note(ROW)
    await called(worker, lease, "1.1.1", kind="answered", cost=15_010, price=ROW.digest)
    await called(worker, lease, "1.1.2", kind="unknown", cost=0, uncertain=500)
    ended = command("costs", "explain", job.id)
    assert ended.code == 0
    lines = [" ".join(line.split()) for line in ended.out.splitlines()]
    assert lines[0] == f"job {job.id}: $0.00001501 + at most $0.0000005 uncertain in 2 calls"
    assert lines[2:4] == ["input 100 x 150 = 15,000 nano-USD", "output 20 x 0.5 = 10 nano-USD"]
    assert f"price {ROW.digest}: openai/gpt-4o-mini in the configuration" in lines[4]
    assert "nobody saw its end" in ended.out
    (told,) = command("costs", "explain", job.id, "--json").objects
    assert sum(Decimal(part["nanousd"]) for part in told["calls"][0]["parts"]) == 15_010
    assert (told["cost_usd"], told["calls"][1]["uncertain_usd"]) == ("0.00001501", "0.0000005")
    await redis.delete(keys.record(job.id), keys.journal(job.id))
    assert command("costs", "explain", job.id).out.startswith(lines[0])
    assert command("costs", "explain", job.id, "--tenant", "rival").code == 1
    assert command("costs", "explain", "0" * 32).code == 1


async def test_a_sum_that_does_not_add_up_is_told(command: Command, producer: Producer, worker: HandWorker) -> None:
    """The exit code says so."""
    job = await producer.enqueue(Summarize(text="Words."))
    worker.store.prices.note(ROW)
    await called(worker, await worker.claim_one(), kind="answered", cost=15_012, price=ROW.digest)
    assert command("costs", "explain", job.id).code == 1
