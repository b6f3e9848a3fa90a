"""Writing what a bill tells of calls: each once."""

from __future__ import annotations

import secrets

import orjson

from penstock.dead_letters import this_user
from penstock.producer import Producer
from penstock.reconciling import Call, Comparison, Verdict, tokens_of
from penstock_schemas.results import BUCKETS
from penstock_store.batcher import Encodable
from penstock_store.scripts import load_script

_RESOLVE = load_script("penstock", "resolve")
_AT_ONCE = 50


async def settle(producer: Producer, found: Comparison, *, correct: bool = False, who: str | None = None) -> int:
    """Write what the bill tells of calls in doubt, with *correct* of the others too; how many were written now.

    *who* is noted in the audit stream; None: the user of this process and its machine. A repeat writes nothing: what is
    settled is in doubt no more, and a call in no doubt is corrected once. Raises UnavailableError; what was written by
    then stays, and a repeat writes the rest.
    """
    verdicts = [*found.verdicts, *(found.corrections if correct else [])]
    about: list[Encodable] = [who or this_user(), secrets.token_hex(8), found.bill.label]
    settled = 0
    for at in range(0, len(verdicts), _AT_ONCE):
        args = [part for verdict in verdicts[at : at + _AT_ONCE] for part in _args(verdict)]
        settled += sum(await producer.link.call(_RESOLVE, [], [*about, *args]))
    return settled


def _args(verdict: Verdict) -> list[Encodable]:
    call = verdict.call
    told = b"" if call.doubtful else orjson.dumps(_known(call))
    request_id = (call.line.request_id if call.line else None) or ""
    billed = "yes" if verdict.billed else "no"
    amounts: list[Encodable] = [verdict.cost_nanousd, verdict.price or "", request_id, *tokens_of(verdict.usage)]
    return [call.id, told, billed, *amounts]


def _known(call: Call) -> dict[str, object]:
    """What the ledger has of a call that is in no doubt, as a doubt would have it."""
    it = call.entry
    fields = {
        "tenant": it.tenant,
        "user": it.user,
        "task": it.task,
        "target": it.target,
        "prompt": it.prompt,
        "purpose": it.purpose,
        "held_nanousd": it.held_nanousd,
        "sent_at_ms": it.sent_at_ms,
        "prices": it.prices,
        "model": it.model,
        "service_tier": it.tier,
        "first_content_ms": it.first_content_ms,
        "took_ms": it.took_ms,
        "budgets": " ".join(it.budgets),
        "request_id": it.request_id,
        "orphan": int(it.orphan),
    }
    tokens = sum(getattr(call.counts, bucket) for bucket in BUCKETS)
    return {
        "first": call.first,
        "was": call.counts.text,
        "tokens": str(tokens),
        "tokens_uncertain": "0",
        "fields": {name: str(value) for name, value in fields.items() if value not in (None, "")},
    }
