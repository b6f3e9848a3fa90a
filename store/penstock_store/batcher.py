"""Many callers, one connection: commands that fall together share one round trip.

1. A call is queued, and a sender is started unless one is running.
2. The sender takes what has gathered (up to ``max_batch`` calls and ``MAX_BATCH_BYTES``), writes it in one piece
   and reads the replies.
3. While it waits for Redis, the next calls gather: the busier the process, the larger the batches.
4. Each caller gets its own reply or its own error. A reply that says NOSCRIPT is asked again with the text.

A connection that is lost fails every call whose reply had not come; whether Redis carried it out is then
unknown, so every script of ours can be repeated. A Redis that does not answer in time fails those that wait to be
sent as well: so a call waits for no more than the exchange under way and its own. A caller that is cancelled takes
nothing back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, cast

import hiredis
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

Encodable = str | bytes | int | float

MAX_BATCH_BYTES = 4 * 2**20
"""One batch; so that it passes a slow line within the time limit. A call may be larger alone."""


_packed = cast("Callable[[tuple[Encodable, ...]], bytes]", hiredis.pack_command)
"""A command in the wire format. redis-py's own asyncio client spends forty times as long on it."""


class LuaScript(Protocol):
    """A Lua text and its SHA-1 in hex, by which Redis knows it."""

    @property
    def text(self) -> str: ...
    @property
    def sha(self) -> str: ...


class Pending:
    """A command that waits for its reply."""

    __slots__ = ("command", "reply", "script", "wire")

    def __init__(self, command: tuple[Encodable, ...], reply: asyncio.Future[Any], script: LuaScript | None) -> None:
        self.command = command
        self.reply = reply
        self.script = script
        self.wire = _packed(command)

    def with_text(self) -> bytes:
        """The call in the wire format with the text of its script, for a server that does not know it."""
        assert self.script is not None
        return _packed(("EVAL", self.script.text, *self.command[2:]))


class Batcher:
    """Sends commands and script calls of many tasks over one connection of *redis* at a time.

    *timeout_s* bounds each round trip with its connect; None leaves that to the client's own settings. Must be used
    from one event loop. Closing is the caller's: close the client it was given.
    """

    def __init__(self, redis: Redis, *, max_batch: int = 512, timeout_s: float | None = None) -> None:
        self._redis = redis
        self._timeout_s = timeout_s
        self._max_batch = max_batch
        self._waiting: deque[Pending] = deque()
        self._sender: asyncio.Task[None] | None = None
        self.round_trips = 0
        """Batches sent so far."""
        self.calls = 0
        """Commands sent so far."""

    def call(
        self, script: LuaScript, keys: Sequence[str | bytes], args: Sequence[Encodable] = ()
    ) -> asyncio.Future[Any]:
        """Run a script; awaits to its reply. Raises what redis-py raises for an error reply or a lost connection."""
        return self._queue(("EVALSHA", script.sha, len(keys), *keys, *args), script)

    def execute(self, *command: Encodable) -> asyncio.Future[Any]:
        """Run one command; awaits to its raw reply (bytes, ints, lists)."""
        return self._queue(command, None)

    def _queue(self, command: tuple[Encodable, ...], script: LuaScript | None) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Any] = loop.create_future()
        self._waiting.append(Pending(command, reply, script))
        if self._sender is None:
            self._sender = loop.create_task(self._send_all(), name="penstock-batcher")
        return reply

    async def _send_all(self) -> None:
        batch: list[Pending] = []
        try:
            while self._waiting:
                batch = self._take()
                await self._send(batch)
        except BaseException as error:
            stranded = [*batch, *self._waiting]
            self._waiting.clear()
            _fail(stranded, error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._sender = None

    def _take(self) -> list[Pending]:
        """The calls of the next batch, in order; at least one."""
        batch = [self._waiting.popleft()]
        size = len(batch[0].wire)
        while self._waiting and len(batch) < self._max_batch:
            size += len(self._waiting[0].wire)
            if size > MAX_BATCH_BYTES:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _lost(self, batch: list[Pending], error: Exception) -> None:
        """Fail the calls of *batch*; those that wait too, when it is silence that was met and not a refusal."""
        _fail(batch, error)
        if isinstance(error, RedisTimeoutError | TimeoutError):
            _fail(self._waiting, error)
            self._waiting.clear()

    async def _send(self, batch: list[Pending]) -> None:
        pool = self._redis.connection_pool
        connection: AbstractConnection | None = None
        try:
            async with asyncio.timeout(self._timeout_s) as limit:
                connection = await pool.get_connection()
                if self._timeout_s is not None:
                    limit.reschedule(asyncio.get_running_loop().time() + self._timeout_s)
                await self._exchange(connection, batch)
        except BaseException as error:
            if connection is not None:
                await connection.disconnect(nowait=True)
            if not isinstance(error, RedisError | OSError):
                raise
            self._lost(batch, error)
        finally:
            if connection is not None:
                await pool.release(connection)

    async def _exchange(self, connection: AbstractConnection, batch: list[Pending]) -> None:
        """Carry a batch out on one connection, and answer each call. What is raised fails those not answered."""
        unknown = await self._round_trip(connection, batch, [call.wire for call in batch])
        if unknown:
            unknown = await self._round_trip(connection, unknown, _with_each_text_once(unknown))
        if unknown:  # forgotten again in between
            await self._round_trip(connection, unknown, [call.with_text() for call in unknown])

    async def _round_trip(
        self, connection: AbstractConnection, batch: list[Pending], commands: list[bytes]
    ) -> list[Pending]:
        """Send *commands* for the calls of *batch*; return those whose script Redis does not know."""
        self.round_trips += 1
        self.calls += len(commands)
        try:
            await connection.send_packed_command([b"".join(commands)])
        except RuntimeError as error:  # so says uvloop, where asyncio and redis-py know of a lost connection
            raise RedisConnectionError("the connection was closed") from error
        unknown: list[Pending] = []
        for call in batch:
            try:
                _answer(call, await connection.read_response())
            except NoScriptError as error:
                if call.script is None:
                    _fail([call], error)
                else:
                    unknown.append(call)
            except ResponseError as error:
                _fail([call], error)
        return unknown


def _with_each_text_once(calls: Sequence[Pending]) -> list[bytes]:
    """The commands again, the first of each script with its text: Redis knows it for those behind."""
    told: set[Encodable] = set()
    commands = []
    for call in calls:
        sha = call.command[1]
        commands.append(call.wire if sha in told else call.with_text())
        told.add(sha)
    return commands


def _answer(call: Pending, reply: Any) -> None:
    if not call.reply.done():
        call.reply.set_result(reply)


def _fail(calls: Iterable[Pending], error: BaseException) -> None:
    if not isinstance(error, Exception):
        error = RedisConnectionError("the connection was given up")
    for call in calls:
        if not call.reply.done():
            call.reply.set_exception(error)
