"""Writes how jobs of arq queues ended: many in one call, each with its own answer.

1. A job that is done is posted; its slot is free from then on, its lease is renewed until it is written.
2. All that were posted while the last call was under way go into the next one.
3. When Redis is away, they are held and written when it is back, if the lease still holds.
4. A refusal ends there: the result is dropped, a counter raised, and the hook told.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import arq.constants
import arq.worker
from arq.cron import CronJob
from arq.utils import timestamp_ms, to_ms

from penstock_store.batcher import Batcher, Encodable
from penstock_store.connection import is_away
from penstock_store.scripts import Script, load_script
from penstock_worker.engine.lease import Call, Finished, Lease, about

logger = logging.getLogger("arq.worker")

_PACKAGE = "penstock_worker.engine"
_FINISH = load_script(_PACKAGE, "finish")
_RETRY = load_script(_PACKAGE, "retry")
_HAND_BACK = load_script(_PACKAGE, "hand_back")
_MOST = 256
_AWAY_S = 0.05, 1.0
_LOST_OUTPUT_CHARS = 4096

TICKED_MS = 3_600_000
"""How long a cron tick that was run is remembered, so that a worker whose clock is late cannot run it again."""

WRITTEN, NO_LEASE = 1, 0


@dataclass(slots=True)
class Ending:
    """A result to be written, or a try to be repeated."""

    lease: Lease
    result: bytes = b""
    """The serialized result; empty for none."""
    keep_ms: int = 0
    """How long the result is kept; 0 for ever."""
    mark: str = ""
    """What is left in the lease's place, ``"<value> <ms>"``; empty for nothing."""
    retry_wait_ms: int | None = None
    """When set, the job is not done but runs again after this wait, with the try charged."""
    done: asyncio.Future[bool] | None = None
    """Resolved with whether it was written, for who waits for that."""
    repeated: bool = False
    """It was sent before and its answer was lost: that nobody holds the lease then means that it was written."""


class Endings:
    """Must be used from one event loop. *released* is called with each lease that is over, once."""

    def __init__(
        self,
        batcher: Batcher,
        *,
        keep_retried_ms: int,
        released: Callable[[Lease], None],
        refused: Callable[[Lease], None],
    ) -> None:
        self._batcher = batcher
        self._keep_retried_ms = keep_retried_ms
        self._released = released
        self._refused = refused
        self._posted: deque[Ending] = deque()
        self._writer: asyncio.Task[None] | None = None

    def post(self, ending: Ending) -> None:
        """Write *ending* soon; returns at once."""
        self._posted.append(ending)
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write_all(), name="penstock-endings")

    async def write(self, ending: Ending) -> bool:
        """Write *ending*; False when it was refused, since the lease was lost."""
        ending.done = asyncio.get_running_loop().create_future()
        self.post(ending)
        return await asyncio.shield(ending.done)

    async def hand_back(self, leases: list[Lease]) -> None:
        """Give *leases* back uncharged. Raises redis-py's errors; the jobs then come due when their leases end."""
        args: list[Encodable] = [part for lease in leases for part in (lease.raw_id, lease.token)]
        await self._batcher.call(_HAND_BACK, [lease.queue for lease in leases], args)
        for lease in leases:
            self._end(lease)

    async def written(self) -> None:
        """Return when nothing waits to be written."""
        while self._writer is not None:
            await asyncio.wait([self._writer])

    @property
    def waiting(self) -> bool:
        """Whether anything waits to be written."""
        return self._writer is not None

    async def _write_all(self) -> None:
        wait_s = _AWAY_S[0]
        try:
            while self._posted:
                batch = [self._posted.popleft() for _ in range(min(len(self._posted), _MOST))]
                if await self._write(batch):
                    wait_s = _AWAY_S[0]
                else:
                    await asyncio.sleep(wait_s)
                    wait_s = min(2 * wait_s, _AWAY_S[1])
        finally:
            self._writer = None

    async def _write(self, batch: list[Ending]) -> bool:
        """Write *batch*; False when Redis is away, and then it is posted again."""
        try:
            for ending, answer in zip(batch, await self._answers(batch), strict=True):
                self._settle(ending, answer)
        except Exception as error:
            if not is_away(error):
                what = "%d job endings could not be written; their leases run out"
                logger.exception(what, len(batch), extra=about("ends_failed", count=len(batch)))
                for ending in batch:
                    self._settle(ending, str(error))
                return True
            waiting = len(batch) + len(self._posted)
            logger.warning("%d job endings wait for Redis: %s", waiting, error, extra=about("ends_wait", count=waiting))
            for ending in batch:
                ending.repeated = True
            self._posted.extendleft(reversed(batch))
            return False
        return True

    async def _answers(self, batch: list[Ending]) -> list[int | bytes]:
        """What Redis says to each: the code of its script, or the text of an error that is that job's own."""
        done = [ending for ending in batch if ending.retry_wait_ms is None]
        again = [ending for ending in batch if ending.retry_wait_ms is not None]
        finished, retried = await asyncio.gather(
            self._call(_FINISH, done, _finish_args), self._call(_RETRY, again, self._retry_args)
        )
        return [next(finished if ending.retry_wait_ms is None else retried) for ending in batch]

    async def _call(
        self, script: Script, endings: list[Ending], args_of: Callable[[Ending], tuple[Encodable, ...]]
    ) -> Iterator[int | bytes]:
        if not endings:
            return iter(())
        args = [arg for ending in endings for arg in args_of(ending)]
        return iter(await self._batcher.call(script, [ending.lease.queue for ending in endings], args))

    def _retry_args(self, ending: Ending) -> tuple[Encodable, ...]:
        lease = ending.lease
        assert ending.retry_wait_ms is not None
        return lease.raw_id, lease.token, ending.retry_wait_ms, lease.job_try, self._keep_retried_ms

    def _settle(self, ending: Ending, answer: int | bytes | str) -> None:
        written = answer == WRITTEN or (answer == NO_LEASE and ending.repeated)
        if not written:
            lease, what = ending.lease, "job %s: its end was refused (%r), the lease was lost"
            logger.warning(what, lease.job_id, answer, extra=about("end_refused", lease))
            self._refused(lease)
        self._end(ending.lease)
        if ending.done is not None and not ending.done.done():
            ending.done.set_result(written)

    def _end(self, lease: Lease) -> None:
        lease.released = True
        self._released(lease)


def _finish_args(ending: Ending) -> tuple[Encodable, ...]:
    return ending.lease.raw_id, ending.lease.token, ending.result, ending.keep_ms, ending.mark


def result_ending(worker: arq.worker.Worker, lease: Lease, call: Call, finished: Finished) -> Ending:
    """The end of an arq function that is done, with its result as arq stores it, where one is kept."""
    function = call.function
    forever, keep_s = worker.keep_result_forever, worker.keep_result_s
    if function is not None:
        forever = forever if function.keep_result_forever is None else function.keep_result_forever
        keep_s = keep_s if function.keep_result_s is None else function.keep_result_s
    ending = Ending(lease)
    if isinstance(function, CronJob):
        ending.mark = _cron_mark(function)
    if forever or (keep_s or 0) > 0:
        ending.result = _encode(worker, lease, call, finished)
        ending.keep_ms = 0 if forever else to_ms(keep_s) or 1
    return ending


def _cron_mark(function: CronJob) -> str:
    """A tick's id is its own and never comes again; an id chosen by the user is held back for a minute, as in arq."""
    if function.job_id is None:
        return f"ticked {TICKED_MS}"
    return f"1 {to_ms(arq.constants.keep_cronjob_progress)}"


def _encode(worker: arq.worker.Worker, lease: Lease, call: Call, finished: Finished) -> bytes:
    """The result as arq stores it. One that cannot be serialized is a failure, and what it was is kept as text."""
    data = {
        "t": lease.job_try,
        "f": call.name,
        "a": call.args,
        "k": call.kwargs or {},
        "et": call.enqueued_ms,
        "s": finished.success,
        "r": finished.value,
        "st": call.started_ms,
        "ft": timestamp_ms(),
        "q": lease.queue,
        "id": lease.job_id,
    }
    serialize = worker.job_serializer or pickle.dumps
    try:
        return serialize(data)
    except Exception:
        logger.warning(
            "error serializing result of %s", call.ref, exc_info=True, extra=about("result_unserializable", lease)
        )
    if finished.success:
        worker.jobs_complete -= 1
        worker.jobs_failed += 1
    text = repr(finished.value)[:_LOST_OUTPUT_CHARS]
    data.update(r=f"unable to serialize result: {text}", s=False)
    try:
        return serialize(data)
    except Exception:
        logger.critical(
            "error serializing result of %s even as text", call.ref, exc_info=True, extra=about("result_lost", lease)
        )
        return b""
