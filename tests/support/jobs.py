"""A worker moved by hand: it claims a job and ends it as a test says, by the scripts that workers use."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import orjson
from redis.asyncio import Redis

from penstock_schemas import keys
from penstock_schemas.jobs import RECORD_VERSION
from penstock_schemas.results import JobFailure, JobResult, MadeBy, Quality, Usage
from penstock_schemas.tasks import task_names
from penstock_store.batcher import Batcher
from penstock_store.scripts import load_include
from penstock_worker.attempt.recent import Recent
from penstock_worker.attempt.store import AttemptStore
from penstock_worker.engine.lease import Lease
from penstock_worker.engine.sources import Ask, FairQueues

OUTPUTS: dict[str, Any] = {
    "summarize": {"summary": "Short."},
    "classify": {"labels": ["bug"]},
    "extract": {"total": 12},
}


class HandWorker:
    """Claims jobs of all lanes and tenants. Its leases are not renewed; they last *lease_s*."""

    def __init__(self, redis: Redis, *, tasks: Iterable[str] | None = None, lease_s: float = 60.0) -> None:
        known = ", ".join(f"{name} = true" for name in (task_names() if tasks is None else tasks))
        about = f"local TASKS = {{{known}}}\nlocal RECORD_VERSION = {RECORD_VERSION}\n"
        self._source = FairQueues(handler=None, start_lua=about + load_include("penstock_worker.attempt", "start"))
        self._lease_s = lease_s
        self._redis = redis
        self.batcher = Batcher(redis)
        self.recent = Recent(self.batcher)
        self.store = AttemptStore(self.batcher, recent=self.recent)

    async def claim(self, slots: int = 1) -> list[Lease]:
        """Lease due jobs, up to *slots*."""
        ask = Ask(slots=slots, lease_s=self._lease_s, idle=True, patience_s=1.0)
        return (await self._source.claim(self.batcher, ask)).leases

    async def claim_one(self) -> Lease:
        """Lease the next due job; there must be one."""
        leases = await self.claim()
        assert leases, "no job is due"
        return leases[0]

    async def succeed(self, lease: Lease, output: Any = None) -> None:
        """End the job with an answer of a model; *output* None: one that fits the task."""
        await self._answer(lease, "succeeded", output, None)

    async def degrade(self, lease: Lease, output: Any = None) -> None:
        """End the job with an answer of a fallback."""
        failure = JobFailure(code="attempts_exhausted", message="No model gave an answer.", last_error="throttled")
        await self._answer(lease, "degraded", output, failure)

    async def bury(self, lease: Lease, code: str = "attempts_exhausted") -> None:
        """End the job as a dead letter."""
        failure = JobFailure(code=code, message="No model gave an answer.", last_error="throttled")
        body = failure.model_dump_json().encode()
        await self._end(lease, "dead", "failure", body, {"code": code})

    async def end(self, lease: Lease, state: str) -> None:
        """End the job as ``cancelled`` or ``expired``."""
        await self._end(lease, state, "", b"", {})

    async def delta(self, lease: Lease, text: str) -> None:
        """Publish a piece of the answer."""
        await self.store.tell(lease, 1, "delta", {"attempt": 1, "call": "1.1.1", "text": text})

    async def work_off(self) -> int:
        """Succeed with all that is due; how many it were."""
        done = 0
        while leases := await self.claim(64):
            await asyncio.gather(*map(self.succeed, leases))
            done += len(leases)
        return done

    async def _answer(self, lease: Lease, state: Any, output: Any, failure: JobFailure | None) -> None:
        record = await self._redis.hgetall(keys.record(lease.job_id))  # type: ignore[misc]
        task = record[b"task"].decode()
        made_by = MadeBy(kind="model", name="openai/gpt-4o-mini", model="gpt-4o-mini-2024", prompt=f"{task}@1")
        if failure is not None:
            made_by = MadeBy(kind="fallback", name="extractive@1")
        result = JobResult[Any](
            job_id=lease.job_id,
            task=task,
            tenant=lease.tenant,
            run=int(record[b"run"]),
            state=state,
            quality=Quality.OK if failure is None else Quality.SUSPECT,
            reasons=() if failure is None else ("degraded",),
            failure=failure,
            output=OUTPUTS.get(task) if output is None else output,
            made_by=made_by,
            attempts=int(record[b"attempt"]),
            calls=1,
            usage=Usage(input_tokens=100, output_tokens=20),
            cost_nanousd=27_000,
            created_at=datetime.fromtimestamp(int(record[b"created_at"]) / 1000, UTC),
            started_at=datetime.fromtimestamp(int(record[b"started_at"]) / 1000, UTC),
            ended_at=datetime.fromtimestamp(int(record[b"started_at"]) / 1000, UTC),
        )
        event = {"quality": result.quality.value, "made_by": made_by.name}
        await self._end(lease, state, "result", orjson.dumps(result.model_dump(mode="json")), event)

    async def _end(self, lease: Lease, state: str, field: str, body: bytes, event: dict[str, Any]) -> None:
        attempt = {"error": event.get("code")}
        written = await self.store.finish(lease, state, field=field, body=body, attempt=attempt, event=event)
        assert written, "the lease was lost"


@asynccontextmanager
async def hand_worker(url: str, **options: Any) -> AsyncIterator[HandWorker]:
    """A worker moved by hand, on a connection of its own."""
    async with Redis.from_url(url) as redis:
        yield HandWorker(redis, **options)


async def dump(redis: Redis) -> dict[bytes, object]:
    """Every key of the database with its value: equal dumps, equal databases (times to live apart)."""
    return {name: await _value(redis, name) async for name in redis.scan_iter(count=1_000)}


async def _value(redis: Redis, name: bytes) -> object:
    """What a key holds; not as DUMP gives it, in which the order of a hash may change by itself."""
    reads = {
        b"hash": ("HGETALL", name),
        b"zset": ("ZRANGE", name, 0, -1, "WITHSCORES"),
        b"set": ("SMEMBERS", name),
        b"list": ("LRANGE", name, 0, -1),
        b"stream": ("XRANGE", name, "-", "+"),
        b"string": ("GET", name),
    }
    return await redis.execute_command(*reads[await redis.type(name)])  # type: ignore[no-untyped-call]


async def lapse(redis: Any, lease: Lease) -> None:
    """Let the lease run out now, as time does: its job is claimed next, and who held it is suspected of nothing."""
    async with redis.pipeline(transaction=True) as one_moment:
        one_moment.pexpire(keys.arq_in_progress(lease.job_id), 60_000)  # all that is left of it is the grace
        one_moment.zadd(lease.queue, {lease.job_id: 1})
        one_moment.zadd(
            keys.wait(lease.lane), {lease.tenant: 1}, xx=True, lt=True
        )  # nobody waits beyond the end of a lease
        one_moment.delete(keys.DEATHS)
        await one_moment.execute()
