"""What this worker has written in the last seconds, to be written once more to a Redis that did not keep it.

A fail-over to a replica that lagged, or a power cut, takes back the last of what Redis had acknowledged. Its worker
still has it, and every script may be repeated:

1. Ends and settlements are kept for ``KEEP_S`` once they are acknowledged, ``MOST_BYTES`` of them at most.
2. When another server has taken over, each is looked for, and sent again where it is not there: a job that had ended
   ends again, with the answer that it had, if its lease is still ours; a call's cost is in the books again.
3. How many of the ends were not there is told: the part of the loss that this worker can know of.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from redis.exceptions import RedisError

from penstock_schemas import keys
from penstock_store.batcher import Batcher, Encodable
from penstock_store.scripts import Script

log = structlog.get_logger("penstock.worker")

KEEP_S = 10.0
MOST_BYTES = 4 * 2**20

_MOST_ENTRIES = 10_000
_PAUSE_S = 0.5
_OVER = {b"succeeded", b"degraded", b"dead", b"cancelled", b"expired"}


@dataclass(frozen=True, slots=True)
class Write:
    """One call of a script that Redis has acknowledged."""

    script: Script
    names: Sequence[str | bytes]
    """The job's record."""
    args: Sequence[Encodable]
    proof: tuple[bytes, str, bytes]
    """Key and field of a hash, and with what its value begins where the write is there."""
    ends: bool
    """Whether it ended a run."""
    settles: bool
    """Whether it settled a call."""
    written_at: float
    size: int


class Recent:
    """For one worker process. *lost* is called when ends are not there, with their number."""

    def __init__(self, batcher: Batcher, *, keep_s: float = KEEP_S, most_bytes: int = MOST_BYTES) -> None:
        self._batcher = batcher
        self._keep_s, self._most_bytes = keep_s, most_bytes
        self._writes: deque[Write] = deque()
        self._bytes = 0
        self._rewriting: asyncio.Task[None] | None = None
        self.lost: Callable[[int], None] = lambda _: None

    def ended(self, script: Script, names: Sequence[str | bytes], args: Sequence[Encodable], job_id: str) -> None:
        """Keep an end; ``args`` begin with job id, token, state, and those of a job given back with job id, token."""
        state = args[2] if isinstance(args[2], str) else "given"
        proof = (_key(keys.record(job_id)), "left_by", f"{_text(args[1])} {state}".encode())
        self._keep(script, names, args, proof, ends=state != "given")

    def settled(self, script: Script, names: Sequence[str | bytes], args: Sequence[Encodable], job_id: str) -> None:
        """Keep a settlement: ``args`` are job id, token, call id and so on."""
        self._keep(script, names, args, (_key(keys.journal(job_id)), f"{_text(args[2])}:end", b""), settles=True)

    def server_changed(self, lost: bool) -> None:
        """Write again what another server does not have. *lost*: it is known to have lost state."""
        if self._rewriting is not None:
            self._rewriting.cancel()  # that server is gone, too
        self._rewriting = asyncio.create_task(self._rewrite(lost), name="penstock-rewrite")

    async def rewrite(self, lost: bool) -> int:
        """Send again what is not there; the number of ended runs that were not. Raises redis-py's errors."""
        self._forget_old()
        writes = list(self._writes)  # before the look at what is booked, which is so never older than they are
        if not writes:
            return 0
        asked = [
            ask
            for write in writes
            for ask in (
                self._batcher.execute("HGET", write.names[0], "state"),
                self._batcher.execute("HGET", *write.proof[:2]),
            )
        ]
        booked = await self._booked()
        found = await asyncio.gather(*asked)
        missing = _missing(writes, found[::2], found[1::2], booked, lost)
        await asyncio.gather(*(self._batcher.call(write.script, write.names, write.args) for write, _ in missing))
        return sum(write.ends and state not in _OVER for write, state in missing)

    async def _booked(self) -> set[tuple[bytes, bytes]]:
        """Job and call of each entry that the ledger got lately."""
        seconds, _ = await self._batcher.execute("TIME")
        since_ms = (int(seconds) - 2 * math.ceil(self._keep_s)) * 1000
        rows = await self._batcher.execute("XREVRANGE", keys.LEDGER, "+", since_ms, "COUNT", _MOST_ENTRIES)
        entries = [dict(zip(row[::2], row[1::2], strict=True)) for _, row in rows]
        return {(entry[b"job"], entry[b"call"]) for entry in entries}

    async def _rewrite(self, lost: bool) -> None:
        while True:
            try:
                missing = await self.rewrite(lost)
                break
            except (RedisError, OSError):
                log.exception("rewriting_failed")
            await asyncio.sleep(_PAUSE_S)
        if lost or missing:
            log.error("state_lost", count=missing, what="ends of this worker's last seconds that were not there")
        else:
            log.warning("redis_changed", what="another server took over, with all that this worker wrote")
        if missing and not lost:
            self.lost(missing)

    def _keep(
        self,
        script: Script,
        names: Sequence[str | bytes],
        args: Sequence[Encodable],
        proof: tuple[bytes, str, bytes],
        *,
        ends: bool = False,
        settles: bool = False,
    ) -> None:
        size = sum([len(part) for part in args if isinstance(part, str | bytes)])
        self._writes.append(Write(script, names, args, proof, ends, settles, time.monotonic(), size))
        self._bytes += size
        self._forget_old()

    def _forget_old(self) -> None:
        oldest = time.monotonic() - self._keep_s
        while self._writes and (self._writes[0].written_at < oldest or self._bytes > self._most_bytes):
            self._bytes -= self._writes.popleft().size


def _missing(
    writes: Sequence[Write],
    states: Sequence[bytes | None],
    proofs: Sequence[bytes | None],
    booked: set[tuple[bytes, bytes]],
    lost: bool,
) -> list[tuple[Write, bytes | None]]:
    """The writes that are not there, and their jobs' states. A job that was purged meanwhile misses nothing."""
    missing: list[tuple[Write, bytes | None]] = []
    unbooked: set[Encodable] = set()
    """Jobs of which a call is not in the ledger."""
    for write, state, proof in zip(writes, states, proofs, strict=True):
        job_id = write.args[0]
        if proof is not None and proof.startswith(write.proof[2]):
            continue
        if write.settles:
            if state is None and (job_id, _bytes(write.args[2])) in booked:
                continue
            unbooked.add(job_id)
        if state is not None or lost or job_id in unbooked:
            missing.append((write, state))
    return missing


def _key(name: str) -> bytes:
    return name.encode(errors="surrogateescape")


def _bytes(part: Encodable) -> bytes:
    return part if isinstance(part, bytes) else str(part).encode()


def _text(part: Encodable) -> str:
    return part.decode() if isinstance(part, bytes) else str(part)
