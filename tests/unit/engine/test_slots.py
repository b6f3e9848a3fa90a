"""How many jobs may be claimed while a suspect wants room."""

from penstock_worker.engine import Claim, Lease
from penstock_worker.engine.slots import Room

SUSPECT = ("queue", "suspect")


def claim(*, suspect: tuple[str, str] | None = None, alone: bool = False) -> Claim:
    """An answer with one lease."""
    lease = Lease("id", "token", "queue", 1, 0, 0, b"", 0.0)
    return Claim(leases=[lease], next_due_s=None, left=1, suspect=suspect, alone=alone)


def test_who_is_to_make_room_takes_nothing_until_idle_and_then_that_job() -> None:
    """One slot, by name, when nothing else runs."""
    room = Room(patience_s=60)
    room.note(claim(suspect=SUSPECT), [])
    assert room.slots(7, idle=False) == 0
    assert (room.slots(7, idle=True), room.named()) == (1, [SUSPECT])


def test_after_the_claim_by_name_all_is_as_before() -> None:
    """Whether it was still to be had or not."""
    room = Room(patience_s=60)
    room.note(claim(suspect=SUSPECT), [])
    room.note(claim(), room.named())
    assert (room.slots(7, idle=False), room.named()) == (7, [])


def test_room_is_not_made_for_ever() -> None:
    """After its patience the worker goes on."""
    room = Room(patience_s=0)
    room.note(claim(suspect=SUSPECT), [])
    assert (room.slots(7, idle=False), room.named()) == (7, [])


def test_beside_a_job_that_is_alone_nothing_is_taken() -> None:
    """Until it has ended."""
    room = Room(patience_s=60)
    alone = claim(alone=True)
    room.note(alone, [])
    assert room.slots(7, idle=False) == 0
    room.ended(claim().leases[0])
    assert room.slots(7, idle=False) == 0
    room.ended(alone.leases[0])
    assert room.slots(7, idle=True) == 7
