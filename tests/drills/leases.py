"""Watches the leases of a queue, to know when a job that lost its worker was to be had again."""

import threading
from itertools import pairwise
from types import TracebackType
from typing import Self, cast

import redis

QUEUE = "penstock:q:standard:drill"


class LeaseWatch:
    """Reads the scores of the queue ten times a second; a running job's is the end of its lease, ms."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url, decode_responses=True)
        self._ends: dict[str, list[tuple[int, int]]] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stopped.set()
        self._thread.join()
        self._client.close()

    def latest_restarts_s(self, ids: list[str]) -> tuple[float, float]:
        """The longest time between the end of a dead worker's lease and the job's next start; 0 when none died.

        The second is of jobs that had died twice in a row by then: those wait for a worker to be theirs alone. A lease
        ends at most its length after its worker's death.
        """
        found = [restart for job_id in ids for restart in self._restarts_s(job_id)]
        once, again = ([late_s for deaths, late_s in found if (deaths > 1) == many] for many in (False, True))
        return max(once, default=0.0), max(again, default=0.0)

    def _restarts_s(self, job_id: str) -> list[tuple[int, float]]:
        """How often it had died in a row, and how late it started again."""
        events = cast("list[tuple[str, dict[str, str]]]", self._client.xrange(f"penstock:events:{job_id}"))
        rows = [(row["type"], int(row["at"])) for _, row in events if row["type"] in ("running", "queued", "scheduled")]
        found: list[tuple[int, float]] = []
        deaths = 0
        for (before, _), (after, at) in pairwise(rows):
            deaths = deaths + 1 if before == after == "running" else 0
            ends = [end for seen, end in self._ends.get(job_id, []) if seen < at]
            if deaths and ends:
                found.append((deaths, (at - ends[-1]) / 1000))
        return found

    def _watch(self) -> None:
        while not self._stopped.wait(0.1):
            try:
                seconds, micros = cast("tuple[int, int]", self._client.time())
                scores = cast("list[tuple[str, float]]", self._client.zrange(QUEUE, 0, -1, withscores=True))
            except redis.RedisError:
                continue
            for job_id, score in scores:
                self._ends.setdefault(job_id, []).append((seconds * 1000 + micros // 1000, int(score)))
