"""Where a worker's jobs come from: one arq queue, or Penstock's lanes and tenants."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from penstock_schemas import keys
from penstock_store.batcher import Batcher, Encodable
from penstock_store.scripts import Script, load_include, load_script
from penstock_worker.engine.lease import SUSPECT_DEATHS, Claim, Lease

_PACKAGE = "penstock_worker.engine"

TRUST_MARGIN = 0.1
"""The part of a lease at its end that its holder does not count on: for the way to Redis and drifting clocks."""

Handler = Callable[[dict[Any, Any], Lease], Awaitable[None]]


@dataclass(slots=True, frozen=True)
class Ask:
    """What a worker tells when it claims."""

    slots: int
    lease_s: float
    idle: bool
    """Whether it runs nothing, so that it may take a job that has to be alone."""
    patience_s: float
    """How long it is the one to make room for such a job, unless it says again that it does."""
    named: Sequence[tuple[str, str | bytes]] = ()
    """Take these (queue, job id), if they are due, and no others."""
    held: Mapping[str, int] = field(default_factory=dict)
    """Jobs that it runs, by ``<lane>:<tenant>``."""

    def common_args(self) -> list[Encodable]:
        return [
            self.slots,
            int(self.lease_s * 1000),
            secrets.token_hex(12),
            int(self.idle),
            SUSPECT_DEATHS,
            int(self.patience_s * 1000),
        ]


class Source(Protocol):
    """Claims jobs for a worker, and knows which keys change when there is work."""

    @property
    def handler(self) -> Handler | None:
        """Runs the jobs and ends their leases itself; None when they are arq functions, which the engine runs."""
        ...

    async def claim(self, batcher: Batcher, ask: Ask) -> Claim:
        """Lease due jobs; a repeat leases others. Raises redis-py's errors."""
        ...

    async def is_empty(self, batcher: Batcher) -> bool:
        """Whether nothing is queued, deferred or running. Raises redis-py's errors."""
        ...

    def watched(self) -> list[tuple[str, ...]]:
        """Commands that read every key by whose change work can appear."""
        ...


@dataclass(frozen=True)
class ArqQueue:
    """A plain arq queue: arq's payloads, arq's results, stock producers and workers beside us."""

    name: str
    handler: Handler | None = None

    async def claim(self, batcher: Batcher, ask: Ask) -> Claim:
        args = ask.common_args() + [job_id for _, job_id in ask.named]
        sent_at = time.monotonic()
        return _read_claim(await batcher.call(_claim_script(), [self.name], args), sent_at, ask.lease_s)

    async def is_empty(self, batcher: Batcher) -> bool:
        return bool(await batcher.execute("ZCARD", self.name) == 0)

    def watched(self) -> list[tuple[str, ...]]:
        return [("ZRANGE", self.name, "0", "0")]


@dataclass(frozen=True, kw_only=True)
class FairQueues:
    """Penstock's queues: lanes by weight, in each lane tenants by fair share, in each tenant's queue by time."""

    handler: Handler | None
    """Runs a claimed job; must end its lease by a script of its own and then set ``lease.released``."""
    start_lua: str
    """Lua text defining ``start`` (see ``lua/take.lua``): what a claimed job is, and what changes when it starts."""
    lanes: Mapping[str, float] = field(default_factory=lambda: {"interactive": 6, "standard": 3, "bulk": 1})
    """Lanes served -> weight > 0."""
    tenant_cap: int = 0
    """Most running jobs of one tenant over all lanes; 0 for no bound."""
    spare_slots: float = 0.0
    """The part of a worker's slots, from 0 to below 1, that one tenant's jobs of one lane leave free for others, while
    others have work or had some in the last ten minutes."""
    tenants: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Tenants that differ: ``{"acme": {"weight": 2.0, "cap": 50}}``; either may be absent."""

    async def claim(self, batcher: Batcher, ask: Ask) -> Claim:
        args = [*ask.common_args(), self.tenant_cap, json.dumps(self._tenants())]
        args += [self.spare_slots, self._held(ask), len(self.lanes)]
        for lane, weight in self.lanes.items():
            args += [lane, weight]
        for queue, job_id in ask.named:
            args += [queue, job_id]
        sent_at = time.monotonic()
        script = _fair_script(self.start_lua)
        return _read_claim(await batcher.call(script, [keys.LANES, keys.PAUSED], args), sent_at, ask.lease_s)

    async def is_empty(self, batcher: Batcher) -> bool:
        sizes = [batcher.execute("ZCARD", key(lane)) for lane in self.lanes for key in (keys.ring, keys.wait)]
        return not any(await asyncio.gather(*sizes))

    def watched(self) -> list[tuple[str, ...]]:
        names = [name for lane in self.lanes for name in (keys.arrivals(keys.ring(lane)), keys.wait(lane))]
        return [*(("ZRANGE", name, "0", "0") for name in names), ("SCARD", keys.PAUSED)]

    def _held(self, ask: Ask) -> str:
        """What the script has to know of *ask.held*: who has a twentieth of the slots at least."""
        if not self.spare_slots:
            return "{}"
        least = (ask.slots + sum(ask.held.values())) / 20
        return json.dumps({name: count for name, count in ask.held.items() if count >= least})

    def _tenants(self) -> dict[str, dict[str, float]]:
        return {name: dict(own) for name, own in self.tenants.items()}


def name_of(raw: bytes) -> str | bytes:
    """A job's id as text; as it is where it is not UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _claim_script() -> Script:
    return load_script(_PACKAGE, "claim", includes=(load_include(_PACKAGE, "start_arq"),))


def _fair_script(start_lua: str) -> Script:
    return load_script(_PACKAGE, "claim_fair", includes=(start_lua,))


def _read_claim(reply: list[Any], sent_at: float, lease_s: float) -> Claim:
    now_ms, next_ms, left, suspect, alone, jobs, kept = reply
    trusted_until = sent_at + lease_s * (1 - TRUST_MARGIN)
    next_due_ms = float(next_ms)
    return Claim(
        leases=[_read_lease(job, trusted_until) for job in jobs],
        next_due_s=None if next_due_ms < 0 else max(0.0, (next_due_ms - now_ms) / 1000),
        left=left,
        suspect=(suspect[0].decode(), name_of(suspect[1])) if suspect else None,
        alone=bool(alone),
        kept=bool(kept),
    )


def _read_lease(job: list[Any], trusted_until: float) -> Lease:
    job_id, token, job_try, deaths, score, abort_ms, payload, queue, corrupt = job
    lease = Lease(
        job_id=job_id.decode(errors="surrogateescape"),
        token=token.decode(),
        queue=queue.decode(errors="surrogateescape"),
        job_try=job_try,
        deaths=deaths,
        score_ms=int(float(score)),
        payload=payload,
        trusted_until=trusted_until,
        raw_id=job_id,
    )
    if lease.queue.startswith(_QUEUES):
        lease.lane, lease.tenant = lease.queue[len(_QUEUES) :].split(":")[:2]
        lease.flow = f"{lease.lane}:{lease.tenant}"
    if abort_ms:
        lease.abort_asked_ms = int(float(abort_ms))
    if corrupt:
        lease.corrupt = corrupt.decode(errors="replace")
    return lease


_QUEUES = keys.queue("", "")[:-1]
