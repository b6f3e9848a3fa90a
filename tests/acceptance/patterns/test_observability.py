"""Observability: for every job the ledger's rows, one for each call, sum to the totals of its result."""

import asyncio
from collections import defaultdict

from penstock import Classify, Extract, Producer, Summarize
from penstock.books import entries
from penstock_schemas.ledger import LedgerEntry, read_entry
from penstock_schemas.results import BUCKETS
from penstock_simulator.simulator import Simulator
from tests.acceptance.conftest import StartWorker

FAULTS = ["", "status", "length", "empty", "usage-missing", "cut-last", "wrong-schema", "refusal"]
SCHEMA = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}


def text_with(fault: str, text: str) -> str:
    """One that the simulator answers with this fault the first time; "": as it should."""
    return f"[[simulate: {fault} times=1]] {text} Total 12." if fault else f"{text} Total 12."


async def test_the_rows_of_every_job_sum_to_its_results_totals(
    producer: Producer, simulator: Simulator, start_worker: StartWorker
) -> None:
    """Cost, uncertain cost, calls and tokens by bucket; and each row says who, what, when and for whom."""
    start_worker(breaker=False)
    asked: list[Summarize | Extract] = [
        Summarize(text=text_with(fault, f"Mail {n}.")) for n, fault in enumerate(FAULTS)
    ]
    asked += [  # of an own text each: a fault comes once for a text, whoever asks first; no fallback finds the total
        Extract(text=text_with(fault, f"Bill {n}."), schema=SCHEMA)
        for n, fault in enumerate(FAULTS)
        if fault != "refusal"
    ]
    jobs = await producer.enqueue_many([*asked, Classify(text="A mail.", labels=["mail", "news"])], user="ann")
    results = await asyncio.gather(*(job.result(timeout_s=60) for job in jobs))
    rows: dict[str, list[LedgerEntry]] = defaultdict(list)
    async for page in entries(producer.link):
        for entry_id, row in page:
            entry = read_entry(entry_id, row)
            rows[entry.job].append(entry)
    for job, result in zip(jobs, results, strict=True):
        of_job = rows[job.id]
        assert len(of_job) == result.calls
        assert sum(row.cost_nanousd or 0 for row in of_job) == result.cost_nanousd
        assert sum(row.uncertain_nanousd for row in of_job) == result.uncertain_nanousd
        for bucket in BUCKETS:
            told = sum(getattr(row.tally, bucket) for row in of_job)
            assert told == (getattr(result.usage, bucket) or 0)
    for row in (row for of_job in rows.values() for row in of_job):
        assert (row.tenant, row.user, row.target) == ("acme", "ann", "openai/gpt-4o-mini")
        assert row.prompt and row.run == 1 and row.attempt >= 1
        assert row.sent_at_ms and row.sent_at_ms <= row.at_ms + 1000
        assert row.held_nanousd and row.billed in ("yes", "no", "unknown")
        assert row.price if row.billed != "no" else row.cost_nanousd == 0
        assert row.model or row.error
    told_ids = {row.request_id for of_job in rows.values() for row in of_job if row.kind == "answered"}
    assert told_ids <= {call.id for call in simulator.calls()}
