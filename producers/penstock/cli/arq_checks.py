"""``penstock doctor --arq``: what is wrong in an existing arq queue."""

from __future__ import annotations

from collections import Counter

from penstock.cli import exits
from penstock.cli.output import Output
from penstock.cli.text import one_line
from penstock_store.arq_queue import Finding, Look, examine, look
from penstock_store.connection import connect, translated

SHOWN = 20
"""Jobs that are named of each kind; with --json all are."""

FIXES = {
    "expired": "its payload is gone; ZREM it from the queue, or let a worker drop it",
    "overdue": "start a worker, or more of them, for this queue",
    "stuck": "it runs again when its arq:in-progress key expires; this engine's workers need 10 s for that",
    "suspect": "workers died with it; read what it does before it runs again",
    "poisoned": "it was started as often as arq allows; read what it does before it runs again",
    "unreadable": "another program wrote these keys; DEL them",
    "stale_abort": "it would kill the next job with this id: ZREM arq:abort",
}


async def examine_arq(out: Output, url: str, queue: str) -> int:
    """Tell each job that is not as it should be; the exit code: 0, or 1 when there is one.

    Raises UnavailableError, ConfigurationError.
    """
    counts: Counter[str] = Counter()
    redis = connect(url, max_connections=1)
    try:
        with translated():
            seen = await look(redis, queue)
            async for finding in examine(redis, queue):
                counts[finding.what] += 1
                _print(out, finding, seen, more=counts[finding.what] > SHOWN)
    finally:
        await redis.aclose()
    _sum_up(out, queue, seen, counts)
    return exits.SOME_FAILED if counts else exits.DONE


def _print(out: Output, finding: Finding, seen: Look, *, more: bool) -> None:
    since_s = round((seen.now_ms - finding.since_ms) / 1000, 3)
    if out.as_json:
        fix = FIXES[finding.what]
        out.json({"job_id": _id(finding), "what": finding.what, "since_s": since_s, "fix": fix})
    elif not more:
        out.line(f"{finding.what}\t{one_line(_id(finding))}\t{since_s:.0f} s")


def _id(finding: Finding) -> str:
    return finding.job_id.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _sum_up(out: Output, queue: str, seen: Look, counts: Counter[str]) -> None:
    alive = "a worker lives" if seen.alive else "no worker shows life"
    out.talk(f"{one_line(queue)}: {seen.queued} queued, {alive}; {counts.total()} not as they should be")
    for what, count in counts.items():
        out.talk(f"{count} {what}: {FIXES[what]}")
