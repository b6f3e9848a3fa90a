"""Budgets: what their limits are, what is taken of them, and how to change them for all producers and workers.

    budgets = Budgets(producer)
    await budgets.set("tenant:acme", day=Limit(nanousd=nanousd("5.00")), when_spent="refuse")
    for line in await budgets.lines():
        print(line.scope, line.window, line.free_nanousd)

A limit that is set so holds from the next enqueue and the next call on, and until it is unset; those of the workers'
configuration hold for all other scopes. Each change is noted in ``penstock:audit``.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from penstock.dead_letters import this_user
from penstock.producer import Producer
from penstock.records import pairs
from penstock_schemas import keys
from penstock_schemas.budgets import (
    PROMPT_PATTERN,
    SCOPES,
    WHEN_SPENT,
    WINDOWS,
    Budget,
    Limit,
    WhenSpent,
    Window,
    budget_from_json,
    is_scope,
)
from penstock_schemas.errors import InvalidRequestError
from penstock_schemas.limits import TASK_PATTERN
from penstock_schemas.results import moment
from penstock_store.scripts import load_script

_CHANGE, _RESET, _WINDOWS = (load_script("penstock", f"budget_{verb}") for verb in ("change", "reset", "windows"))
_STOPPABLE = re.compile(rf"prompt:{PROMPT_PATTERN}|route:{TASK_PATTERN}")
_FIELDS = ("spent", "held", "uncertain", "overrun", "tokens_spent", "tokens_held", "tokens_uncertain", "calls")
_AT_ONCE = 500
_TRIES = 20


@dataclass(frozen=True, slots=True)
class BudgetLine:
    """One scope in one window, as it is now."""

    scope: str
    """One of ``tenant:*`` and the like has a line for each that it holds for and that has made a call."""
    window: Window
    reset_at: datetime
    """When the window turns."""
    when_spent: WhenSpent
    source: str
    """``file``: the limits are those of the workers' configuration; ``command``: somebody has set them."""
    limit_nanousd: int | None
    """None: money is not limited."""
    limit_tokens: int | None
    """None: tokens are not limited."""
    spent: int = 0
    """Nano-USD, as are the next three."""
    held: int = 0
    """For jobs that were accepted, and for calls under way: the most that they may cost."""
    uncertain: int = 0
    """The most that calls may have cost of which nobody knows whether they were billed."""
    overrun: int = 0
    """Of what is spent, that which calls cost beyond what was held for them."""
    tokens_spent: int = 0
    tokens_held: int = 0
    tokens_uncertain: int = 0
    calls: int = 0

    @property
    def free_nanousd(self) -> int | None:
        """What is left, 0 at least; None without a limit."""
        return _free(self.limit_nanousd, self.spent + self.held + self.uncertain)

    @property
    def free_tokens(self) -> int | None:
        """What is left, 0 at least; None without a limit."""
        return _free(self.limit_tokens, self.tokens_spent + self.tokens_held + self.tokens_uncertain)


@dataclass(frozen=True, slots=True)
class Stopped:
    """A prompt or a route whose calls are kept back, since they cost far more than usual."""

    scope: str
    until: datetime


@dataclass(frozen=True, slots=True)
class _Told:
    limits: Mapping[str, tuple[Budget, str]]
    """Scope -> its budget, and where it came from."""
    open_until_ms: Mapping[str, int]


class Budgets:
    """The budgets of all tenants.

    *who* is noted beside what is changed; None: the user of this process and its machine. Every method raises
    UnavailableError when Redis is away.
    """

    def __init__(self, producer: Producer, *, who: str | None = None) -> None:
        self._link = producer.link
        self._who = who or this_user()

    async def lines(self, scopes: Iterable[str] = ()) -> list[BudgetLine]:
        """What is taken of these scopes now; of all that have limits, if none is named.

        A scope that has no limits of its own is shown by those that hold for it, such as ``tenant:acme`` by
        ``tenant:*``; without any it has no line. Raises InvalidRequestError for what is no scope.
        """
        named = list(scopes)
        for scope in named:
            _check_scope(scope)
        told = await self._told()
        windows = await self._windows()
        found: list[BudgetLine] = []
        for scope in named or sorted(told.limits):
            general = next((name for name in _generals(scope) if name in told.limits), None)
            if general is not None:
                found += await self._lines_of(scope, *told.limits[general], windows, told)
        return found

    async def stopped(self) -> list[Stopped]:
        """The prompts and routes that are stopped now for what they cost."""
        told, (now_ms, _) = await self._told(), await self._now_and_windows()
        return [Stopped(scope, moment(until)) for scope, until in sorted(told.open_until_ms.items()) if until > now_ms]

    async def set(
        self,
        scope: str,
        *,
        hour: Limit | None = None,
        day: Limit | None = None,
        month: Limit | None = None,
        when_spent: WhenSpent | None = None,
    ) -> Budget:
        """Give *scope* these limits; None leaves a window as it is, ``Limit()`` takes its limits away.

        Returns the budget as it is from now on. A limit below what is taken already lets nothing through until the
        window turns. Raises InvalidRequestError for what cannot be a budget.
        """
        given = {window: limit for window, limit in zip(WINDOWS, (hour, day, month), strict=True) if limit is not None}
        return await self.change(scope, lambda old: _changed(old, given, when_spent))

    async def change(self, scope: str, make: Callable[[Budget], Budget]) -> Budget:
        """Give *scope* what *make* makes of its budget, which is called again when somebody else was faster."""
        _check_scope(scope)
        for _ in range(_TRIES):
            seen = await self._link.execute("HGET", keys.BUDGETS, scope) or b""
            budget = make(_read(scope, seen)[0] if seen else Budget())
            if fault := budget.fault(scope):
                raise InvalidRequestError(fault, field=scope)
            if await self._write(scope, seen, budget.to_json("command")):
                return budget
        raise RuntimeError(f"{scope} is changed all the time by others")

    async def unset(self, scope: str) -> bool:
        """Take back what was set: those of the workers' configuration hold again, or none. False: nothing was set.

        Raises InvalidRequestError for what is no scope.
        """
        _check_scope(scope)
        for _ in range(_TRIES):
            seen = await self._link.execute("HGET", keys.BUDGETS, scope) or b""
            if not seen or _read(scope, seen)[1] != "command":
                return False
            if await self._write(scope, seen, b""):
                return True
        raise RuntimeError(f"{scope} is changed all the time by others")

    async def reset(self, scope: str) -> bool:
        """Let ``prompt:<name@version>`` or ``route:<name>`` go on, and learn anew what it usually costs.

        False: it was not stopped. Raises InvalidRequestError for anything else.
        """
        if not _STOPPABLE.fullmatch(scope):
            raise InvalidRequestError("must be prompt:NAME@VERSION or route:NAME", field="scope")
        return bool(await self._link.call(_RESET, [], [self._who, secrets.token_hex(8), scope]))

    async def _write(self, scope: str, seen: bytes, limits: bytes) -> bool:
        return bool(await self._link.call(_CHANGE, [], [self._who, secrets.token_hex(8), scope, seen, limits]))

    async def _told(self) -> _Told:
        row = pairs(await self._link.execute("HGETALL", keys.BUDGETS))
        named = {name.decode(): value for name, value in row.items()}
        return _Told(
            {name: _read(name, value) for name, value in named.items() if is_scope(name)},
            {name.removeprefix("open:"): int(value) for name, value in named.items() if name.startswith("open:")},
        )

    async def _now_and_windows(self) -> tuple[int, dict[Window, tuple[str, int]]]:
        now_ms, *flat = await self._link.call(_WINDOWS, [])
        ends = zip(WINDOWS, zip(flat[::2], flat[1::2], strict=True), strict=True)
        return int(now_ms), {window: (name.decode(), int(end_ms)) for window, (name, end_ms) in ends}

    async def _windows(self) -> dict[Window, tuple[str, int]]:
        return (await self._now_and_windows())[1]

    async def _lines_of(
        self, scope: str, budget: Budget, source: str, windows: Mapping[Window, tuple[str, int]], told: _Told
    ) -> list[BudgetLine]:
        found = []
        for window, limit in budget.limits.items():
            name, end_ms = windows[window]
            for one in await self._counted(scope, name, told) if "*" in scope else [scope]:
                row = await self._link.execute("HMGET", keys.budget(one, name), *_FIELDS)
                counts = {field: int(value or 0) for field, value in zip(_FIELDS, row, strict=True)}
                reset_at, limits = moment(end_ms), (limit.nanousd, limit.tokens)
                found.append(BudgetLine(one, window, reset_at, budget.when_spent, source, *limits, **counts))
        return found

    async def _counted(self, scope: str, window: str, told: _Told) -> list[str]:
        """Those that a scope with a star holds for, and that something was counted of in this window."""
        before, behind = keys.budget("\0", window).split("\0")
        found: set[str] = set()
        cursor: bytes | int = b"0"
        while True:
            cursor, names = await self._link.execute(
                "SCAN", cursor, "MATCH", keys.budget(scope, window), "COUNT", _AT_ONCE
            )
            found |= {name.decode().removeprefix(before).removesuffix(behind) for name in names}
            if cursor in (b"0", 0):
                break
        return sorted(one for one in found if next(g for g in _generals(one) if g in told.limits) == scope)


def _read(scope: str, text: bytes) -> tuple[Budget, str]:
    """Raises InvalidRequestError for what is no budget of ours."""
    try:
        return budget_from_json(text)
    except (ValueError, TypeError, KeyError):
        message = f"what {keys.BUDGETS} holds of it cannot be read; remove that field"
        raise InvalidRequestError(message, field=scope) from None


def _generals(scope: str) -> list[str]:
    """The scopes whose limits hold for *scope*, the nearest first: its own, then those with a star."""
    kind, _, name = scope.partition(":")
    if kind == "tenant":
        return [scope, "tenant:*"]
    if kind == "user":
        return [scope, f"user:{name.partition('/')[0]}/*", "user:*"]
    return [scope]


def _changed(old: Budget, given: Mapping[Window, Limit], when_spent: WhenSpent | None) -> Budget:
    if when_spent is not None and when_spent not in WHEN_SPENT:
        raise InvalidRequestError(f"must be one of {', '.join(WHEN_SPENT)}", field="when_spent")
    limits = {window: limit for window, limit in {**old.limits, **given}.items() if limit.bounded}
    for window, limit in limits.items():
        if (limit.nanousd or 0) < 0 or (limit.tokens or 0) < 0:
            raise InvalidRequestError("must not be negative", field=window)
    return Budget(limits, when_spent or old.when_spent)


def _check_scope(scope: str) -> None:
    if not isinstance(scope, str) or not is_scope(scope):
        raise InvalidRequestError(f"must be {SCOPES}", field="scope")


def _free(limit: int | None, taken: int) -> int | None:
    return None if limit is None else max(0, limit - taken)
