"""Budgets: which scopes and windows there are, and how their limits are written in Redis.

The limits of all scopes stand in one hash (``keys.BUDGETS``), which the scripts that accept jobs and let calls through
read themselves: a limit that is changed holds from the next call on, for all producers and workers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

import orjson

from penstock_schemas.limits import NAME_PATTERN, TASK_PATTERN, USER_PATTERN

Window = Literal["hour", "day", "month"]
WINDOWS: Final[tuple[Window, ...]] = get_args(Window)

WhenSpent = Literal["wait", "degrade", "refuse"]
"""``wait``: a job whose next call has no room is parked until the window turns, uncharged. ``degrade``: the task's
fallback answers. ``refuse``: enqueue holds the most that a job may cost, and refuses one that has no room; a call of an
accepted job that needs more than was held waits."""
WHEN_SPENT: Final[tuple[WhenSpent, ...]] = get_args(WhenSpent)

SCOPES: Final = "global, tenant:NAME, tenant:*, user:TENANT/ID, user:TENANT/*, user:*, task:NAME or prompt:NAME@VERSION"

PROMPT_PATTERN = r"[a-z][a-z0-9_-]*@[0-9]+"

_SCOPE = re.compile(
    rf"global|tenant:(\*|{NAME_PATTERN})|user:(\*|{NAME_PATTERN}/(\*|{USER_PATTERN}))"
    rf"|task:{TASK_PATTERN}|prompt:{PROMPT_PATTERN}"
)
_UNLIMITED = -1


def is_scope(text: str) -> bool:
    """Whether it names what a budget can be for; see ``SCOPES``."""
    return _SCOPE.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that may be spent in one window; None: no limit of that kind."""

    nanousd: int | None = None
    tokens: int | None = None

    @property
    def bounded(self) -> bool:
        """Whether it limits anything."""
        return self.nanousd is not None or self.tokens is not None


@dataclass(frozen=True, slots=True)
class Budget:
    """The limits of one scope."""

    limits: Mapping[Window, Limit] = field(default_factory=dict)
    when_spent: WhenSpent = "wait"

    def fault(self, scope: str) -> str | None:
        """What is wrong with it as a budget of *scope*; None when nothing is."""
        if not any(limit.bounded for limit in self.limits.values()):
            return "limits nothing; give an amount for an hour, a day or a month"
        if self.when_spent == "refuse" and scope.startswith("prompt:"):
            return "cannot refuse: which prompt a job gets is decided after it is accepted; use wait or degrade"
        return None

    def to_json(self, source: Literal["file", "command"]) -> bytes:
        """As Redis keeps it. *source*: the workers' configuration, or a command."""
        windows = {
            window: [_or_unlimited(limit.nanousd), _or_unlimited(limit.tokens)]
            for window, limit in self.limits.items()
            if limit.bounded
        }
        return orjson.dumps({"when": self.when_spent, **windows, "source": source}, option=orjson.OPT_SORT_KEYS)


def budget_from_json(text: bytes) -> tuple[Budget, str]:
    """The budget that :meth:`Budget.to_json` wrote, and where it came from. Raises ValueError for anything else."""
    plain = orjson.loads(text)
    if not isinstance(plain, dict) or plain.get("when") not in WHEN_SPENT:
        raise ValueError("not a budget")
    limits = {window: _limit(plain[window]) for window in WINDOWS if window in plain}
    return Budget(limits, plain["when"]), str(plain.get("source", "file"))


def _limit(pair: Any) -> Limit:
    nanousd, tokens = (None if amount == _UNLIMITED else int(amount) for amount in pair)
    return Limit(nanousd, tokens)


def _or_unlimited(limit: int | None) -> int:
    return _UNLIMITED if limit is None else limit
