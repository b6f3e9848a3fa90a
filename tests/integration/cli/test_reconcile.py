"""`penstock costs reconcile`: what it prints, what it writes, and how it ends."""

import json
from pathlib import Path

from redis.asyncio import Redis

from penstock import Producer, Summarize
from tests.integration.cli.conftest import Command, called
from tests.support.jobs import HandWorker, dump


async def test_a_bill_is_compared_and_settles_what_was_in_doubt(
    command: Command, producer: Producer, worker: HandWorker, redis: Redis, tmp_path: Path
) -> None:
    """Without --resolve nothing is written; with it once; then there is no difference."""
    await producer.enqueue(Summarize(text="Words."))
    lease = await worker.claim_one()
    await called(worker, lease, "1.1.1", kind="answered", cost=1_000)
    await called(worker, lease, "1.1.2", kind="unknown", cost=0, uncertain=5_000)
    file = tmp_path / "usage.csv"
    rows = [f"{lease.job_id}:1.1.{n},1700000000,gpt-4o-mini,{cost}" for n, cost in ((1, "0.000001"), (2, "0.000003"))]
    file.write_text("\n".join(["call,time,model,cost_usd", *rows]) + "\n")
    before = await dump(redis)
    looked = command("costs", "reconcile", str(file))
    assert looked.code == 1
    row = ["2023-11-14", "gpt-4o-mini", "2", "2", "0.000001", "0.000005", "0.000004", "0.000003"]
    assert looked.out.rstrip("\n").split("\t") == row
    assert "1 calls in doubt are told by the bill: 1 billed, $0.000003" in looked.err
    assert await dump(redis) == before
    settled = command("costs", "reconcile", str(file), "--resolve", "--json")
    assert settled.code == 0
    assert settled.objects[-1] == {"kind": "total", "settled": 1, "difference_usd": "0"}
    before = await dump(redis)
    again = command("costs", "reconcile", str(file), "--resolve")
    assert (again.code, "0 calls settled" in again.err, "no difference" in again.err) == (0, True, True)
    assert await dump(redis) == before
    assert json.loads(command("costs", "--json").out)["cost_usd"] == "0.000004"


async def test_what_cannot_be_read_is_wrong_usage(command: Command, tmp_path: Path) -> None:
    """Said in a line that names it."""
    assert command("costs", "reconcile", "nowhere.csv").code == 2
    file = tmp_path / "usage.csv"
    file.write_text("time,model,cost_usd\nyesterday,m,1\n")
    ended = command("costs", "reconcile", str(file))
    assert (ended.code, "line 2" in ended.err) == (2, True)
    file.write_text("time,model,cost_usd\n2024-11-01,m,1\n")
    assert "--provider" in command("costs", "reconcile", str(file)).err
