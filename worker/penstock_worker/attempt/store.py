"""What an attempt writes to Redis, one method for each script.

Every script may be repeated, so each is tried again while Redis is away: a finished answer is held until it can be
written. What has to be written is written even when the task is cancelled meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from enum import IntEnum
from typing import Any

import orjson
from redis.exceptions import RedisError

from penstock_schemas import keys
from penstock_schemas.prices import PriceRow
from penstock_schemas.results import JobFailure
from penstock_store.batcher import Batcher, Encodable
from penstock_store.connection import is_away
from penstock_store.scripts import Script, load_include, load_script
from penstock_worker.attempt.ledger import PriceNotes
from penstock_worker.attempt.recent import Recent
from penstock_worker.engine.lease import Lease
from penstock_worker.money.alerts import heard
from penstock_worker.money.budgets import TELL, Budgets, BudgetSpent, Hold
from penstock_worker.money.watch import Watch
from penstock_worker.routing.closed import Ask, Closed
from penstock_worker.routing.policy import Policy
from penstock_worker.routing.report import Report

_PACKAGE = "penstock_worker.attempt"
_ROUTING = "penstock_worker.routing"
_MONEY = "penstock_worker.money"
_PAUSE_S = (0.05, 1.0)

_BUDGET_SPENT, _COST_BREAKER_OPEN, _BUDGETS_UNTOLD = 6, 7, 8

HOLD_S = 600.0
"""How long an outcome is held for a Redis that is away; after it the job's lease has long been someone else's."""


class Intended(IntEnum):
    """Whether a call may be made."""

    LOST = 0
    """The lease is someone else's."""
    YES = 1
    ENVELOPE_SPENT = 2
    CANCELLED = 3
    PROBE = 5
    """It may, to find out whether its target is well again."""


class Parked(IntEnum):
    """Whether a job has a place in the line of a target."""

    LOST = 0
    """The lease is someone else's."""
    YES = 1
    TOO_LATE = 2
    """Its turn would come after its deadline."""


class AttemptStore:
    """The scripts of an attempt, on one batcher shared by all attempts of a process.

    *policy*: how targets are spared. *recent* keeps what was written last, for a Redis that loses it. *budgets*: those
    of the configuration. *watch*: what is told as unusual, and stopped.
    """

    def __init__(
        self,
        batcher: Batcher,
        policy: Policy | None = None,
        recent: Recent | None = None,
        budgets: Budgets | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._batcher = batcher
        self._budgets = budgets or Budgets()
        self._recent = recent or Recent(batcher)
        rules = (policy or Policy()).lua()
        budget, trail, fallbacks = (load_include(_MONEY, name) for name in ("budget", "trail", "fallbacks"))
        watched = (watch or Watch()).lua() + budget
        guards = (rules + load_include(_ROUTING, "admission"), watched, trail)
        self._intend, self._settle = (load_script(_PACKAGE, verb, includes=guards) for verb in ("intend", "settle"))
        self._park = load_script(_ROUTING, "park", includes=(rules,))
        self._tell, self._plan = (load_script(_PACKAGE, verb) for verb in ("tell", "plan"))
        self._finish = load_script(_PACKAGE, "finish", includes=(watched, fallbacks))
        self._reschedule, self._bury_corrupt = (
            load_script(_PACKAGE, verb, includes=(budget,)) for verb in ("reschedule", "bury_corrupt")
        )
        self._note_price, self._note = (load_script(_PACKAGE, verb) for verb in ("note_price", "note"))
        self.prices = PriceNotes(self._write_price)
        """Keeps the price rows that entries of the ledger name."""

    async def tell_budgets(self) -> None:
        """Tell the budgets of the configuration to Redis, for all that look there; waits while Redis is away."""
        await _persist(lambda: self._batcher.call(TELL, [], self._budgets.told()))

    async def intend(
        self,
        lease: Lease,
        call_id: str,
        intent: Mapping[str, Any],
        max_calls: int,
        ask: Ask | None = None,
        hold: Hold | None = None,
    ) -> Intended | Closed:
        """Ask to call the intent's target, and write down that it will be called; Closed when it is to be spared.

        What *hold* asks is held in all budgets that apply. Raises BudgetSpent when one of them has no room.

        Returns only when the lease is sure to be ours for a while yet: after a silence of Redis it waits for the
        heartbeat to renew it, or to cancel the task when it is lost.
        """
        ask, hold = ask or Ask(), hold or Hold()
        args = [call_id, orjson.dumps(intent), max_calls, intent["target"], ask.tokens, round(ask.lease_s * 1000)]
        args += [int(self._budgets.any), "" if hold.nanousd is None else hold.nanousd, hold.tokens]
        args += [intent.get("prompt", ""), intent.get("route", "")]
        reply = await _persist(lambda: self._run(self._intend, lease, args)) or 0
        while reply == _BUDGETS_UNTOLD:
            await self.tell_budgets()
            reply = await _persist(lambda: self._run(self._intend, lease, args)) or 0
        if isinstance(reply, list):
            return _closed(reply)
        code = Intended(reply)
        while code in (Intended.YES, Intended.PROBE) and not lease.trusted:  # noqa: ASYNC110  (only time and a thread change it)
            await asyncio.sleep(_PAUSE_S[0])
        return code

    async def settle(
        self,
        lease: Lease,
        call_id: str,
        kind: str,
        end: Mapping[str, Any],
        *,
        cost_nanousd: int | None,
        uncertain_nanousd: int,
        ledger: Mapping[str, Encodable],
        report: Report | None = None,
        counted_tokens: int = 0,
        tokens: int = 0,
        uncertain_tokens: int = 0,
        apart: str = "",
    ) -> bytes | None:
        """Write down what a call came to, also when the lease is lost: costs are never dropped.

        *report* is for those who guard the ledger's target, where the call was counted with *counted_tokens*; None
        says nothing. *apart* is the answer's text, where it is kept apart from the journal: :meth:`text_apart` gives it
        back. Returns None, or what it was settled as before, ``<kind> <JSON>``; then nothing more is written.
        """
        cost = "" if cost_nanousd is None else cost_nanousd
        entry = [part for pair in ledger.items() for part in pair]
        said = ["", "", -1, 0, -1] if report is None else _said(report, ledger["target"], counted_tokens)
        args = [call_id, kind, orjson.dumps(end), cost, uncertain_nanousd, *said, tokens, uncertain_tokens]
        args += [apart, *entry]
        before, cancelled = await _held(lambda: self._run(self._settle, lease, args))
        self._recent.settled(self._settle, *_sent(lease, args), lease.job_id)
        if cancelled:
            raise asyncio.CancelledError
        return before

    async def text_apart(self, lease: Lease, call_id: str) -> str:
        """The text of an answer that is kept apart from the journal; "" when there is none."""
        command = ("HGET", keys.parts(lease.job_id).encode(errors="surrogateescape"), call_id)
        found = await _persist(lambda: self._batcher.execute(*command)) or b""
        return str(found, "utf-8", "replace")

    async def plan(self, lease: Lease, plan: bytes) -> bytes | None:
        """Keep *plan* as the way this run is worked on in parts; the one that was kept before, if one was.

        None: the lease is lost.
        """
        kept: bytes | None = await _persist(lambda: self._run(self._plan, lease, [plan]))
        return kept

    async def finish(
        self,
        lease: Lease,
        state: str,
        *,
        field: str = "",
        body: bytes = b"",
        attempt: Mapping[str, Any],
        event: Mapping[str, Any],
    ) -> bool:
        """End the run; False when the lease was lost and nothing is written."""
        args = [state, field, body, orjson.dumps(attempt), orjson.dumps(event)]
        return await self._ended(lease, self._finish, args)

    async def reschedule(
        self,
        lease: Lease,
        *,
        delay_s: float,
        charged: bool,
        attempt: Mapping[str, Any] | None,
        reason: str,
        due_at_ms: int | None = None,
    ) -> bool:
        """Give the job back to its queue, for later or for now; False when the lease was lost.

        *due_at_ms* is the moment itself, by Redis' clock, instead of a delay from now on. A job whose cancel was asked
        for meanwhile is cancelled instead.
        """
        told = orjson.dumps(attempt) if attempt else b""
        args = [round(delay_s * 1000) if due_at_ms is None else -due_at_ms, int(charged), told, reason]
        return await self._ended(lease, self._reschedule, args)

    async def park(self, lease: Lease, target: str, tokens: int, deadline_at_ms: int | None) -> tuple[Parked, int]:
        """Take a place in the line of a target for a call of so many tokens; and when its turn is, ms of Redis' clock.

        A repeat takes another place, and the first is void.
        """
        args = [target, tokens, "" if deadline_at_ms is None else deadline_at_ms]
        code, at_ms = await _persist(lambda: self._run(self._park, lease, args)) or (0, 0)
        return Parked(code), at_ms

    async def bury_corrupt(self, lease: Lease, failure: JobFailure, keep_s: float) -> bool:
        """Put a dead letter in the place of a record that cannot be read; False when the lease was lost."""
        args: list[Encodable] = [
            lease.raw_id,
            lease.token,
            lease.tenant,
            lease.lane,
            failure.model_dump_json(),
            round(keep_s * 1000),
        ]
        return await self._left(lease, lambda: self._batcher.call(self._bury_corrupt, [lease.queue], args))

    async def tell(self, lease: Lease, run: int, kind: str, data: Mapping[str, Any]) -> None:
        """Append a delta or a step of progress to the job's events; dropped while Redis is away."""
        try:
            await self._run(self._tell, lease, [run, kind, orjson.dumps(data)])
        except (RedisError, OSError) as error:
            if not is_away(error):
                raise

    async def note(
        self,
        lease: Lease,
        run: int,
        name: str,
        fact: Mapping[str, Any],
        *,
        fenced: bool = False,
        event: Mapping[str, Any] | None = None,
    ) -> Any:
        """Write *fact* beside a call of the journal, and tell *event* as progress; the first that is written stays.

        Returns None when it was written, what was written before instead, and False when the lease, which *fenced*
        asks for, is lost.
        """
        args = [name, orjson.dumps(fact), int(fenced), run, orjson.dumps(event) if event else b""]
        before, cancelled = await _held(lambda: self._run(self._note, lease, args))
        if cancelled:
            raise asyncio.CancelledError
        return False if before == 0 else orjson.loads(before) if before else None

    async def _ended(self, lease: Lease, script: Script, args: list[Any]) -> bool:
        sent = _sent(lease, [*args, lease.queue])
        left = await self._left(lease, lambda: self._batcher.call(script, *sent))
        if left:
            self._recent.ended(script, *sent, lease.job_id)
        return left

    async def _left(self, lease: Lease, once: Callable[[], Awaitable[Any]]) -> bool:
        """Leave the job by *once*. Nothing cancels that any more."""
        lease.concluded = True
        code, cancelled = await _held(once)
        if cancelled:
            _uncancel()
        lease.released = bool(code)
        return lease.released

    def _write_price(self, row: PriceRow) -> asyncio.Future[Any]:
        return self._batcher.call(self._note_price, [], [row.digest, row.as_json])

    async def _run(self, script: Script, lease: Lease, args: list[Any]) -> Any:
        return heard(await self._batcher.call(script, *_sent(lease, args)))


def _closed(reply: list[Any]) -> Closed:
    """Why a call is not made now. Raises BudgetSpent when it is for the money."""
    wait_s, what = reply[1] / 1000, reply[2].decode()
    if reply[0] == _BUDGET_SPENT:
        raise BudgetSpent(what, wait_s, when_spent=reply[3].decode())
    if reply[0] == _COST_BREAKER_OPEN:
        raise BudgetSpent(what, wait_s, code="cost_breaker_open")
    return Closed(what, wait_s)


def _sent(lease: Lease, args: list[Any]) -> tuple[list[bytes], list[Encodable]]:
    """KEYS and ARGV of a script that acts for the holder of *lease*."""
    return [keys.record(lease.job_id).encode(errors="surrogateescape")], [lease.raw_id, lease.token, *args]


def _said(report: Report, target: Encodable, counted_tokens: int) -> list[Encodable]:
    more_tokens = 0 if report.tokens is None else report.tokens - counted_tokens
    return [target, report.what, report.wait_ms, more_tokens, report.told]


def _uncancel() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()


async def _held(once: Callable[[], Awaitable[Any]]) -> tuple[Any | None, bool]:
    """As :func:`_persist`, also when the task is cancelled meanwhile: the second value tells whether it was."""
    cancelled = False
    while True:
        try:
            return await _persist(once), cancelled
        except asyncio.CancelledError:
            cancelled = True  # the call may be under way: it is repeated, so as to know


async def _persist(once: Callable[[], Awaitable[Any]]) -> Any | None:
    """Do *once* until Redis takes it; None after ``HOLD_S``."""
    give_up_at, pause_s = time.monotonic() + HOLD_S, _PAUSE_S[0]
    while True:
        try:
            return await once()
        except (RedisError, OSError) as error:
            if not is_away(error):
                raise
        if time.monotonic() > give_up_at:
            return None
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, _PAUSE_S[1])
