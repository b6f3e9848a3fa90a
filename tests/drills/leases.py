"""Watches the leases of a queue, to know when a job that lost its worker was to be had again."""

import threading
from itertools import pairwise
from types import TracebackType
from typing import Self, cast

import redis

QUEUE = "penstock:q:standard:drill"
_CLOCK_MS = 50
"""Between a kill and the note of it."""


class LeaseWatch:
    """Reads the scores of the queue ten times a second; a running job's is the end of its lease, ms."""

    def __init__(self, url: str, lease_s: float) -> None:
        self._lease_s = lease_s
        self._kills: list[int] = []
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

    def note_kill(self) -> None:
        """A worker has just been killed, or cut off."""
        self._kills.append(self._now_ms())

    def latest_restarts_s(self, ids: list[str]) -> tuple[float, float]:
        """The longest time between a kill that was noted and the next start of a job that it hit; 0 when it hit none.

        Which kill hit a job is known from its lease's end: that comes a lease after the last renewal before the kill.
        Of two that could have been, it is the earlier. The second figure is of jobs that had died twice in a row by
        then: those wait for a worker to be theirs alone.
        """
        found = [restart for job_id in ids for restart in self._restarts_s(job_id)]
        once, again = ([late_s for deaths, late_s in found if (deaths > 1) == many] for many in (False, True))
        return max(once, default=0.0), max(again, default=0.0)

    def _restarts_s(self, job_id: str) -> list[tuple[int, float]]:
        """How often it had died in a row, and how long after the kill it started again."""
        events = cast("list[tuple[str, dict[str, str]]]", self._client.xrange(f"penstock:events:{job_id}"))
        rows = [(row["type"], int(row["at"])) for _, row in events if row["type"] in ("running", "queued", "scheduled")]
        found: list[tuple[int, float]] = []
        deaths = 0
        for (before, began), (after, at) in pairwise(rows):
            deaths = deaths + 1 if before == after == "running" else 0
            ends = [end for seen, end in self._ends.get(job_id, []) if seen < at]
            if deaths and ends:
                earliest = max(began, ends[-1] - round(self._lease_s * 1000) - _CLOCK_MS)
                hit = [kill for kill in self._kills if earliest <= kill <= at]
                found.append((deaths, (at - min(hit, default=earliest)) / 1000))
        return found

    def _now_ms(self) -> int:
        seconds, micros = cast("tuple[int, int]", self._client.time())
        return seconds * 1000 + micros // 1000

    def _watch(self) -> None:
        while not self._stopped.wait(0.1):
            try:
                now_ms = self._now_ms()
                scores = cast("list[tuple[str, float]]", self._client.zrange(QUEUE, 0, -1, withscores=True))
            except redis.RedisError:
                continue
            for job_id, score in scores:
                self._ends.setdefault(job_id, []).append((now_ms, int(score)))
