"""Which budgets a call counts against, and what happens when one of them has no room.

1. A scope is ``global``, ``tenant:<name>``, ``task:<name>`` or ``prompt:<name@version>``; ``tenant:*`` stands for each
   tenant that has no budget of its own, each with its own amount.
2. Before a call one script looks at every scope and window that applies, and holds the call's worst case in all of
   them or in none (``lua/budget.lua``). No budget store, no call.
3. After it the hold is settled exactly once: what the call cost is spent; what is unknown stays uncertain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import orjson

from penstock_schemas.errors import ConfigurationError
from penstock_schemas.limits import NAME_PATTERN, TASK_PATTERN

Window = Literal["hour", "day", "month"]
WINDOWS: tuple[Window, ...] = ("hour", "day", "month")
Policy = Literal["wait", "degrade"]

GLOBAL = "global"
_SCOPE = re.compile(rf"global|tenant:(\*|{NAME_PATTERN})|task:{TASK_PATTERN}|prompt:[a-z][a-z0-9_-]*@[0-9]+")
_UNLIMITED = -1


@dataclass(frozen=True, slots=True)
class Hold:
    """What one call asks of the budgets."""

    scopes: bytes = b""
    """As :meth:`Budgets.scopes` gives it; empty for none."""
    nanousd: int = 0
    """The most it can cost; 0 where the price is unknown."""
    tokens: int = 0
    """The most it can take."""


class BudgetSpent(Exception):
    """A call was not made, since a budget that it counts against has no room for it."""

    def __init__(self, scope: str, wait_s: float) -> None:
        super().__init__(scope)
        self.scope = scope
        self.wait_s = wait_s
        """How long until the budget's window turns."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that may be spent in one window; None: no limit of that kind."""

    window: Window
    nanousd: int | None = None
    tokens: int | None = None

    @property
    def bounded(self) -> bool:
        """Whether it limits anything."""
        return self.nanousd is not None or self.tokens is not None


@dataclass(frozen=True, slots=True)
class Budget:
    """The limits of one scope."""

    limits: tuple[Limit, ...]
    when_spent: Policy = "wait"
    """``wait``: the job is parked until the window turns, uncharged. ``degrade``: the task's fallback answers."""


class Budgets:
    """The budgets of a worker, by scope. Raises ConfigurationError for a scope that is not one."""

    def __init__(self, budgets: Mapping[str, Budget]) -> None:
        for scope in budgets:
            if not _SCOPE.fullmatch(scope):
                message = "is no scope: global, tenant:<name>, tenant:*, task:<name> or prompt:<name@version>"
                raise ConfigurationError(f"budgets.{scope}", message)
        self._budgets = dict(budgets)

    def scopes(self, *, tenant: str, task: str, prompt: str) -> bytes:
        """What a call counts against, as the script reads it: JSON of ``[scope, window, nano-USD, tokens]`` rows.

        Empty when nothing applies.
        """
        rows = [
            [scope, limit.window, _or_unlimited(limit.nanousd), _or_unlimited(limit.tokens)]
            for scope, budget in self._of(tenant, task, prompt)
            for limit in budget.limits
        ]
        return orjson.dumps(rows) if rows else b""

    def when_spent(self, scope: str) -> Policy:
        """What to do when *scope* has no room."""
        budget = self._budgets.get(scope) or self._budgets.get("tenant:*")
        return budget.when_spent if budget else "wait"

    def _of(self, tenant: str, task: str, prompt: str) -> Iterator[tuple[str, Budget]]:
        for scope in (GLOBAL, f"tenant:{tenant}", f"task:{task}", f"prompt:{prompt}"):
            budget = self._budgets.get(scope)
            if budget is None and scope.startswith("tenant:"):
                budget = self._budgets.get("tenant:*")
            if budget is not None:
                yield scope, budget


def _or_unlimited(limit: int | None) -> int:
    return _UNLIMITED if limit is None else limit
