"""The checker finds nothing in what is right, and each fault in what is wrong."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from penstock import Producer, Summarize
from tests.drills import checker
from tests.drills.verdict import Verdict

ACCEPTED = ["good", "dead", "replayed"]


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def bill(tmp_path: Path) -> Path:
    path = tmp_path / "bill.jsonl"
    calls = [("good", "1.1.1"), ("dead", "1.1.1"), ("dead", "1.2.1"), ("replayed", "1.1.1"), ("replayed", "2.1.1")]
    about = {"model": "gpt-4o-mini", "visible_output_tokens": 1}  # 600 nano-USD
    more = {"good": {"cached_input_tokens": 0, "uncached_input_tokens": 0, "reasoning_tokens": 0, **about}}
    rows = [
        {"id": str(number), "caller_id": f"{job}:{call}", "billed": job != "dead", **more.get(job, {})}
        for number, (job, call) in enumerate(calls)
    ]
    first = {"id": "0", "caller_id": "good:1.1.1", "billed": False}
    path.write_text("".join(json.dumps(row) + "\n" for row in [first, *rows]) + '{"id": "cut sh')
    return path


@pytest.fixture
def quiet(client: redis.Redis) -> redis.Redis:
    """Three jobs that ended as they should: one at once, one dead, one replayed after its first call was lost."""
    write_job(client, "good", ["succeeded"], {"result": "{}", "cost_nanousd": 600})
    write_call(client, "good", "1.1.1", "answered", 600, 0)
    write_job(client, "dead", ["dead"], {"failure": "{}"})
    for call in ("1.1.1", "1.2.1"):
        write_call(client, "dead", call, "failed", 0, 0)
    write_job(client, "replayed", ["dead", "degraded"], {"result": "{}", "cost_nanousd": 50, "uncertain_nanousd": 900})
    write_call(client, "replayed", "1.1.1", "unknown", None, 900)
    write_call(client, "replayed", "2.1.1", "unknown", None, 60)
    write_call(client, "replayed", "2.1.1", "answered", 50, 0, amends=True)
    client.hset("penstock:counts", mapping={"open": 0, "running": 0, "succeeded": 1})
    client.hset("penstock:budget:global:day:1", mapping={"spent": 650, "uncertain": 900, "held": 0})
    return client


def write_job(client: redis.Redis, job_id: str, ends: list[str], more: dict[str, str | int]) -> None:
    record = {"state": ends[-1], "run": len(ends), "ended_at": 5, **more}
    client.hset(f"penstock:job:{job_id}", mapping=record)
    client.set(f"penstock:request:{job_id}", "{}")
    for run, state in enumerate(ends, start=1):
        for kind in ("running", "progress", state):
            client.xadd(f"penstock:events:{job_id}", {"type": kind, "run": run, "at": 1, "data": "{}"})
    if ends[-1] in ("dead", "degraded"):
        client.zadd(f"penstock:{ends[-1]}", {job_id: 5})
    for kind in ("job", "request", "events"):
        client.pexpire(f"penstock:{kind}:{job_id}", 60_000)


def write_call(
    client: redis.Redis, job_id: str, call: str, kind: str, cost: int | None, uncertain: int, amends: bool = False
) -> None:
    client.hset(f"penstock:journal:{job_id}", mapping={call: "{}", f"{call}:end": f"{kind} {{}}"})
    client.pexpire(f"penstock:journal:{job_id}", 60_000)
    entry = {"job": job_id, "call": call, "kind": kind, "cost_nanousd": "" if cost is None else cost}
    ledger: Any = client.xrange("penstock:ledger")
    known = [entry_id for entry_id, row in ledger if (row["job"], row["call"]) == (job_id, call)]
    first = known[0] if amends else "0"
    client.xadd("penstock:ledger", {**entry, "uncertain_nanousd": uncertain, "orphan": 0, "amends": first})


def test_what_is_right_has_no_faults(quiet: redis.Redis, bill: Path) -> None:
    """Replays, dead letters and amended calls are as they should be."""
    assert checker.faults(checker.read(quiet, ACCEPTED, bill)) == []


SPOILERS: list[tuple[Callable[[redis.Redis], object], str]] = [
    (lambda c: c.delete("penstock:job:good"), "every_accepted_job_ended: good is without a record"),
    (lambda c: c.hset("penstock:job:good", "state", "running"), "every_accepted_job_ended: good is running"),
    (lambda c: write_job(c, "ghost", ["cancelled"], {}), "no_job_came_from_nowhere: ghost"),
    (lambda c: c.hdel("penstock:job:good", "result"), "an_end_has_what_belongs_to_it: good"),
    (lambda c: c.hdel("penstock:job:dead", "failure"), "an_end_has_what_belongs_to_it: dead"),
    (lambda c: c.xadd("penstock:events:good", {"type": "succeeded", "run": 1}), "each_run_ended_once: good ended by"),
    (lambda c: c.hset("penstock:job:good", "state", "cancelled"), "each_run_ended_once: good is cancelled"),
    (lambda c: c.set("arq:in-progress:good", "token", px=60_000), "nothing_of_an_ended_job_is_live: arq:in-prog"),
    (lambda c: c.zadd("penstock:q:bulk:acme", {"good": 1}), "nothing_of_an_ended_job_is_live: good is left"),
    (lambda c: c.persist("penstock:events:good"), "no_key_is_kept_for_ever: penstock:events:good"),
    (lambda c: c.set("penstock:surprise", 1), "no_key_is_kept_for_ever: penstock:surprise"),
    (lambda c: c.hset("penstock:counts", "open", 1), "counts_are_those_of_the_records: open counts 1"),
    (lambda c: c.zrem("penstock:dead", "dead"), "indexes_list_what_is_there: dead is not listed as dead"),
    (lambda c: c.zadd("penstock:degraded", {"good": 1}), "indexes_list_what_is_there: good is listed as degraded"),
    (lambda c: c.hset("penstock:journal:good", "1.2.1", "{}"), "every_intent_has_an_end: call 1.2.1 of good"),
    (lambda c: write_call(c, "good", "1.1.1", "answered", 0, 0), "the_ledger_has_each_call_once: call 1.1.1 of good"),
    (lambda c: c.hset("penstock:job:good", "cost_nanousd", 1), "the_ledger_is_the_sum_of_the_jobs: good cost 1"),
    (lambda c: c.hdel("penstock:job:replayed", "uncertain_nanousd"), "the_ledger_is_the_sum_of_the_jobs: replayed"),
    (lambda c: c.hset("penstock:budget:tenant:acme:day:1", "held", 5), "budgets_hold_nothing: tenant:acme:day:1 still"),
    (
        lambda c: c.hset("penstock:budget:global:day:1", "spent", 5),
        "budgets_are_the_sum_of_the_ledger: the budget of all has 5 nano-USD as spent, the ledger 650",
    ),
    (
        lambda c: write_call(c, "good", "1.1.1", "answered", 1, 0, amends=True),
        "the_ledger_is_the_bill: good:1.1.1 is billed with 600 nano-USD, the ledger has 1 to 1",
    ),
    (lambda c: c.delete("penstock:ledger"), "every_billed_call_is_in_the_ledger: the provider saw good:1.1.1"),
    (
        lambda c: write_call(c, "good", "1.1.1", "answered", 0, 0, amends=True),
        "every_billed_call_is_in_the_ledger: the provider charges for good:1.1.1",
    ),
]


@pytest.mark.parametrize(("spoil", "fault"), SPOILERS, ids=[fault.split(":")[0] for _, fault in SPOILERS])
def test_each_fault_is_found(
    quiet: redis.Redis, bill: Path, spoil: Callable[[redis.Redis], object], fault: str
) -> None:
    """Spoiling one thing is seen by the check that is there for it."""
    spoil(quiet)
    found = checker.faults(checker.read(quiet, ACCEPTED, bill))
    assert [line for line in found if line.startswith(fault)], found


def test_a_call_sent_twice_is_found(quiet: redis.Redis, bill: Path) -> None:
    """The provider's bill is the truth about what was sent."""
    bill.write_text(json.dumps({"id": "a", "caller_id": "good:1.1.1"}) + "\n" + bill.read_text())
    found = checker.faults(checker.read(quiet, ACCEPTED, bill))
    assert found == ["every_billed_call_is_in_the_ledger: good:1.1.1 was sent 2 times"]


def test_every_check_has_a_spoiler() -> None:
    """A check that no test has seen fail proves nothing."""
    assert {fault.split(":")[0] for _, fault in SPOILERS} == {check.__name__ for check in checker.CHECKS}


async def test_the_product_s_own_end_of_a_job_is_right(client: redis.Redis, redis_url: str) -> None:
    """The checker spells keys and fields a second time: this is where it would notice that they have changed."""
    async with Producer.connect(redis_url, tenant="acme") as producer:
        job = await producer.enqueue(Summarize(text="A text to be summarized."), idempotency_key="one")
        assert checker.faults(checker.read(client, [job.id])) != []
        await job.cancel()
    snapshot = checker.read(client, [job.id])
    assert snapshot.record(job.id)["state"] == "cancelled"
    assert checker.faults(snapshot) == []


def test_a_verdict_holds_only_if_all_figures_do(capsys: pytest.CaptureFixture[str]) -> None:
    """And not when nothing was measured at all."""
    verdict = Verdict("drill")
    assert not verdict.passed
    verdict.at_most("calls", 10, 10)
    verdict.at_least("share", 0.99, 0.99)
    verdict.exactly("lost", 0, 0)
    verdict.none_of("faults", [])
    assert verdict.report(as_json=False) == 0
    verdict.none_of("more faults", ["job [1] is lost"])
    assert verdict.report(as_json=True) == 1
    printed = capsys.readouterr().out
    assert json.loads(printed.splitlines()[-1])["faults"] == ["job [1] is lost"]
    for spoil in (lambda v: v.at_most("calls", 11, 10), lambda v: v.at_least("share", 0.98, 0.99)):
        broken = Verdict("drill")
        spoil(broken)
        assert not broken.passed
