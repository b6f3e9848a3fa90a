"""When an entry of a route is asked, and when its answer is good enough to end there. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock_schemas.results import Quality
from penstock_worker.llm.errors import AccessError, CallError, CallTimeoutError, ContextTooLongError

Scalar = str | int | float | bool | None

BELOW_GATE = "below_gate"
"""Code of an answer that was good, but not good enough for its entry."""
TOO_LONG = "input_too_long"
"""Code of an input that does not fit a target's window, and was not sent."""

_ANSWERS = (
    "cut_off",
    "refused",
    "content_filtered",
    "unexpected_tool_call",
    "unknown_stop_reason",
    "empty_answer",
    "bad_output",
    "unusable_answer",
    "prompt_leaked",
    "result_too_large",
    "validation_timeout",
    "validation_failed",
)
_CLOSED = ("gate_closed", "breaker_open", "account_closed", "limit_reached")
_MONEY = ("over_budget", "unknown_price", "budget_exceeded", "cost_breaker_open")


def _codes(base: type[CallError]) -> frozenset[str]:
    """The codes of an error and of all below it."""
    own = {base.code} if "code" in vars(base) else set()
    return frozenset(own).union(*(_codes(kind) for kind in base.__subclasses__()))


GROUPS: Mapping[str, frozenset[str]] = {
    "timeout": _codes(CallTimeoutError),
    "access": _codes(AccessError),
    "closed": frozenset(_CLOSED),
    "too_long": _codes(ContextTooLongError) | {TOO_LONG},
    "money": frozenset(_MONEY),
    "bad_answer": frozenset(_ANSWERS) - {"refused", "content_filtered"} | {"bad_response", "degenerate"},
}
"""Names for several codes at once."""

CODES = _codes(CallError) | {*_ANSWERS, *_CLOSED, *_MONEY, BELOW_GATE, TOO_LONG}
"""All that can be said of a target that gave no result."""


def codes_named(names: tuple[str, ...]) -> frozenset[str]:
    """The codes that *names* stand for, each a code or a group. Raises ValueError for a name that is neither."""
    for name in names:
        if name not in CODES and name not in GROUPS:
            known = ", ".join([*sorted(GROUPS), *sorted(CODES)])
            raise ValueError(f"{name!r} is no class of trouble; known: {known}")
    return frozenset().union(*(GROUPS.get(name, {name}) for name in names))


@dataclass(frozen=True, slots=True)
class Case:
    """What conditions look at."""

    task: str
    tenant: str
    lane: str
    metadata: Mapping[str, str]
    fields: Mapping[str, Any]
    """The task's input as plain JSON."""
    input_tokens: int
    """An upper bound, for this entry's model."""
    time_left_s: float | None
    """Until the job's deadline; None without one."""
    trouble: str | None
    """Code of what the target asked before came to; None for the first."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What has to be so for an entry to be asked; None asks nothing. All of it must hold."""

    input_tokens_from: int | None = None
    input_tokens_to: int | None = None
    """Inclusive."""
    tasks: frozenset[str] | None = None
    tenants: frozenset[str] | None = None
    lanes: frozenset[str] | None = None
    metadata: Mapping[str, tuple[Scalar, ...]] | None = None
    """Name -> values, one of which it must have."""
    fields: Mapping[str, tuple[Scalar, ...]] | None = None
    """Field of the task's input -> values, one of which it must have."""
    time_left_s: float | None = None
    """The least time until the deadline. A job without a deadline has enough."""
    after: frozenset[str] | None = None
    """The target before it must have come to one of these codes."""

    def holds(self, case: Case) -> bool:
        """Whether an entry is asked in this case."""
        return (
            _within(case.input_tokens, self.input_tokens_from, self.input_tokens_to)
            and (self.time_left_s is None or case.time_left_s is None or case.time_left_s >= self.time_left_s)
            and (self.after is None or case.trouble in self.after)
            and (self.tasks is None or case.task in self.tasks)
            and (self.tenants is None or case.tenant in self.tenants)
            and (self.lanes is None or case.lane in self.lanes)
            and _matches(self.metadata, case.metadata)
            and _matches(self.fields, case.fields)
        )


@dataclass(frozen=True, slots=True)
class Gate:
    """What an answer must be to end the route at its entry; else the next is asked, and this one kept in hand."""

    quality: Quality = Quality.OK
    """``ok``: nothing was mended and nothing is doubtful. ``repaired``: nothing is doubtful."""
    min_confidence: float | None = None
    """The least of the task's own measure, from 0 to 1; an answer that it cannot measure does not pass."""

    def passes(self, quality: Quality, confidence: float | None) -> bool:
        """Whether an answer ends the route."""
        if RANK[quality] > RANK[self.quality]:
            return False
        return self.min_confidence is None or (confidence is not None and confidence >= self.min_confidence)


RANK: Mapping[Quality, int] = {Quality.OK: 0, Quality.REPAIRED: 1, Quality.SUSPECT: 2}
"""The better, the lower."""


def _within(number: int, least: int | None, most: int | None) -> bool:
    return (least is None or number >= least) and (most is None or number <= most)


def _matches(wanted: Mapping[str, tuple[Scalar, ...]] | None, given: Mapping[str, Any]) -> bool:
    return wanted is None or all(name in given and _one_of(given[name], wanted[name]) for name in wanted)


def _one_of(value: Any, values: tuple[Scalar, ...]) -> bool:
    return any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in values)
