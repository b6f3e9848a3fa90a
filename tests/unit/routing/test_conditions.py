"""When an entry is asked, and which answers pass."""

import ast
import inspect
from dataclasses import replace
from typing import Any, get_args

import pytest

from penstock_schemas.results import Quality
from penstock_worker.attempt import judging, walking
from penstock_worker.attempt.reading import answers
from penstock_worker.llm import errors
from penstock_worker.routing.closed import Why
from penstock_worker.routing.conditions import CODES, GROUPS, Case, Condition, Gate, codes_named

CASE = Case(
    task="classify",
    tenant="acme",
    lane="bulk",
    metadata={"tier": "gold"},
    fields={"multi_label": True, "labels": ["a"], "top": 1},
    input_tokens=100,
    time_left_s=5.0,
    trouble="throttled",
)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({}, True),
        ({"input_tokens_from": 100, "input_tokens_to": 100}, True),
        ({"input_tokens_from": 101}, False),
        ({"input_tokens_to": 99}, False),
        ({"time_left_s": 5.0}, True),
        ({"time_left_s": 5.1}, False),
        ({"fields": {"multi_label": (True,)}}, True),
        ({"fields": {"multi_label": (1,)}}, False),
        ({"fields": {"top": (True,)}}, False),
        ({"fields": {"top": (0, 1)}}, True),
        ({"fields": {"labels": ("a",)}}, False),
        ({"fields": {"no_such": (None,)}}, False),
        ({"metadata": {"tier": ("gold",), "region": ("eu",)}}, False),
        ({"after": frozenset({"throttled"})}, True),
        ({"after": frozenset({"overloaded"})}, False),
        ({"tasks": frozenset({"classify"}), "tenants": frozenset({"b"})}, False),
    ],
)
def test_all_of_a_condition_must_hold(condition: dict[str, Any], holds: bool) -> None:
    """Bounds are inclusive; a truth value is no number."""
    assert Condition(**condition).holds(CASE) is holds


def test_a_job_without_a_deadline_has_time_enough() -> None:
    """However much is asked for."""
    assert Condition(time_left_s=10**6).holds(replace(CASE, time_left_s=None))


@pytest.mark.parametrize(
    ("gate", "quality", "confidence", "passes"),
    [
        (Gate(), Quality.OK, None, True),
        (Gate(), Quality.REPAIRED, None, False),
        (Gate(Quality.REPAIRED), Quality.REPAIRED, None, True),
        (Gate(Quality.REPAIRED), Quality.SUSPECT, 1.0, False),
        (Gate(min_confidence=0.5), Quality.OK, 0.5, True),
        (Gate(min_confidence=0.5), Quality.OK, 0.49, False),
        (Gate(min_confidence=0.0), Quality.OK, None, False),
    ],
)
def test_what_a_gate_lets_through(gate: Gate, quality: Quality, confidence: float | None, passes: bool) -> None:
    """What cannot be measured is not sure enough."""
    assert gate.passes(quality, confidence) is passes


def test_every_code_that_a_target_can_come_to_may_be_named() -> None:
    """Those of errors, of answers that are none, of closed targets, and of calls that were not made."""
    rejected = {
        call.args[0].value
        for call in ast.walk(ast.parse(inspect.getsource(judging)))
        if isinstance(call, ast.Call)
        and ast.unparse(call.func) == "Rejected"
        and isinstance(call.args[0], ast.Constant)
    }
    assert len(rejected) > 6
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, errors.CallError)]
    made = {kind.code for kind in kinds} | rejected | set(answers.CODES.values()) | set(get_args(Why))
    made |= set(walking._NO_MONEY) | {"budget_exceeded", "cost_breaker_open"}
    assert made <= CODES
    assert all(codes <= CODES for codes in GROUPS.values())


def test_groups_stand_for_their_codes() -> None:
    """And a name that is neither is told what there is."""
    assert codes_named(("timeout", "throttled")) == {
        "timeout_first_content",
        "timeout_idle",
        "timeout_call",
        "throttled",
    }
    assert codes_named(("access",)) == {"auth_failed", "model_not_found", "quota_exhausted"}
    with pytest.raises(ValueError, match="'timeouts' is no class of trouble; known: access, bad_answer"):
        codes_named(("timeouts",))
