"""The checks of ``penstock doctor``: each reads only, says what it saw, and what to do about it.

    D01 reachable      D05 memory         D09 queues        D13 configuration file
    D02 version        D06 persistence    D10 workers
    D03 no cluster     D07 primary        D11 dead letters
    D04 eviction       D08 clocks         D12 records
    D14 ledger         D15 budgets        D16 jobs          D17 open calls

A mark of ``fail`` is unsafe: jobs can be lost, or nothing works. ``warn`` is worth a look. ``info`` tells a figure.
``wrong`` is money that does not add up, by :mod:`penstock.money_audit`, each fault with its ids.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from redis.exceptions import ResponseError

from penstock.link import Link
from penstock.records import pairs, parse_status, reading
from penstock.worker_reports import read_workers
from penstock_schemas import keys
from penstock_schemas.errors import CorruptRecordError, PenstockError, UnavailableError
from penstock_schemas.jobs import Lane
from penstock_store.settings import SharedSettings, exposed_password

Mark = Literal["ok", "info", "warn", "fail", "wrong"]

_OLDEST = (7, 0)
_SKEW_WARNED_S = 1.0
_MEMORY_WARNED = 0.8
_TENANTS_LOOKED_AT = 1_000
_SAMPLE = 200
_OLD_S = 300.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found."""

    id: str
    name: str
    mark: Mark
    said: str
    fix: str = ""
    """What to do about it; empty where there is nothing to do."""
    faults: tuple[str, ...] = ()
    """Each thing that is wrong, with its ids."""


@dataclass(frozen=True, slots=True)
class Patient:
    """What is examined."""

    link: Link
    settings: SharedSettings
    file: Path | None
    info: dict[str, str]
    """What Redis says of itself."""
    configured: dict[str, str]
    """Redis' settings that were asked for; empty where they may not be read."""


Check = Callable[[Patient], Awaitable[Finding]]


async def examine(link: Link, settings: SharedSettings, file: Path | None) -> list[Finding]:
    """All findings, in the order of their ids. Raises UnavailableError when Redis cannot be reached."""
    info = _parse_info(await link.execute("INFO"))
    patient = Patient(link, settings, file, info, await _configured(link))
    return [await _carried_out(check, patient) for check in CHECKS]


async def _carried_out(check: Check, patient: Patient) -> Finding:
    """The check's finding; one that Redis does not let us make is told, and stops no other."""
    try:
        return await check(patient)
    except UnavailableError:
        raise
    except PenstockError as error:
        number = CHECKS.index(check) + 1
        return Finding(f"D{number:02}", check.__name__, "warn", error.message, "let this user read it, or ask another")


async def reachable(it: Patient) -> Finding:
    started = time.perf_counter()
    await it.link.execute("PING")
    took_ms = (time.perf_counter() - started) * 1000
    return Finding("D01", "Redis", "ok", f"answers in {took_ms:.1f} ms")


async def version(it: Patient) -> Finding:
    """Valkey claims a redis_version too, that of the fork."""
    name = "Valkey" if "valkey_version" in it.info else "Redis"
    told = it.info.get("valkey_version") or it.info.get("redis_version", "")
    if tuple(int(part) for part in re.findall(r"\d+", told)[:2]) < _OLDEST:
        return Finding("D02", "version", "fail", f"{name} {told or 'unknown'}", "install Redis 7.0 or Valkey, or later")
    return Finding("D02", "version", "ok", f"{name} {told}")


async def cluster(it: Patient) -> Finding:
    if it.info.get("cluster_enabled") == "1" or it.info.get("redis_mode") == "cluster":
        fix = "use a primary of its own (with a replica and Sentinel, if wanted)"
        return Finding("D03", "cluster", "fail", "Redis is a cluster, and the scripts need all keys in one place", fix)
    return Finding("D03", "cluster", "ok", "it is none")


async def eviction(it: Patient) -> Finding:
    policy = it.info.get("maxmemory_policy", "unknown")
    if policy != "noeviction":
        return Finding(
            "D04", "eviction", "fail", f"policy is {policy}; jobs can vanish", "CONFIG SET maxmemory-policy noeviction"
        )
    return Finding("D04", "eviction", "ok", "policy is noeviction")


async def memory(it: Patient) -> Finding:
    used, limit = int(it.info.get("used_memory", 0)), int(it.info.get("maxmemory", 0))
    if limit and used > _MEMORY_WARNED * limit:
        told = f"{_mib(used)} of {_mib(limit)} used; a full Redis takes no new jobs"
        return Finding("D05", "memory", "warn", told, "raise maxmemory, shorten retention, or purge dead letters")
    return Finding("D05", "memory", "ok", f"{_mib(used)} used, " + (f"limit {_mib(limit)}" if limit else "no limit"))


async def persistence(it: Patient) -> Finding:
    """Whether what was accepted outlives a restart of Redis."""
    fix = "see the log of Redis: its disk may be full"
    if it.info.get("aof_enabled") == "1":
        if it.info.get("aof_last_write_status", "ok") != "ok":
            return Finding("D06", "persistence", "fail", "the append-only file cannot be written", fix)
        fsync = it.configured.get("appendfsync", "unknown")
        return Finding("D06", "persistence", "ok", f"append-only file, fsync {fsync}")
    if it.info.get("rdb_last_bgsave_status", "ok") != "ok":
        return Finding("D06", "persistence", "fail", "snapshots fail, so writes may be refused", fix)
    saves = it.configured.get("save")
    told = {None: "snapshots, perhaps (its settings may not be read)", "": "none"}.get(saves, "snapshots only")
    lost = "all jobs" if saves == "" else "the jobs since the last one"
    fix = "CONFIG SET appendonly yes, and the same in its configuration"
    return Finding("D06", "persistence", "warn", f"{told}: a restart of Redis loses {lost}", fix)


async def primary(it: Patient) -> Finding:
    role = it.info.get("role", "unknown")
    if role != "master":
        return Finding("D07", "role", "fail", f"it is a {role} and takes no writes", "give the URL of the primary")
    return Finding("D07", "role", "ok", f"primary, {it.info.get('connected_slaves', '0')} replicas")


async def clocks(it: Patient) -> Finding:
    before = time.time()
    seconds, micros = await it.link.execute("TIME")
    after = time.time()
    skew_s = int(seconds) + int(micros) / 1e6 - (before + after) / 2
    told = f"Redis is {abs(skew_s):.3f} s {'ahead of' if skew_s > 0 else 'behind'} this machine"
    if abs(skew_s) - (after - before) > _SKEW_WARNED_S:
        fix = "let NTP set both clocks; Penstock goes by that of Redis alone"
        return Finding("D08", "clocks", "warn", told, fix)
    return Finding("D08", "clocks", "ok", told)


async def queues(it: Patient) -> Finding:
    seconds, micros = await it.link.execute("TIME")
    now_ms = int(seconds) * 1000 + int(micros) // 1000
    parts, oldest_s = [], 0.0
    for lane in Lane:
        due, first_ms, whole = await _lane(it.link, lane.value, now_ms)
        if due:
            age_s = (now_ms - first_ms) / 1000
            oldest_s = max(oldest_s, age_s)
            parts.append(f"{lane.value} {'' if whole else 'at least '}{due} due, the first since {age_s:.0f} s")
    paused = sorted(name.decode() for name in await it.link.execute("SMEMBERS", keys.PAUSED))
    told = "; ".join(parts) or "nothing is due"
    if paused:
        return Finding("D09", "queues", "warn", f"{told}; paused: {', '.join(paused)}", "resume what shall go on")
    if oldest_s > _OLD_S:
        return Finding("D09", "queues", "warn", told, "start workers, or more of them, that serve this lane")
    return Finding("D09", "queues", "ok", told)


async def workers(it: Patient) -> Finding:
    """Whether anybody works, by what workers tell of themselves."""
    counts = pairs(await it.link.execute("HGETALL", keys.COUNTS))
    running, waiting = int(counts.get(b"running", 0)), int(counts.get(b"queued", 0))
    told = f"{running} jobs running, {waiting} queued, {int(counts.get(b'scheduled', 0))} scheduled"
    reports = await read_workers(it.link)
    if not reports and running + waiting:
        return Finding("D10", "workers", "warn", f"{told}; no worker lives", "penstock worker")
    unready = sorted({report.why_not for report in reports if report.why_not})
    told += f"; {len(reports)} workers live, {sum(report.held for report in reports)} jobs in their hands"
    if unready:
        return Finding("D10", "workers", "warn", f"{told}; not all ready: {', '.join(unready)}", "penstock workers")
    return Finding("D10", "workers", "ok", told)


async def letters(it: Patient) -> Finding:
    dead, degraded = await asyncio.gather(
        it.link.execute("ZCARD", keys.state_index("dead")), it.link.execute("ZCARD", keys.state_index("degraded"))
    )
    fix = "penstock dead list" if dead else "penstock degraded list" if degraded else ""
    return Finding("D11", "letters", "info", f"{dead} dead, {degraded} degraded", fix)


async def records(it: Patient) -> Finding:
    """A sample of those that ended without a model's answer and of those that wait."""
    sample = await _sample(it.link)
    faults = [fault for job_id in sorted(sample) if (fault := await _fault(it.link, job_id))]
    if faults:
        told = f"{len(faults)} of {len(sample)} cannot be read: {'; '.join(faults[:3])}"
        return Finding("D12", "records", "warn", told, "workers bury such jobs; look for who else writes to this Redis")
    return Finding("D12", "records", "ok", f"{len(sample)} looked at, all sound")


async def configuration(it: Patient) -> Finding:
    if exposed_password(it.file, it.settings):
        return Finding("D13", "configuration", "warn", f"{it.file} holds a password", f"chmod 600 {it.file}")
    return Finding("D13", "configuration", "ok", str(it.file) if it.file else "no file, variables and defaults")


CHECKS: tuple[Check, ...] = (
    *(reachable, version, cluster, eviction, memory, persistence, primary, clocks),
    *(queues, workers, letters, records, configuration),
)


async def _configured(link: Link) -> dict[str, str]:
    try:
        reply = await link.execute("CONFIG", "GET", "save", "appendfsync")
    except UnavailableError:
        raise
    except (ResponseError, PenstockError):  # a managed Redis has no CONFIG, and a user may lack the right
        return {}
    return {name.decode(): value.decode() for name, value in pairs(reply).items()}


async def _lane(link: Link, lane: str, now_ms: int) -> tuple[int, float, bool]:
    """Jobs of a lane that are due, since when the first of them is (ms), and whether all tenants were looked at.

    A running job is in its queue too, due at the end of its lease.
    """
    tenants: set[str] = set()
    for key in (keys.ring(lane), keys.wait(lane)):
        tenants |= {name.decode() for name in await link.execute("ZRANGE", key, 0, _TENANTS_LOOKED_AT - 1)}
    levels = pairs(await link.execute("HGETALL", keys.PRIORITIES))
    looked_at = [
        keys.queue(lane, tenant, priority)
        for tenant in sorted(tenants)
        for priority in (None, *map(int, levels.get(f"{lane}:{tenant}".encode(), b"").decode()))
    ]
    due = await asyncio.gather(*(link.execute("ZCOUNT", key, "-inf", now_ms) for key in looked_at))
    heads = await asyncio.gather(*(link.execute("ZRANGE", key, 0, 0, "WITHSCORES") for key in looked_at))
    firsts = [float(head[1]) for head in heads if head]
    return sum(map(int, due)), min(firsts, default=0.0), len(tenants) < _TENANTS_LOOKED_AT


async def _sample(link: Link) -> set[str]:
    found: set[str] = set()
    for state in ("dead", "degraded"):
        found |= {
            name.decode() for name in await link.execute("ZRANGE", keys.state_index(state), 0, _SAMPLE - 1, "REV")
        }
    for lane in Lane:
        for name in await link.execute("ZRANGE", keys.ring(lane.value), 0, 9):
            key = keys.queue(lane.value, name.decode())
            found |= {job_id.decode() for job_id in await link.execute("ZRANGE", key, 0, 9)}
    return found


async def _fault(link: Link, job_id: str) -> str | None:
    """What is wrong with a record; None for a sound one and for one past its retention."""
    try:
        with reading(job_id):
            row = pairs(await link.execute("HGETALL", keys.record(job_id)))
        if row:
            parse_status(job_id, row)
    except CorruptRecordError as error:
        return error.message
    return None


def _parse_info(reply: Any) -> dict[str, str]:
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line and not line.startswith("#"))


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
