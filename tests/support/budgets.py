"""Budgets by the real Lua on a real Redis, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from redis import Redis

from penstock_schemas import keys
from penstock_store.scripts import Script, load_include

_LUA = load_include("penstock_worker.money", "budget")
_HOLD = Script(
    _LUA
    + """
local amount, tokens = tonumber(ARGV[3]), tonumber(ARGV[4])
local found, scope, ends_ms = budget_fits(cjson.decode(ARGV[2]), amount, tokens, tonumber(ARGV[5]))
if not found then return {scope, ends_ms} end
budget_hold(KEYS[1], ARGV[1], found, amount, tokens)
return 1
"""
)
_SETTLE = Script(
    _LUA
    + """
budget_settle(KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]))
return 1
"""
)
_WINDOW = Script(_LUA + "return {budget_window(ARGV[1], tonumber(ARGV[2]))}")

JOURNAL = keys.journal("0" * 32)
FIELDS = ("spent", "held", "uncertain", "overrun", "tokens_spent", "tokens_held", "tokens_uncertain", "calls")

ScopeRow = Sequence[Any]


class BudgetScripts:
    """The functions of the include, each in a script of its own."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis

    def hold(
        self, call_id: str, scopes: Sequence[ScopeRow], amount: int, *, tokens: int = 0, now_ms: int
    ) -> tuple[str, int] | None:
        """None when it is held; else the scope that has no room and when its window ends."""
        args = [call_id, orjson.dumps([list(row) for row in scopes]), amount, tokens, now_ms]
        reply = self._redis.eval(_HOLD.text, 1, JOURNAL, *args)
        return None if reply == 1 else (reply[0].decode(), reply[1])

    def settle(
        self, call_id: str, cost: int, *, uncertain: int = 0, tokens: int = 0, tokens_uncertain: int = 0
    ) -> None:
        """Settle, or amend what was left uncertain."""
        self._redis.eval(_SETTLE.text, 1, JOURNAL, call_id, cost, uncertain, tokens, tokens_uncertain)

    def window(self, kind: str, now_ms: int) -> tuple[str, int]:
        """Name and end of the window."""
        name, ends_ms = self._redis.eval(_WINDOW.text, 0, kind, now_ms)
        return name.decode(), int(ends_ms)

    def read(self, scope: str, window: str) -> dict[str, int]:
        """A budget's numbers; those never written are 0."""
        row = self._redis.hmget(keys.budget(scope, window), FIELDS)
        return {name: int(value or 0) for name, value in zip(FIELDS, row, strict=True)}
