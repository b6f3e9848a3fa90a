"""Which budgets a worker's configuration has, and what a call that has no room is told.

1. The limits stand in Redis (:mod:`penstock_schemas.budgets`): those of the configuration are told there when a worker
   starts, and by any worker that finds them missing; ``penstock budget set`` changes them for all.
2. Before a call one script looks at every scope and window that applies, and holds the call's worst case in all of
   them or in none (``budget.lua``). No budget store, no call.
3. After it the hold is settled exactly once: what the call cost is spent; what is unknown stays uncertain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from penstock_schemas.budgets import SCOPES, Budget, is_scope
from penstock_schemas.errors import ConfigurationError
from penstock_store.batcher import Encodable
from penstock_store.scripts import Script, load_script

TELL: Script = load_script("penstock_worker.money", "tell_budgets")


@dataclass(frozen=True, slots=True)
class Hold:
    """What one call asks of the budgets."""

    nanousd: int | None = 0
    """The most it can cost; None where the price is unknown."""
    tokens: int = 0
    """The most it can take."""


class BudgetSpent(Exception):
    """A call was not made: a budget has no room for it, or its prompt or route costs far more than it usually does."""

    def __init__(self, scope: str, wait_s: float, *, when_spent: str = "wait", code: str = "budget_exceeded") -> None:
        super().__init__(scope)
        self.scope = scope
        self.wait_s = wait_s
        """How long until the window turns."""
        self.when_spent = when_spent
        """What is to be done: ``degrade``, or anything else for a wait."""
        self.code = code
        """``budget_exceeded`` or ``cost_breaker_open``."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What one call of a task may take at most: for what is held of budgets when a job without a bound is accepted."""

    nanousd: int
    """Of a request without any bytes, nano-USD."""
    nanousd_per_mb: int
    """For each million bytes of the request."""
    tokens: int
    """Of a request without any bytes; each byte of one may be a token more."""


@dataclass(frozen=True, slots=True)
class Budgets:
    """The budgets of a worker's configuration, by scope. Raises ConfigurationError for one that cannot be."""

    by_scope: Mapping[str, Budget] = field(default_factory=dict)
    bounds: Mapping[str, Bound] = field(default_factory=dict)
    """Task -> bound of one of its calls; without those whose price is unknown."""

    def __post_init__(self) -> None:
        for scope, budget in self.by_scope.items():
            if not is_scope(scope):
                raise ConfigurationError(f"budgets.{scope}", f"is no scope: {SCOPES}")
            if fault := budget.fault(scope):
                raise ConfigurationError(f"budgets.{scope}", fault)

    @property
    def any(self) -> bool:
        """Whether the configuration has any."""
        return bool(self.by_scope)

    def told(self) -> list[Encodable]:
        """What :data:`TELL` is given."""
        scopes: dict[str, Any] = {scope: budget.to_json("file").decode() for scope, budget in self.by_scope.items()}
        bounds = {task: [bound.nanousd, bound.nanousd_per_mb, bound.tokens] for task, bound in self.bounds.items()}
        return [orjson.dumps(scopes), orjson.dumps({task: orjson.dumps(row).decode() for task, row in bounds.items()})]
