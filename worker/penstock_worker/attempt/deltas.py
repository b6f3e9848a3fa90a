"""The text of an answer as it comes, put into the job's events for those who asked for it."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from penstock_worker.attempt.attempt import Attempt
from penstock_worker.attempt.store import AttemptStore

INTERVAL_S = 0.05
"""Pieces that come within this time are one event."""


class Deltas:
    """Collects the pieces of one call and publishes them, in order, at most every ``INTERVAL_S``."""

    def __init__(self, store: AttemptStore, attempt: Attempt) -> None:
        self._store = store
        self._attempt = attempt
        self._call_id = ""
        self._pieces: list[str] = []
        self._arrived = asyncio.Event()
        self._publisher: asyncio.Task[None] | None = None

    def add(self, call_id: str, piece: str) -> None:
        """Note a piece of a call's answer; returns at once."""
        self._call_id = call_id
        self._pieces.append(piece)
        self._arrived.set()

    async def __aenter__(self) -> Self:
        self._publisher = asyncio.create_task(self._publish())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._publisher is not None
        self._publisher.cancel()
        await asyncio.gather(self._publisher, return_exceptions=True)
        if kind is None:
            await self._flush()

    async def _publish(self) -> None:
        while True:
            await self._arrived.wait()
            await self._flush()
            await asyncio.sleep(INTERVAL_S)

    async def _flush(self) -> None:
        self._arrived.clear()
        text, self._pieces = "".join(self._pieces), []
        if text:
            attempt = self._attempt
            data = {"attempt": attempt.number, "call": self._call_id, "text": text}
            await self._store.tell(attempt.lease, attempt.run, "delta", data)
