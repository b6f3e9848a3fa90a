"""Whether the money adds up, on a system that is at work: reads only, and says of each fault which call, job or budget.

1. The ledger's sums by day, and what was taken out of it, are its entries.
2. What each budget has as spent and uncertain is what the ledger has of the calls that count in it.
3. What a job's record says it cost is what its journal says, and what the ledger says.
4. What budgets hold is what open calls and accepted jobs hold.
5. A call whose time is over has an end.
6. No amount is negative.

Amounts that belong together are written by one script, so what is read by one script at one instant must agree, also
while workers write. What can only be read in parts, as all that is held, is compared where nothing has changed
meanwhile. What has changed is looked at some times more, beside the jobs that run then; if that never agrees it is told
as a note, since a job may have begun in between. The keys are walked by SCAN.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from penstock.books import DAY_MS, FIRST, Entry, entries, entry_ms, order, read_mark, read_sums
from penstock.link import Link
from penstock.records import Row, pairs
from penstock_schemas import keys
from penstock_schemas.jobs import JobState
from penstock_schemas.ledger import Tally
from penstock_store.scripts import load_script

_JOBS, _BUDGETS, _HOLDS = (load_script("penstock", f"check_{what}") for what in ("jobs", "budgets", "holds"))
_NUMBER = re.compile(rb"[0-9]{1,19}")
_AT_ONCE = 100
_CATCH_UP = 500
_TRIES = 5
_MOST_HOLDERS = 3_000
"""Jobs looked at in one script: some ms of Redis' time."""
_LATE_MS = 60_000
"""How long after its time a call may still be told by who makes it."""
_CORRUPT = b"corrupt"
_OVER = {state.value for state in JobState if state.terminal}

Progress = Callable[[int], None]


@dataclass(slots=True)
class Check:
    """One of the invariants: what was looked at, and what is wrong."""

    looked_at: int = 0
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What is no fault, and could not be compared."""


@dataclass(slots=True)
class Audit:
    """What was found."""

    ledger: Check = field(default_factory=Check)
    budgets: Check = field(default_factory=Check)
    jobs: Check = field(default_factory=Check)
    calls: Check = field(default_factory=Check)


async def audit_money(link: Link, progress: Progress | None = None) -> Audit:
    """Look at all of it. *progress* is told how many entries and keys more were read. Raises UnavailableError."""
    work = _Work(link, progress or (lambda _: None))
    await work.ledger()
    names = [name async for name in _scan(link, keys.budget("", "").removesuffix(":"))]
    before = await work.budgets(names)
    await work.jobs()
    after = await work.budgets(names)
    busy = work.holds(before, after)
    await work.busy_holds(busy)
    return work.audit


class _Work:
    def __init__(self, link: Link, progress: Progress) -> None:
        self._link, self._progress = link, progress
        self.audit = Audit()
        self._read = _Read()
        self._held: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        """Budget -> nano-USD and tokens that calls and jobs hold of it."""
        self._holders: set[str] = set()
        """Jobs that hold something of a budget, or were seen to."""

    async def ledger(self) -> None:
        """Read the whole stream, and compare it with its sums."""
        check = self.audit.ledger
        for _ in range(_TRIES):
            mark = await read_mark(self._link)
            self._read = _Read(mark.trimmed_until, summed=Tally.read(mark.trimmed.text))
            async for page in entries(self._link):
                self._read.take(page, mark.cursor, check.faults)
                self._progress(len(page))
            if mark.first_ms is None:
                break
            days = range(mark.first_ms // DAY_MS * DAY_MS, entry_ms(mark.cursor) + 1, DAY_MS)
            sums = await read_sums(self._link, "day", days)
            if await read_mark(self._link) != mark:
                continue
            self._compare_sums(sums, days)
            break
        else:
            check.notes.append("its sums moved on while they were read")
        check.looked_at = self._read.count

    def _compare_sums(self, sums: list[Any], days: range) -> None:
        check, total = self.audit.ledger, Tally()
        for item in sums:
            total.add(item.tally)
            if any(number < 0 for number in map(int, item.tally.text.split())):
                check.faults.append(f"a sum of {item.names} is negative: {item.tally.text}")
        if days and not any(item.start_ms == days[0] for item in sums):
            check.notes.append("the sums of its first day are past their time")
        elif total != self._read.summed:
            check.faults.append(f"entries come to {self._read.summed.text}, their sums to {total.text}")

    async def budgets(self, names: list[str]) -> dict[str, Row]:
        """Compare budgets with the ledger; what each has."""
        found: dict[str, Row] = {}
        for at in range(0, len(names), _AT_ONCE):
            part = names[at : at + _AT_ONCE]
            cursor, rows = await self._instant(_BUDGETS, part)
            self._read.forget(cursor.decode())
            for name, row in zip(part, map(pairs, rows), strict=True):
                found[name] = row
                self._budget(name, row)
            self._progress(len(part))
        return found

    def _budget(self, name: str, row: Row) -> None:
        check = self.audit.budgets
        numbers = {field.decode(): int(value) for field, value in row.items()}
        check.faults += [
            f"{name}: {what} is {n}" for what, n in numbers.items() if n < 0 and not what.startswith("rol")
        ]
        if not numbers:
            return
        told = self._read.of_budgets[name]
        for what, known in (("spent", told[0]), ("uncertain", told[1])):
            by_ledger = numbers.get(f"rolled_{what}", 0) + known
            if numbers.get(what, 0) != by_ledger:
                check.faults.append(f"{name}: {what} is {numbers.get(what, 0)}, the ledger says {by_ledger} nano-USD")

    async def jobs(self) -> None:
        """Compare records, journals and the ledger, and look at calls without an end."""
        part: list[str] = []
        async for job_id in _scan(self._link, keys.record("")):
            part.append(job_id)
            if len(part) == _AT_ONCE:
                await self._jobs(part)
                part = []
        await self._jobs(part)

    async def _jobs(self, part: list[str]) -> None:
        if not part:
            return
        now_ms, rows = await self._instant(_JOBS, part)
        for job_id, row in zip(part, rows, strict=True):
            try:
                if row[0]:
                    self._job(job_id, row)
                    self._open_calls(job_id, row, now_ms)
            except (ValueError, KeyError, TypeError):
                self.audit.jobs.faults.append(f"{job_id} cannot be read")
        self._progress(len(part))

    def _job(self, job_id: str, row: list[Any]) -> None:
        check = self.audit.jobs
        check.looked_at += 1
        created_ms, *amounts = (int(value) for value in row[1:6])
        told, journal = amounts[:2], amounts[2:]
        if told != journal:
            check.faults.append(f"{job_id}: record {_pair(told)}, journal {_pair(journal)}")
        if min(told) < 0:
            check.faults.append(f"{job_id}: {_pair(told)} is negative")
        by_ledger = self._read.of_jobs.get(job_id, [0, 0])
        if row[0] != _CORRUPT and created_ms > entry_ms(self._read.trimmed_until) and told != by_ledger:
            check.faults.append(f"{job_id}: record {_pair(told)}, ledger {_pair(by_ledger)}")

    def _open_calls(self, job_id: str, row: list[Any], now_ms: int) -> None:
        check, state, leased = self.audit.calls, row[0].decode(), row[6]
        if row[7] or row[8]:
            self._holders.add(job_id)
        for key, amounts in _object(row[7]).items():
            self._hold(key, amounts)
        for call, text, hold in row[8]:
            check.looked_at += 1
            intent, name = _object(text), f"{job_id}:{call.decode()}"
            until_ms = intent.get("until_ms") or intent.get("at_ms", 0)
            if state in _OVER:
                check.faults.append(f"{name} has no end, and its job is {state}")
            elif leased and now_ms > until_ms + _LATE_MS:
                check.faults.append(f"{name} has no end, {(now_ms - until_ms) // 1000} s after its time")
            held = _object(hold)
            for one in held.get("keys", []):
                self._hold(one[0], [held["held"], held["tokens"]])

    def _hold(self, key: str, amounts: list[str]) -> None:
        held = self._held[key.removeprefix(keys.budget("", "").removesuffix(":"))]
        held[0] += int(amounts[0])
        held[1] += int(amounts[1])

    def holds(self, before: dict[str, Row], after: dict[str, Row]) -> list[str]:
        """Compare what budgets hold with what is held of them; those of which something has changed meanwhile."""
        check, busy = self.audit.budgets, []
        check.looked_at = len(after)
        for name, row in after.items():
            if row != before[name]:
                busy.append(name)
                continue
            for what, known in zip((b"held", b"tokens_held"), self._held[name], strict=True):
                if int(row.get(what, 0)) != known:
                    told = f"{what.decode()} is {int(row.get(what, 0))}, open calls and jobs hold {known}"
                    check.faults.append(f"{name}: {told}")
        check.faults[:] = dict.fromkeys(check.faults)
        return busy

    async def busy_holds(self, busy: list[str]) -> None:
        """Compare what budgets in use hold with what those jobs hold that run now, or held something before."""
        unsure = 0
        queues = [key async for key in _scan(self._link, keys.queue("", "").removesuffix(":"))] if busy else []
        running = [keys.queue("", "").removesuffix(":") + key for key in queues if key.endswith(keys.running(""))]
        for name in busy:
            unsure += not await self._agrees(name, running)
        if unsure:
            self.audit.budgets.notes.append(f"{unsure} were in use: what they hold could not be compared")

    async def _agrees(self, name: str, running: list[str]) -> bool:
        for _ in range(_TRIES):
            now = {job.decode() for key in running for job in await self._link.execute("ZRANGE", key, 0, -1)}
            holders = sorted(self._holders | now)
            if len(holders) > _MOST_HOLDERS:
                return False
            told = [int(number) for number in await self._link.call(_HOLDS, [], [name, *holders])]
            if told[:2] == told[2:]:
                return True
        return False

    async def _instant(self, script: Any, part: list[str]) -> tuple[Any, list[Any]]:
        """What the script says first and of *part*, at an instant up to which all of the ledger is read."""
        while True:
            first, behind, rows = await self._link.call(script, [], [self._read.last, _CATCH_UP, *part])
            self._read.take([(entry_id.decode(), pairs(row)) for entry_id, row in behind], None, [])
            if len(behind) < _CATCH_UP:
                return first, rows


class _Read:
    """What was read of the ledger: by job, and by budget of those entries that are not in the budget's own sum."""

    def __init__(self, trimmed_until: str = FIRST, summed: Tally | None = None) -> None:
        self.trimmed_until = trimmed_until
        self.last = FIRST
        self.count = 0
        self.summed = summed or Tally()
        """What was taken out, and the entries up to the cursor."""
        self.of_jobs: dict[str, list[int]] = {}
        self.of_budgets: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        self._behind: deque[tuple[tuple[int, int], list[str], int, int]] = deque()

    def take(self, page: list[Entry], cursor: str | None, faults: list[str]) -> None:
        """Take entries in; those up to *cursor* are in the sums (None: that is found out later)."""
        for entry_id, row in page:
            tally = Tally.of(row)
            self.last, self.count = entry_id, self.count + 1
            if not all(_NUMBER.fullmatch(row.get(name) or b"0") for name in (b"cost_nanousd", b"uncertain_nanousd")):
                faults.append(f"entry {entry_id} has an amount that is negative or none")
            of_job = self.of_jobs.setdefault(row.get(b"job", b"").decode(), [0, 0])
            of_job[0] += tally.cost_nanousd
            of_job[1] += tally.uncertain_nanousd
            if cursor is not None and order(entry_id) <= order(cursor):
                self.summed.add(tally)
            elif names := row.get(b"budgets", b"").decode().split():
                self._behind.append((order(entry_id), names, tally.cost_nanousd, tally.uncertain_nanousd))
                self._count(names, tally.cost_nanousd, tally.uncertain_nanousd)

    def forget(self, cursor: str) -> None:
        """Leave to the budgets' own sums what is in them by now."""
        while self._behind and self._behind[0][0] <= order(cursor):
            _, names, cost, uncertain = self._behind.popleft()
            self._count(names, -cost, -uncertain)

    def _count(self, names: list[str], cost: int, uncertain: int) -> None:
        for name in names:
            self.of_budgets[name][0] += cost
            self.of_budgets[name][1] += uncertain


async def _scan(link: Link, prefix: str) -> AsyncIterator[str]:
    """What follows *prefix* in the names of keys, each once."""
    cursor, seen = b"0", set[str]()
    while True:
        cursor, found = await link.execute("SCAN", cursor, "MATCH", f"{prefix}*", "COUNT", 1000)
        for name in {key.decode("utf-8", "replace").removeprefix(prefix) for key in found} - seen:
            seen.add(name)
            yield name
        if int(cursor) == 0:
            return


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _pair(amounts: list[int]) -> str:
    return f"{amounts[0]} + at most {amounts[1]} nano-USD"
