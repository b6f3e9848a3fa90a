"""Every fault that the simulator knows, for every task: the exact end, the number of calls, the cost to the nano-USD.

A row says what a job with one attempt and no fallback comes to. Whatever a provider does, a job never ends as ``ok``
on a broken answer, and what may have been billed is never free.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from redis.asyncio import Redis

from penstock import Classify, Extract, Producer, Summarize
from penstock_schemas.jobs import JobStatus
from penstock_schemas.tasks import TaskInput
from penstock_simulator.bill import BilledCall
from penstock_simulator.faults import FAULTS
from penstock_simulator.simulator import Simulator
from penstock_worker.settings import Settings
from tests.support.workers import work_off

TIGHT = {"connect_s": 2.0, "first_content_s": 2.0, "content_idle_s": 1.2, "whole_call_s": 3.0}
"""For the faults that are too slow; the others get a minute, so that a busy machine is none."""
SCHEMA = {
    "type": "object",
    "properties": {"total": {"type": "number"}, "name": {"type": "string"}},
    "required": ["total", "name"],
    "additionalProperties": False,
}
TEXT = (
    "Invoice 8812 of 3 May 2024. Total: 120.50 EUR. Name: Jane Miller. The wheel of the mill was repaired, and the "
    "sluice was cleaned of all that the spring flood had left. Please pay within ten days to the account below. "
)

Cost = Literal["free", "known", "estimated", "held", "mixed", "beyond"]
"""Surely not billed; billed and known exactly; billed and bounded; perhaps billed, and held at the most it can be; of
two calls one known and one held; held, and charged for more tokens than the call allowed."""


@dataclass(frozen=True)
class Row:
    """What a job comes to. *error* None: it succeeds."""

    error: str | None = None
    calls: int = 1
    cost: Cost = "known"
    final: bool = False
    """A later attempt cannot go better: the error itself is the reason of the dead letter."""
    repairs: tuple[str, ...] = ()
    only: tuple[str, ...] = ("summarize", "classify", "extract")
    """The tasks in which the fault is one."""
    suspect_usage: bool = False
    spec: dict[str, Any] = field(default_factory=dict)


def bad(error: str, cost: Cost = "known", **options: Any) -> Row:
    """An answer that was paid for, asked for once more, and is no better."""
    return Row(error, calls=2, cost=cost, **options)


GOOD = Row()
ALONE = {"enabled": False, "access_refused": "fail"}
ROWS: dict[str, Row] = {
    # Refused before any work.
    "status": Row("server_error", cost="free"),
    "overloaded": Row("overloaded", cost="free"),
    "quota": Row("quota_exhausted", cost="free", final=True),
    "invalid-key": Row("auth_failed", cost="free", final=True),
    "model-not-found": Row("model_not_found", cost="free", final=True),
    "context-length": Row("context_too_long", cost="free", final=True),
    "content-policy": Row("content_filtered", cost="free", final=True),
    "schema-unsupported": Row("schema_unsupported", calls=2, cost="free", final=True),
    "redirect": Row("redirected", cost="free", final=True),
    # Stopped for another reason than being done.
    "refusal": Row("refused", final=True),
    "content-filter": Row("content_filtered", final=True),
    "length": bad("cut_off"),
    "reasoning-only": bad("cut_off"),
    "whitespace": bad("cut_off"),
    "repetition": bad("cut_off"),
    # Whole, and no answer.
    "empty": bad("empty_answer"),
    "null": bad("empty_answer"),
    "two-objects": bad("bad_output"),
    "cut-json": bad("bad_response"),
    "nan": bad("bad_output"),
    "duplicate-keys": bad("bad_output"),
    "wrong-schema": bad("bad_output"),
    "wrong-type": bad("bad_output"),
    "missing-key": bad("bad_output"),
    "extra-key": bad("bad_output"),
    "deep-json": bad("bad_output", "estimated"),
    "big-string": bad("result_too_large", "estimated"),
    "wrong-label": bad("bad_output", only=("classify",)),
    "label-case": bad("bad_output", only=("classify",)),
    "label-dot": bad("bad_output", only=("classify",)),
    "label-homoglyph": bad("bad_output", only=("classify",)),
    # Mended, and said so.
    "fences": Row(repairs=("code_fence",)),
    "prose": Row(repairs=("prose_around",)),
    "bad-json": Row(repairs=("quotes", "trailing_comma")),
    # Good answers with false figures.
    **{
        f"usage-{name}": Row(cost="estimated", suspect_usage=True)
        for name in ("missing", "null", "negative", "string", "float", "nan", "huge", "over")
    },
    "usage-unequal": Row(cost="estimated"),
    # Not an answer in the wire format; the work may have been done.
    **{
        name: Row("bad_response", cost="held")
        for name in ("no-choices", "html", "empty-body", "not-json", "cut-body", "bad-utf8", "trailing", "not-http")
    },
    "error-in-200": Row("server_error", cost="held"),
    "error-in-stream": Row("server_error", cost="held"),
    "gzip-bomb": Row("response_too_large", cost="held", final=True),
    "huge-body": Row("response_too_large", cost="held", final=True, spec={"mib": 8}),
    "long-header": Row("bad_response", cost="held"),
    "endless-headers": Row("bad_response", cost="held", spec={"count": 2000}),
    # Too slow, or gone.
    **{
        name: Row("timeout_call", cost="held")
        for name in ("delay", "hang", "hang-headers", "comments-only", "endless-events")
    },
    "hang-middle": Row("timeout_idle", cost="held"),
    "drip": Row("timeout_idle", cost="held", spec={"bytes_per_s": 0.5}),
    **{
        name: Row("connection_lost", cost="held")
        for name in ("short-body", "cut-before", "cut-lost", "cut-headers", "cut-middle", "cut-last")
    },
}
for name in (
    *("usage-early", "duplicate-events", "unknown-events", "other-model", "content-type", "set-cookie", "header"),
    *("comments", "crlf", "split-bytes", "no-done", "no-finish", "swapped-events", "slow-events"),
):
    ROWS[name] = GOOD  # odd, and none of our business
ROWS["delay"] = Row("timeout_call", cost="held", spec={"seconds": 4})

ROWS["comments-only"] = Row("timeout_call", cost="held", spec={"every": "300ms"})

STREAMED: dict[str, Row] = {
    # Where a stream shows it earlier, or otherwise.
    **{
        name: Row("timeout_first_content", cost="held")
        for name in ("delay", "hang", "hang-headers", "comments-only", "endless-events", "drip", "slow-events")
    },
    "no-choices": Row("unknown_stop_reason"),
    "no-done": Row("stream_broken"),
    "no-finish": Row("stream_broken", cost="held"),
    "cut-middle": Row("stream_broken", cost="held"),
    "swapped-events": Row("bad_response", cost="held"),
    "whitespace": Row("degenerate", cost="beyond"),
    "big-string": Row("degenerate", cost="beyond"),
    "short-body": GOOD,
    "trailing": GOOD,
    "cut-last": GOOD,
}
STREAMED["delay"] = Row("timeout_first_content", cost="held", spec={"seconds": 4})

OF_TEXT = {"cut-text", "copy-input", "injected"}
"""What they do to a text is for the tasks' own tests; a throttle is in the tests of waiting."""
THROTTLES = {"rate-limit", "slow-down"}
OTHER_FORMATS = {"tool-call"}
"""There is no such fault in OpenAI's wire format."""


def test_every_fault_has_a_row() -> None:
    """A fault that the simulator learns is one that a row must be written for."""
    assert set(FAULTS) == set(ROWS) | OF_TEXT | THROTTLES | OTHER_FORMATS


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("task", ["summarize", "classify", "extract"])
async def test_each_fault_ends_in_its_own_way(
    task: str, stream: bool, producer: Producer, redis: Redis, simulator: Simulator, settings: Callable[..., Settings]
) -> None:
    """State, reason, calls and cost are those of the row, in the job, in the ledger and in the provider's bill."""
    rows = ROWS | (STREAMED if stream else {})
    jobs = {}
    for slow in (True, False):
        for name, row in rows.items():
            if task in row.only and slow == (row.error or "").startswith("timeout"):
                jobs[name] = await producer.enqueue(
                    asked(task, name, row), max_attempts=1, on_failure="dead_letter", stream=stream
                )
        limits = TIGHT if slow else {}
        await work_off(settings(limits=limits, route={"max_output_tokens": 300}, breaker=ALONE))

    ledger = await ledger_of(redis)
    bill = bill_of(simulator)
    faults = []
    for name, job in jobs.items():
        told = what_is_wrong(rows[name], await job.status(), ledger.get(job.id, []), bill.get(job.id, []))
        faults += [f"{name}: {fault}" for fault in told]
    assert not faults, "\n".join(faults)


def asked(task: str, fault: str, row: Row) -> TaskInput[Any]:
    """The task's input whose text asks for the fault."""
    spec = " ".join([fault, *(f"{name}={value}" for name, value in row.spec.items())])
    text = f"{TEXT}[[simulate: {spec}]]"
    if task == "summarize":
        return Summarize(text=text, max_words=40)
    if task == "classify":
        return Classify(text=text, labels={"billing": "invoice, pay, account", "bug": "crash, error"})
    return Extract(text=text, schema=SCHEMA)


def what_is_wrong(row: Row, job: JobStatus, ledger: list[dict[str, str]], bill: list[BilledCall]) -> list[str]:
    """In what the job differs from its row, and the books from each other."""
    wrong = list(_end_wrong(row, job)) + list(_cost_wrong(row, ledger, bill))
    if job.calls != row.calls or len(ledger) != row.calls:
        wrong.append(f"{job.calls} calls, {len(ledger)} in the ledger, expected {row.calls}")
    if job.attempts != 1:
        wrong.append(f"{job.attempts} attempts")
    return wrong


def _end_wrong(row: Row, job: JobStatus) -> list[str]:
    if row.error is not None:
        reason = row.error if row.final else "attempts_exhausted"
        if job.failure is None or (job.failure.code, job.failure.last_error) != (reason, row.error):
            return [f"{job.state}, {job.failure or job.result}"]
        return []
    if job.result is None:
        return [f"{job.state}, {job.failure}"]
    quality = "repaired" if row.repairs else "ok"
    if (job.result.quality, job.result.reasons) != (quality, row.repairs):
        return [f"{job.result.quality} {job.result.reasons}"]
    return ["usage is not marked"] if row.suspect_usage and not job.result.usage.suspect else []


def _cost_wrong(row: Row, ledger: list[dict[str, str]], bill: list[BilledCall]) -> list[str]:
    cost = sum(int(entry["cost_nanousd"]) for entry in ledger)
    held = sum(int(entry["uncertain_nanousd"]) for entry in ledger)
    charged = sum(price_nanousd(call) for call in bill if call.billed)
    right = {
        "free": cost == held == charged == 0,
        "known": cost == charged > 0 and held == 0,
        "estimated": cost > 0 and held == 0,
        "held": cost == 0 and held >= charged and held > 0,
        "mixed": cost > 0 and held > 0 and cost + held >= charged,
        "beyond": cost == 0 and held > 0,
    }[row.cost]
    return [] if right else [f"cost {cost}, held {held}, charged {charged}: not {row.cost}"]


def price_nanousd(call: BilledCall) -> int:
    """What gpt-4o-mini charges, reckoned here a second time: 0.15, 0.075 (cached) and 0.60 USD per million tokens."""
    return call.uncached_input_tokens * 150 + call.cached_input_tokens * 75 + call.output_tokens * 600


async def ledger_of(redis: Redis) -> dict[str, list[dict[str, str]]]:
    """The ledger's entries by job."""
    entries: dict[str, list[dict[str, str]]] = {}
    for _, raw in await redis.xrange("penstock:ledger"):
        entry = {name.decode(): value.decode() for name, value in raw.items()}
        entries.setdefault(entry["job"], []).append(entry)
    return entries


def bill_of(simulator: Simulator) -> dict[str, list[BilledCall]]:
    """The provider's calls by job."""
    return bill_by_job(simulator.calls())


def bill_by_job(made: Sequence[BilledCall]) -> dict[str, list[BilledCall]]:
    """Calls by job."""
    calls: dict[str, list[BilledCall]] = {}
    for call in made:
        job_id = re.split(":", call.caller_id or "")[0]
        calls.setdefault(job_id, []).append(call)
    return calls
