"""Budgets by the real Lua on a real Redis, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redis import Redis

from penstock_schemas import keys
from penstock_schemas.budgets import Budget
from penstock_store.scripts import Script, load_include

_LUA = load_include("penstock_worker.money", "budget")
_ROWS = """
local whom = {tenant = ARGV[1], task = ARGV[2], user = ARGV[3] ~= "" and ARGV[3] or nil, prompt = ARGV[4]}
"""
_HOLD = Script(
    _LUA
    + _ROWS
    + """
local amount, tokens, now = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local rows = budget_rows(whom, now)
local hold = redis.call("HGET", KEYS[2], "hold")
local own = hold and cjson.decode(hold)
local full = budget_full(rows, amount, tokens, own, now)
if full then return {full.scope, full.ends, full.when} end
budget_hold(KEYS[1], KEYS[2], ARGV[5], rows, own, amount, tokens)
return 1
"""
)
_HOLD_JOB = Script(
    _LUA
    + _ROWS
    + """
local amount, tokens, now = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local rows = budget_rows(whom, now, "refuse")
local full = budget_full(rows, amount, tokens, nil, now)
if full then return {full.scope, full.ends, full.when} end
redis.call("HSET", KEYS[1], "hold", budget_hold_job(rows, amount, tokens))
return 1
"""
)
_SETTLE = Script(
    _LUA
    + """
budget_settle(KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]),
  tonumber(ARGV[6]))
return 1
"""
)
_RELEASE = Script(
    load_include("penstock_store", "record")
    + """
local hold = redis.call("HGET", KEYS[1], "hold")
if hold then release_hold(KEYS[1], hold) end
return 1
"""
)
_WINDOW = Script(_LUA + "return {budget_window(ARGV[1], tonumber(ARGV[2]))}")

JOB = "0" * 32
FIELDS = ("spent", "held", "uncertain", "overrun", "tokens_spent", "tokens_held", "tokens_uncertain", "calls")
Refused = tuple[str, int, str]


class BudgetScripts:
    """The functions of the include, each in a script of its own; for the tenant ``acme`` and the task ``summarize``."""

    def __init__(self, redis: Redis, budgets: Mapping[str, Budget] | None = None) -> None:
        self._redis: Any = redis
        for scope, budget in (budgets or {}).items():
            self.set(scope, budget)

    def set(self, scope: str, budget: Budget) -> None:
        """Give a scope its limits."""
        self._redis.hset(keys.BUDGETS, scope, budget.to_json("file"))

    def hold(
        self,
        call_id: str,
        amount: int,
        *,
        tokens: int = 0,
        now_ms: int,
        job: str = JOB,
        user: str = "",
        tenant: str = "acme",
    ) -> Refused | None:
        """None when it is held; else the scope that has no room, when its window ends, and its policy."""
        at = [keys.journal(job), keys.record(job)]
        args = [tenant, "summarize", user, "summarize@1", call_id, amount, tokens, now_ms]
        return _refused(self._redis.eval(_HOLD.text, 2, *at, *args))

    def hold_job(self, job: str, amount: int, *, tokens: int = 0, now_ms: int, user: str = "") -> Refused | None:
        """The same for a whole job, in the budgets that refuse."""
        args = ["acme", "summarize", user, "", amount, tokens, now_ms]
        return _refused(self._redis.eval(_HOLD_JOB.text, 1, keys.record(job), *args))

    def settle(
        self,
        call_id: str,
        cost: int,
        *,
        uncertain: int = 0,
        tokens: int = 0,
        tokens_uncertain: int = 0,
        now_ms: int = 0,
        job: str = JOB,
    ) -> None:
        """Settle, or amend what was left uncertain."""
        at = [keys.journal(job), keys.record(job)]
        self._redis.eval(_SETTLE.text, 2, *at, call_id, cost, uncertain, tokens, tokens_uncertain, now_ms)

    def release(self, job: str) -> None:
        """Free what a job holds, as its end does."""
        self._redis.eval(_RELEASE.text, 1, keys.record(job))

    def window(self, kind: str, now_ms: int) -> tuple[str, int]:
        """Name and end of the window."""
        name, ends_ms = self._redis.eval(_WINDOW.text, 0, kind, now_ms)
        return name.decode(), int(ends_ms)

    def read(self, scope: str, window: str) -> dict[str, int]:
        """A budget's numbers; those never written are 0."""
        row = self._redis.hmget(keys.budget(scope, window), FIELDS)
        return {name: int(value or 0) for name, value in zip(FIELDS, row, strict=True)}

    def alerts(self) -> list[tuple[str, str]]:
        """Code and scope of each alert that was told."""
        told = [entry for _, entry in self._redis.xrange(keys.EVENTS)]
        return [(entry[b"alert"].decode(), entry[b"scope"].decode()) for entry in told if entry[b"type"] == b"alert"]


def _refused(reply: Any) -> Refused | None:
    return None if reply == 1 else (reply[0].decode(), reply[1], reply[2].decode())
