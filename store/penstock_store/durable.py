"""Writes that are not told to be done before they are somewhere else than in one server's memory.

Each batch is carried out on one connection and followed, on that same connection, by a write and a wait:

1. WAIT and WAITAOF cover what their own connection wrote. A reconnect in between could have led to another server, one
   that never saw the batch; so it fails the batch.
2. The write makes them cover what others wrote before, too: a call that found its job there, from an earlier try whose
   wait was in vain, waits for that job.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from penstock_schemas import keys
from penstock_schemas.errors import ConfigurationError
from penstock_store.batcher import Batcher, Encodable, LuaScript, Pending
from penstock_store.connection import DENIED, is_away

Durability = Literal["none", "replica", "fsync"]
"""When a write counts as done: when the primary has it, when a replica has it too, when it is on the primary's disk."""

DURABILITIES: tuple[Durability, ...] = ("none", "replica", "fsync")

_REPLICAS = 1
_WAITS: dict[Durability, tuple[Encodable, ...]] = {
    "replica": ("WAIT", _REPLICAS),
    "fsync": ("WAITAOF", 1, 0),
}


class DurableBatcher(Batcher):
    """A batcher whose replies are pairs: what the script said, and whether the writes reached as far as was asked.

    It waits for that for at most half of *timeout_s*. Calls then fail with ConfigurationError where the server
    cannot do it at all.
    """

    def __init__(self, redis: Redis, durability: Durability, *, timeout_s: float) -> None:
        super().__init__(redis, timeout_s=timeout_s)
        self._durability = durability
        self._wait = (*_WAITS[durability], max(1, round(timeout_s * 500)))

    async def _exchange(self, connection: AbstractConnection, batch: list[Pending]) -> None:
        inner = [_again(call.command, call.script) for call in batch]
        try:
            await super()._exchange(connection, inner)
            reached = await self._reached(connection)
        finally:
            errors = [one.reply.exception() if one.reply.done() else None for one in inner]
        for call, one, error in zip(batch, inner, errors, strict=True):
            if call.reply.done():  # who asked has gone
                continue
            if error is not None:
                call.reply.set_exception(error)
            else:
                call.reply.set_result((one.reply.result(), reached))

    async def _reached(self, connection: AbstractConnection) -> bool:
        write, wait = _again(("HINCRBY", keys.COUNTS, "waits", 1)), _again(self._wait)
        await self._round_trip(connection, [write, wait], [write.wire, wait.wire])
        for error in (write.reply.exception(), wait.reply.exception()):
            if isinstance(error, ResponseError) and not isinstance(error, DENIED) and not is_away(error):
                raise ConfigurationError("durability", f"{self._durability!r} cannot be had here: {error}")
            if error is not None:
                raise error
        reply: Any = wait.reply.result()
        return int(reply[0] if isinstance(reply, list) else reply) >= 1


def _again(command: tuple[Encodable, ...], script: LuaScript | None = None) -> Pending:
    return Pending(command, asyncio.get_running_loop().create_future(), script)
