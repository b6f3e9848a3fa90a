"""A small pool of child processes that may be killed at any moment.

1. A child is started when all others are busy, up to the size of the pool; it loads its libraries once.
2. A request takes an idle child, or waits for one.
3. The child ends itself after two seconds of processor time on a request; should it not (stopped, or stuck
   in the kernel), it is killed after ten seconds by the clock.
4. A child that died is replaced by the next request that needs one.

Children are started anew from the interpreter, never forked off this threaded process, with an empty
environment. See ``sandbox_child`` for what they cannot do.
"""

from __future__ import annotations

import asyncio
import os
import signal
import struct
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import orjson

_CHILD: Final = str(Path(__file__).with_name("sandbox_child.py"))
_MAX_REPLY: Final = 64 * 2**20
_LAST_WORDS_S: Final = 1.0


class SandboxTimeoutError(Exception):
    """The request took more processor time, or time, than it may."""


class SandboxDiedError(Exception):
    """The child died of something else: memory, a crash, or somebody's signal."""


class Sandbox:
    """A pool of at most *size* children.

    *cpu_s* is for one request, *wall_s* bounds it by the clock; *memory_bytes* is a child's address space.
    """

    def __init__(
        self,
        *,
        size: int = 2,
        cpu_s: float = 2.0,
        wall_s: float = 10.0,
        start_s: float = 30.0,
        memory_bytes: int = 768 * 2**20,
    ) -> None:
        self._memory_bytes = memory_bytes
        self._cpu_s = cpu_s
        self._wall_s = wall_s
        self._start_s = start_s
        self._slots = asyncio.Semaphore(size)
        self._idle: list[Process] = []
        self._all: set[Process] = set()
        self._closed = False

    async def call(self, request: dict[str, Any]) -> Any:
        """Send one request to a child and return its reply.

        Raises SandboxTimeoutError or SandboxDiedError; the child is gone then. A request whose caller is
        cancelled takes its child with it.
        """
        body = orjson.dumps(request)
        async with self._slots:
            child = await self._idle_child()
            if child is not None:
                try:
                    return await self._ask(child, body)
                except SandboxDiedError:
                    pass  # perhaps while it was idle: the request is not yet to blame
            return await self._ask(await self._start(), body)

    async def aclose(self) -> None:
        """Kill all children and wait until they are gone. A second call does nothing."""
        self._closed = True
        await asyncio.gather(*(self._kill(child) for child in list(self._all)))

    @property
    def pids(self) -> list[int]:
        """The children that are alive, as far as is known."""
        return [child.pid for child in self._all if child.returncode is None]

    async def _idle_child(self) -> Process | None:
        while self._idle:
            child = self._idle.pop()
            if child.returncode is None:
                return child
            await self._kill(child)
        return None

    async def _ask(self, child: Process, body: bytes) -> Any:
        try:
            async with asyncio.timeout(self._wall_s):
                reply = await _exchange(child, body)
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError) as error:
            raise await self._post_mortem(child, error) from error
        except BaseException:
            await self._kill(child)
            raise
        self._idle.append(child)
        return reply

    async def _start(self) -> Process:
        if self._closed:
            raise RuntimeError("the sandbox is closed")
        settings = {
            "parent_pid": os.getpid(),
            "cpu_s": self._cpu_s,
            "memory_bytes": self._memory_bytes,
            "sys_path": sys.path,
        }
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            _CHILD,
            orjson.dumps(settings).decode(),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env={},
            cwd="/",
            start_new_session=True,
            limit=2**20,
        )
        self._all.add(child)
        try:
            async with asyncio.timeout(self._start_s):
                await _receive(child)
        except BaseException as error:
            await self._kill(child)
            if isinstance(error, (TimeoutError, asyncio.IncompleteReadError)):
                raise SandboxDiedError("the child did not start") from error
            raise
        return child

    async def _post_mortem(self, child: Process, error: BaseException) -> Exception:
        if not isinstance(error, TimeoutError):  # it is ending: a signal now would hide what it died of
            with suppress(TimeoutError):
                await asyncio.wait_for(child.wait(), _LAST_WORDS_S)
        await self._kill(child)
        if isinstance(error, TimeoutError) or child.returncode == -signal.SIGPROF:
            return SandboxTimeoutError(f"more than {self._cpu_s} s of processor time")
        return SandboxDiedError(f"the child ended with {child.returncode}")

    async def _kill(self, child: Process) -> None:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                child.kill()
        assert child.stdin is not None
        child.stdin.close()
        await child.wait()
        self._all.discard(child)


async def _exchange(child: Process, body: bytes) -> Any:
    assert child.stdin is not None
    child.stdin.write(struct.pack(">I", len(body)) + body)
    await child.stdin.drain()
    return await _receive(child)


async def _receive(child: Process) -> Any:
    assert child.stdout is not None
    (length,) = struct.unpack(">I", await child.stdout.readexactly(4))
    if length > _MAX_REPLY:
        raise ConnectionError("a reply larger than any answer")
    return orjson.loads(await child.stdout.readexactly(length))
