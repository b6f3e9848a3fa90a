"""The workers that live, by their own reports."""

from __future__ import annotations

from contextlib import suppress

from pydantic import ValidationError

from penstock.link import Link
from penstock_schemas import keys
from penstock_schemas.workers import WorkerReport


async def read_workers(link: Link) -> list[WorkerReport]:
    """All reports that are not older than they may be, the first started first. Raises UnavailableError."""
    ids = [name.decode() for name in await link.execute("ZRANGE", keys.WORKERS, 0, -1)]
    if not ids:
        return []
    found = []
    for body in await link.execute("MGET", *map(keys.worker, ids)):
        if body is not None:
            with suppress(ValidationError):  # a newer version's, or none of ours
                found.append(WorkerReport.model_validate_json(body))
    return sorted(found, key=lambda report: (report.started_at, report.id))
