"""Answers that are kept to be fetched by their id, and those that are still being made in the background.

A background answer is queued for the first part of its time, then in progress, then whatever it became. What
is cancelled in the queue costs nothing; what is cancelled later is charged in full, like a call whose client
leaves. Nothing runs here: whoever keeps the time says when an answer is done, and has it charged before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from penstock_simulator.ask import JsonObject

QUEUED_SHARE = 0.3
"""The part of a background answer's time that it waits before it is begun."""
_KEPT = 20_000
_NOT_YET: JsonObject = {
    "output": [],
    "usage": None,
    "error": None,
    "incomplete_details": None,
    "completed_at": None,
}


@dataclass(slots=True)
class Stored:
    """One answer, as it is or will be."""

    document: JsonObject
    background: bool
    begun_at_s: float
    done: bool
    cancelled_at_s: float | None = None
    deleted: bool = False

    def status_at(self, now_s: float) -> str | None:
        """`queued`, `in_progress` or `cancelled`; None once it is what it became."""
        if self.cancelled_at_s is not None:
            return "cancelled"
        if self.done:
            return None
        return "queued" if now_s < self.begun_at_s else "in_progress"

    def document_at(self, now_s: float) -> JsonObject:
        """The document as the provider shows it at that moment."""
        status = self.status_at(now_s)
        return self.document if status is None else {**self.document, **_NOT_YET, "status": status}


class StoredAnswers:
    """The latest 20,000 answers that were to be kept."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """*clock* gives seconds since the epoch."""
        self._clock = clock
        self._kept: OrderedDict[str, Stored] = OrderedDict()

    def keep(self, id: str, document: JsonObject, latency_s: float, *, background: bool) -> JsonObject:
        """Keep *document*, and give it as it is now; one in the background is done when `finish` says so."""
        stored = Stored(document, background, self._clock() + latency_s * QUEUED_SHARE, not background)
        self._kept[id] = stored
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return stored.document_at(self._clock())

    def costs(self, id: str | None) -> bool:
        """Whether *id*, whose time has come, is to be charged: not when it was cancelled in the queue."""
        stored = self._kept.get(id or "")
        if stored is None:
            return False
        return stored.cancelled_at_s is None or stored.cancelled_at_s >= stored.begun_at_s

    def finish(self, id: str | None) -> None:
        """*id* is done: from here on it is shown."""
        stored = self._kept.get(id or "")
        if stored is not None:
            stored.done = True

    def get(self, id: str) -> JsonObject | None:
        """The document of *id* as it is now; None for an unknown one."""
        stored = self._found(id)
        return None if stored is None else stored.document_at(self._clock())

    def cancel(self, id: str) -> JsonObject | None:
        """End a background answer and give its document; one that is over stays what it is.

        None for an unknown id; ValueError for an answer that was not made in the background.
        """
        stored = self._found(id)
        if stored is None:
            return None
        if not stored.background:
            raise ValueError(id)
        if stored.status_at(self._clock()) in {"queued", "in_progress"}:
            stored.cancelled_at_s = self._clock()
        return stored.document_at(self._clock())

    def delete(self, id: str) -> bool:
        """Show *id* no more; False if it was not known. What was begun is charged all the same."""
        stored = self._found(id)
        if stored is not None:
            stored.deleted = True
        return stored is not None

    def clear(self) -> None:
        """Forget all; what is still being made is not charged either."""
        self._kept.clear()

    def _found(self, id: str) -> Stored | None:
        stored = self._kept.get(id)
        return None if stored is None or stored.deleted else stored
