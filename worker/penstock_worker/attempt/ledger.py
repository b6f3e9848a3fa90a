"""What the ledger is told of a call, and the price rows that its entries name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from penstock_schemas.prices import PriceRow
from penstock_schemas.results import BUCKETS
from penstock_store.batcher import Encodable
from penstock_worker.attempt.attempt import Attempt
from penstock_worker.attempt.journal import CallEntry

SAVED = ("saved_tokens", "saved_nanousd")
"""Of a stream that was cut because it said nothing any more: what the cap allowed beyond, about."""

RENOTE_S = 300.0
"""How often a row is written again: a Redis that lost its data has it back by then."""


def ledger_fields(attempt: Attempt, entry: CallEntry, price_version: str) -> Mapping[str, Encodable]:
    """The entry's fields, the first ``estimated``; an absent one is unknown."""
    intent, end, usage = entry.intent, entry.end, entry.usage
    prompt = attempt.route.prompt or attempt.task.prompt
    fields: dict[str, Any] = {
        "estimated": int(is_estimate(entry)),
        "tenant": attempt.request.tenant,
        "user": attempt.request.user,
        "task": attempt.request.task,
        "target": intent["target"],
        "prompt": intent["prompt"],
        "route": intent.get("route"),
        "arm": intent.get("arm"),
        "prompt_digest": prompt.short_digest if prompt.name == intent["prompt"] else None,
        "purpose": intent["purpose"],
        "held_nanousd": intent["held_nanousd"],
        "sent_at_ms": intent["at_ms"],
        "prices": price_version,
        "price": end.get("price"),
        "billed": end.get("billed", "yes"),
        **{
            name: end.get(name)
            for name in ("model", "request_id", "error", "service_tier", "first_content_ms", "took_ms", *SAVED)
        },
        **({name: getattr(usage, name) for name in BUCKETS} if usage else {}),
        "suspect": int(usage.suspect) if usage else None,
    }
    if end["uncertain_nanousd"]:
        fields |= {name: intent.get(name) for name in ("held_tokens", "cap_tokens")}
    return {name: value for name, value in fields.items() if value is not None}


def is_estimate(entry: CallEntry) -> bool:
    """Whether the amount rests on figures that are not, or not all, the provider's: a bill may say otherwise.

    The figures of a stream that broke were those of the moment, and generation went on.
    """
    usage = entry.usage
    return usage is not None and (usage.suspect or usage.estimated or entry.kind == "failed")


class PriceNotes:
    """Sees to it that each row that is used is written down; *write* sends it and gives its reply."""

    def __init__(self, write: Callable[[PriceRow], asyncio.Future[Any]]) -> None:
        self._write = write
        self._noted: dict[str, float] = {}

    def note(self, row: PriceRow | None) -> None:
        """Write *row* unless that was done a while ago. What fails is done with the row's next use."""
        if row is None or self._noted.get(row.digest, -RENOTE_S) > time.monotonic() - RENOTE_S:
            return
        self._noted[row.digest] = time.monotonic()
        self._write(row).add_done_callback(partial(self._written, row.digest))

    def _written(self, digest: str, reply: asyncio.Future[Any]) -> None:
        if reply.cancelled() or reply.exception() is not None:
            self._noted.pop(digest, None)
