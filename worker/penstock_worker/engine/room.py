"""How many jobs may be claimed now, where some jobs must be alone in their process.

A job whose holders vanished is a suspect. An idle worker takes it at once, alone. A busy one leaves it; one of those
that saw it is chosen by the claim script to make room: it claims nothing until it is idle, and then that job. It gives
up after its patience, and another is chosen; as when it dies meanwhile: it is chosen for the time of a lease, which
it prolongs while it makes room.
"""

from __future__ import annotations

import time

from penstock_worker.engine.lease import Claim, Lease


class Room:
    """*patience_s* bounds how long room is made for one suspect."""

    def __init__(self, patience_s: float) -> None:
        self.patience_s = patience_s
        self._alone: Lease | None = None
        self._suspect: tuple[str, str] | None = None
        self._give_up_at = 0.0

    def slots(self, free: int, *, idle: bool) -> int:
        """How many of *free* slots may be filled now."""
        if self._alone is not None:
            return 0
        if self._suspect is not None and time.monotonic() >= self._give_up_at:
            self._suspect = None
        if self._suspect is not None:
            return 1 if idle else 0
        return free

    @property
    def waits_for(self) -> tuple[str, str] | None:
        """Queue and id of the job that room is being made for; None when it is for none."""
        return self._suspect if self._alone is None else None

    def named(self) -> list[tuple[str, str]]:
        """Queue and id of the one job that the next claim is for; empty when it is for any."""
        return [self._suspect] if self._suspect is not None else []

    def note(self, claim: Claim, named: list[tuple[str, str]]) -> None:
        """Take in the answer to a claim; call before its jobs are started."""
        if named and named == self.named():
            self._suspect = None
        if claim.suspect is not None and self._suspect is None:
            self._suspect, self._give_up_at = claim.suspect, time.monotonic() + self.patience_s
        if claim.alone:
            self._alone = claim.leases[0]

    def ended(self, lease: Lease) -> None:
        """*lease* runs no more, or was not started."""
        if self._alone is lease:
            self._alone = None
