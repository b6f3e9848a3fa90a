"""Jobs that have no answer of a model, dead or degraded: to be listed, looked at, run again, or forgotten.

1. Redis keeps a sorted set of each kind, by when they ended; it is read in pages, never as a whole. An entry whose
   record is past its retention is skipped, and taken out.
2. A replay names the run that it saw. It is carried out by a script that compares it, fifty jobs at a time, so
   that whoever is killed half-way, and two who replay the same letters, run each of them again once.
3. A replay or purge by filter takes only what ended before it began: a letter that was run again and died again
   meanwhile is not taken twice.
4. Who did it is noted, by the same script, in the stream ``penstock:audit``.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from penstock.letter_pages import pages
from penstock.letter_report import LetterReport, read_runs
from penstock.letters import (
    FIELDS,
    DeadLetter,
    LetterFilter,
    LetterOutcome,
    LetterState,
    ReplayPlan,
    parse_letter,
    unreadable,
)
from penstock.link import Call
from penstock.names import check_name
from penstock.producer import Producer
from penstock.records import pairs, parse_status, read_request, reading
from penstock_schemas import keys
from penstock_schemas.errors import (
    CorruptRecordError,
    InvalidRequestError,
    JobError,
    JobNotFoundError,
    ReplayRefusedError,
    UnavailableError,
)
from penstock_schemas.jobs import RECORD_VERSION
from penstock_schemas.results import moment
from penstock_store.scripts import Script, load_script

_REPLAY = load_script("penstock", "replay")
_PURGE = load_script("penstock", "purge")
_SPENT = load_script("penstock", "spent")

_AT_ONCE = 50
"""Jobs that one script works on: a few ms of Redis' time."""
_PREFIX_MATCHES = 10
_TARGET = re.compile(r"[A-Za-z0-9_-]{1,64}/\S{1,200}")

Chosen = Sequence[str] | LetterFilter


class DeadLetters:
    """The dead (or, with *state*, the degraded) jobs of a producer's tenant; with *all_tenants*, of all.

    *who* is noted beside what is done; None: the user of this process and its machine. Every method raises
    UnavailableError when Redis is away; what was done until then is done, and a repeat does the rest.
    """

    def __init__(
        self,
        producer: Producer,
        *,
        state: LetterState = "dead",
        all_tenants: bool = False,
        who: str | None = None,
    ) -> None:
        self._link = producer.link
        self._state = state
        self._tenant = "" if all_tenants else producer.tenant
        self._who = who or this_user()
        self._index = keys.state_index(state)

    async def letters(
        self, where: LetterFilter | None = None, *, newest_first: bool = True, tidy: bool = True
    ) -> AsyncIterator[DeadLetter]:
        """The letters that *where* means (None: all), one by one.

        *tidy* takes entries out whose record is past its retention; False writes nothing at all.
        """
        where = where or LetterFilter()
        async for job_ids in pages(self._link, self._index, where, newest_first=newest_first):
            for letter in await self._read(job_ids, tidy=tidy):
                if letter in where:
                    yield letter

    async def count(self) -> int:
        """How many there are, of all tenants; those past their retention may still be counted."""
        return int(await self._link.execute("ZCARD", self._index))

    async def show(self, job_id: str) -> LetterReport:
        """A job in full, whatever its state. Raises JobNotFoundError, CorruptRecordError."""
        check_name(job_id, "job_id")
        with reading(job_id):
            fields = pairs(await self._link.execute("HGETALL", keys.record(job_id)))
            journal = pairs(await self._link.execute("HGETALL", keys.journal(job_id)))
        if not fields or (self._tenant and fields.get(b"tenant") != self._tenant.encode()):
            raise JobNotFoundError(job_id)
        status = parse_status(job_id, fields)
        try:
            request = await read_request(self._link, job_id)
        except CorruptRecordError:
            request = None
        return LetterReport(status=status, request=request, runs=read_runs(status, journal))

    async def resolve(self, prefix: str) -> str:
        """The id of the one letter that begins with *prefix*; an id of any job is given back as it is.

        Raises JobNotFoundError, and InvalidRequestError when several begin so.
        """
        check_name(prefix, "job_id")
        if await self._link.execute("EXISTS", keys.record(prefix)):
            return prefix
        found = await self._beginning_with(prefix)
        if not found:
            raise JobNotFoundError(prefix)
        if len(found) > 1:
            raise InvalidRequestError(f"{prefix} is the beginning of several: {', '.join(sorted(found))}")
        return found[0]

    async def plan(self, chosen: Chosen, *, target: str | None = None) -> ReplayPlan:
        """What :meth:`replay` with the same arguments would do now. Writes nothing."""
        check_target(target)
        count, before, uncertain, bound = 0, _Sum(), 0, _Sum()
        refused: list[JobError] = []
        async for letters, errors in self._chosen(chosen, tidy=False):
            refused += errors
            count += len(letters)
            for cost, unsure, most, limit in await self._spent(letters):
                before.add(cost)
                uncertain += unsure or 0
                bound.add(_bound(cost, unsure or 0, most, limit, other_target=target is not None))
        return ReplayPlan(count, tuple(refused), before.total, uncertain, bound.total)

    async def replay(self, chosen: Chosen, *, target: str | None = None) -> AsyncIterator[LetterOutcome]:
        """Run letters again, by id or by filter, the oldest first; tells of each what became of it.

        *target* (``provider/model``) is used instead of the route's targets by workers that know it. An id that
        is not such a letter is told as refused: ReplayRefusedError names its state and newest run.
        """
        check_target(target)
        action = secrets.token_hex(8)
        async for letters, errors in self._chosen(chosen):
            for error in errors:
                yield LetterOutcome(error.job_id, refused=error)
            head: list[str | int] = [self._tenant, target or "", self._who, action, RECORD_VERSION]
            for letter, reply in await self._act(_REPLAY, letters, head):
                yield _outcome(letter, reply)

    async def purge(self, chosen: Chosen) -> AsyncIterator[LetterOutcome]:
        """Forget letters, by id or by filter; what they cost stays in the ledger. Tells of each as :meth:`replay`."""
        action = secrets.token_hex(8)
        async for letters, errors in self._chosen(chosen):
            for error in errors:
                yield LetterOutcome(error.job_id, refused=error)
            for letter, reply in await self._act(_PURGE, letters, [self._tenant, self._who, action, RECORD_VERSION]):
                yield _outcome(letter, reply)

    async def _chosen(
        self, chosen: Chosen, *, tidy: bool = True
    ) -> AsyncIterator[tuple[list[DeadLetter], list[JobError]]]:
        """What is chosen, some at a time, and errors for ids that cannot be taken."""
        if isinstance(chosen, LetterFilter):
            now = await self._now()
            until = min(chosen.until, now) if chosen.until else now
            where = replace(chosen, until=until)
            async for job_ids in pages(self._link, self._index, where, newest_first=False):
                for some in _slices(job_ids):
                    letters = await self._read(some, tidy=tidy)
                    yield [letter for letter in letters if letter in where], []
            return
        for some in _slices(list(dict.fromkeys(chosen))):
            for job_id in some:
                check_name(job_id, "job_id")
            known = {letter.job_id: letter for letter in await self._read(some, tidy=False, any_state=True)}
            errors = [error for job_id in some if (error := self._refusal(job_id, known.get(job_id)))]
            wrong = {error.job_id for error in errors}
            yield [known[job_id] for job_id in some if job_id not in wrong], errors

    def _refusal(self, job_id: str, letter: DeadLetter | None) -> JobError | None:
        if letter is None:
            return JobNotFoundError(job_id)
        if letter.state != self._state:
            return ReplayRefusedError(job_id, letter.state or "unreadable", letter.run)
        return None

    async def _read(self, job_ids: list[str], *, tidy: bool, any_state: bool = False) -> list[DeadLetter]:
        rows = await asyncio.gather(*(self._row(job_id) for job_id in job_ids))
        gone = [job_id for job_id, row in zip(job_ids, rows, strict=True) if not any(row)]
        if tidy and gone:
            await self._link.execute("ZREM", self._index, *gone)
        letters = [parse_letter(job_id, row) for job_id, row in zip(job_ids, rows, strict=True) if any(row)]
        return [
            letter
            for letter in letters
            if self._tenant in ("", letter.tenant) and (any_state or letter.state == self._state)
        ]

    async def _row(self, job_id: str) -> list[bytes | None]:
        try:
            with reading(job_id):
                return list(await self._link.execute("HMGET", keys.record(job_id), *FIELDS))
        except CorruptRecordError:
            return unreadable(self._tenant, self._state)

    async def _spent(self, letters: list[DeadLetter]) -> list[list[int | None]]:
        """Of each letter's newest run: cost, uncertain, the most of one call, the job's own limit."""
        calls: list[Call] = [([keys.journal(it.job_id), keys.request(it.job_id)], [it.run]) for it in letters]
        replies = await self._link.call_each(_SPENT, calls)
        for reply in replies:
            if isinstance(reply, UnavailableError):
                raise reply
        unknown = [b""] * 4
        rows = [unknown if isinstance(reply, Exception) else reply for reply in replies]
        return [[int(amount) if amount else None for amount in row] for row in rows]

    async def _act(
        self, script: Script, letters: list[DeadLetter], head: list[str | int]
    ) -> list[tuple[DeadLetter, Any]]:
        if not letters:
            return []
        args = [*head, *(part for it in letters for part in (it.job_id, it.run))]
        replies = await self._link.call(script, [keys.record(it.job_id) for it in letters], args)
        return list(zip(letters, replies, strict=True))

    async def _beginning_with(self, prefix: str) -> list[str]:
        cursor, found = b"0", set[str]()
        while True:
            cursor, flat = await self._link.execute("ZSCAN", self._index, cursor, "MATCH", f"{prefix}*", "COUNT", 1000)
            found.update(name.decode() for name in flat[::2])
            if cursor == b"0" or len(found) > _PREFIX_MATCHES:
                letters = await self._read(sorted(found)[:_PREFIX_MATCHES], tidy=False)
                return [letter.job_id for letter in letters]

    async def _now(self) -> Any:
        seconds, micros = await self._link.execute("TIME")
        return moment(int(seconds) * 1000 + int(micros) // 1000)


class _Sum:
    """A sum that is unknown as soon as one of its parts is."""

    def __init__(self) -> None:
        self.total: int | None = 0

    def add(self, amount: int | None) -> None:
        self.total = None if self.total is None or amount is None else self.total + amount


def check_target(target: str | None) -> None:
    """Raise InvalidRequestError unless *target* is None or looks like ``provider/model``."""
    if target is not None and not _TARGET.fullmatch(target):
        raise InvalidRequestError("must be provider/model, such as openai/gpt-4o", field="target")


def _bound(cost: int | None, uncertain: int, most: int | None, limit: int | None, *, other_target: bool) -> int | None:
    if limit is not None:
        return limit
    if other_target or cost is None or most is None:
        return None
    return max(cost + uncertain, most)


def _outcome(letter: DeadLetter, reply: list[Any]) -> LetterOutcome:
    job_id = letter.job_id
    match reply:
        case [1, int() as run]:
            return LetterOutcome(job_id, run=run)
        case [1]:
            return LetterOutcome(job_id)
        case [0, state, run]:
            return LetterOutcome(job_id, refused=ReplayRefusedError(job_id, state.decode(), run))
        case [-3]:
            return LetterOutcome(job_id, refused=CorruptRecordError(job_id, "it is of a newer version"))
        case [-2]:
            return LetterOutcome(
                job_id, refused=CorruptRecordError(job_id, "what it was asked to do cannot be read any more")
            )
        case _:
            return LetterOutcome(job_id, refused=JobNotFoundError(job_id))


def _slices(items: list[str]) -> list[list[str]]:
    return [items[at : at + _AT_ONCE] for at in range(0, len(items), _AT_ONCE)]


def this_user() -> str:
    """User and machine, as the system knows them: the environment may say anything."""
    try:
        import pwd

        user = pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):
        user = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    return f"{user}@{socket.gethostname()}"
