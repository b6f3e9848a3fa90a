"""A producer's way to Redis: every call is bounded in time, repeated once, and fails by an error of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from redis.asyncio import Redis

from penstock_store.batcher import Batcher, Encodable
from penstock_store.connection import LOST, is_away, translated
from penstock_store.scripts import Script

Send = Callable[[], "asyncio.Future[Any]"]
Call = tuple[Sequence[str], Sequence[Encodable]]
"""KEYS and ARGV of one call of a script."""

_NO_ANSWER = "no answer"


class Link:
    """What a producer asks of Redis, over one connection of *redis*, whose own replies may take for ever.

    Each method raises UnavailableError when there is no answer within *timeout_s*, and RuntimeError once closed.
    A call that met a broken connection is made once more within that time: our scripts may all be repeated.
    """

    def __init__(self, redis: Redis, timeout_s: float, batcher: Batcher | None = None) -> None:
        self._redis = redis
        self._timeout_s = timeout_s
        self._closed = False
        self.batcher = batcher or Batcher(redis, timeout_s=timeout_s)

    async def aclose(self) -> None:
        """Close the connection. A repeat does nothing."""
        self._closed = True
        await self._redis.aclose()

    async def call(self, script: Script, keys: Sequence[str], args: Sequence[Encodable] = ()) -> Any:
        """Run a script; its raw reply."""
        return await self._ask(lambda: self.batcher.call(script, keys, args))

    async def execute(self, *command: Encodable) -> Any:
        """Run one command that may be repeated; its raw reply."""
        return await self._ask(lambda: self.batcher.execute(*command))

    async def call_each(self, script: Script, calls: Iterable[Call]) -> list[Any]:
        """Run a script many times in few round trips; for each call its raw reply, or the error that it met."""
        self._check_open()
        sends = [partial(self.batcher.call, script, keys, args) for keys, args in calls]
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        replies = await _gather(sends, deadline)
        again = [i for i, reply in enumerate(replies) if isinstance(reply, LOST)]
        for i, reply in zip(again, await _gather([sends[i] for i in again], deadline), strict=True):
            replies[i] = reply
        return [_translate(reply) if isinstance(reply, Exception) else reply for reply in replies]

    async def _ask(self, send: Send) -> Any:
        self._check_open()
        with translated():
            async with asyncio.timeout(self._timeout_s):
                try:
                    return await send()
                except LOST as error:
                    if not is_away(error):
                        raise
                return await send()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("this producer is closed")


async def _gather(sends: Sequence[Send], deadline: float) -> list[Any]:
    """The replies, or in their place the errors; TimeoutError for those not there by *deadline* (the loop's time)."""
    replies = [send() for send in sends]
    left_s = deadline - asyncio.get_running_loop().time()
    try:
        if replies and left_s > 0:
            await asyncio.wait(replies, timeout=left_s)
    finally:
        for reply in replies:
            reply.cancel()  # nothing happens to those that are there
    return [TimeoutError(_NO_ANSWER) if reply.cancelled() else reply.exception() or reply.result() for reply in replies]


def _translate(error: Exception) -> Exception:
    try:
        with translated():
            raise error
    except Exception as ours:
        return ours
