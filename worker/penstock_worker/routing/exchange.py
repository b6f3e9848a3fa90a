"""A loop that tells the other workers what this one has seen of its models' tokens, and hears what they have.

It looks at the accounts too: one that is closed, for a refused key or an empty account, is told in the log and is why
the worker is not ready, until it is mended. One round trip in five seconds; no call waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import orjson
import structlog
from redis.exceptions import RedisError

from penstock_store.batcher import Batcher, Encodable
from penstock_store.scripts import load_script
from penstock_worker.routing.tokens import FORGET_AFTER, Cell, Kind, Seen, TokenEstimates

log = structlog.get_logger("penstock.worker")

EVERY_S = 5.0
KEPT_S = 7 * 86_400.0
"""How long what was seen of a model is kept that is not called any more."""

_EXCHANGE = load_script("penstock_worker.routing", "exchange")


class Exchange:
    """One for a process. *concern* is called with why the worker is not well, or None, when that changes."""

    def __init__(
        self, batcher: Batcher, tokens: TokenEstimates, targets: Iterable[str], concern: Callable[[str | None], None]
    ) -> None:
        self._batcher, self._tokens, self._concern = batcher, tokens, concern
        self._targets = sorted(targets)
        self._accounts = sorted({target.partition("/")[0] for target in self._targets})
        self.closed: frozenset[str] = frozenset()
        """Accounts that are closed."""

    async def run(self) -> None:
        """Exchange until cancelled; while Redis is away it keeps what was seen, within bounds."""
        while True:
            try:
                await self.once()
            except (RedisError, OSError) as error:
                log.debug("exchange_failed", error=type(error).__name__)
            await asyncio.sleep(EVERY_S)

    async def once(self) -> None:
        """Tell and hear once. Raises redis-py's errors; what was to be told is then lost to the others."""
        told = {"accounts": self._accounts, "targets": _told(self._targets, self._tokens.untold())}
        args: list[Encodable] = [orjson.dumps(told), FORGET_AFTER, round(KEPT_S * 1000)]
        reply = orjson.loads(await self._batcher.call(_EXCHANGE, [], args))
        self._tokens.replace(_heard(reply["seen"]))
        self._note(frozenset(reply["closed"]))

    def _note(self, closed: frozenset[str]) -> None:
        if closed == self.closed:
            return
        for account in sorted(closed - self.closed):
            log.error("account_closed", account=account, why="its key is refused, or it has no credit")
        for account in sorted(self.closed - closed):
            log.info("account_open", account=account)
        self.closed = closed
        names = ", ".join(sorted(closed))
        self._concern(f"closed for a refused key or for want of credit: {names}" if closed else None)


def _told(targets: Sequence[str], untold: Mapping[Cell, Seen]) -> dict[str, dict[str, list[int]]]:
    rows: dict[str, dict[str, list[int]]] = {target: {} for target in targets}
    for (target, kind, size), seen in untold.items():
        rows.setdefault(target, {})[f"{kind}:{size}"] = [seen.calls, seen.highest]
    return rows


def _heard(seen: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[Cell, Seen]]:
    for target, fields in seen.items():
        for field, numbers in fields.items():
            kind, _, size = field.partition(":")
            if kind in ("words", "dense", "wide") and size.isdigit():
                yield (target, cast(Kind, kind), int(size)), Seen(*numbers)
