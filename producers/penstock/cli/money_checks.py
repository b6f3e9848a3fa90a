"""The checks of ``penstock doctor`` that look at money."""

from __future__ import annotations

from collections.abc import Callable

from penstock.cli.checks import Finding
from penstock.link import Link
from penstock.money_audit import Check, audit_money
from penstock_schemas.errors import PenstockError, UnavailableError

_FIX = "keep a copy of this Redis, and see the ledger of what is named: penstock costs explain JOB"


async def examine_money(link: Link, progress: Callable[[int], None]) -> list[Finding]:
    """Look at all jobs, budgets and entries of the ledger. *progress* is told how many more were read.

    Raises UnavailableError when Redis cannot be reached.
    """
    try:
        found = await audit_money(link, progress)
    except UnavailableError:
        raise
    except PenstockError as error:
        return [Finding("D14", "money", "warn", error.message, "let this user read it, or ask another")]
    return [
        _finding("D14", "ledger", "entries, in agreement with their sums", found.ledger),
        _finding("D15", "budgets", "budgets, in agreement with the ledger and with what is held", found.budgets),
        _finding("D16", "jobs", "jobs, in agreement with their journals and the ledger", found.jobs),
        _finding("D17", "open calls", "calls under way, none beyond its time", found.calls),
    ]


def _finding(number: str, name: str, all_well: str, check: Check) -> Finding:
    notes = "".join(f"; {note}" for note in check.notes)
    if check.faults:
        said = f"{len(check.faults)} faults in {check.looked_at} looked at{notes}"
        return Finding(number, name, "wrong", said, _FIX, tuple(check.faults))
    return Finding(number, name, "ok", f"{check.looked_at} {all_well}{notes}")
