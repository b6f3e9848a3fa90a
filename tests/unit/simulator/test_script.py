"""Rules match in order, count what they see, and end."""

from typing import Any

import pytest

from penstock_simulator.ask import Ask, Message, Request
from penstock_simulator.faults.spec import FaultSpecError
from penstock_simulator.script import Script

PLAIN = Request("POST", "/v1/chat/completions", {}, b"")


def _ask(text: str = "hello", model: str = "gpt-4o", stream: bool = False) -> Ask:
    return Ask("w", model, (Message("user", text),), stream=stream)


def _played(script: Script, *asks: Ask, now_s: float = 0.0, caller: str | None = None) -> list[str]:
    plans = [script.plan(ask, PLAIN, caller, now_s) for ask in asks]
    return ["+".join(fault.name for fault in plan.faults) for plan in plans]


def _script(*rules: Any) -> Script:
    script = Script()
    script.set(list(rules), 0.0)
    return script


def test_a_rule_ends_after_its_times() -> None:
    """Then the next rule is looked at."""
    script = _script({"fault": "hang", "times": 2}, "refusal")
    assert _played(script, *[_ask()] * 4) == ["hang", "hang", "refusal", "refusal"]


def test_the_first_rule_that_matches_wins() -> None:
    """By model, text and stream."""
    script = _script(
        {"match": {"model": "o3*"}, "fault": "empty"},
        {"match": {"contains": "magic"}, "fault": "null"},
        {"match": {"stream": True}, "fault": "no-done"},
    )
    asks = [_ask(), _ask(model="o3-sim"), _ask("a magic word"), _ask(stream=True)]
    assert _played(script, *asks) == ["", "empty", "null", "no-done"]


def test_a_rule_can_match_the_wire_format() -> None:
    """One family is down, the others are not."""
    script = _script({"match": {"wire": "openai_*"}, "fault": "503"})
    asks = [Ask(wire, "m", (Message("user", "x"),)) for wire in ("openai_chat", "gemini", "openai_responses")]
    assert _played(script, *asks) == ["status", "", "status"]


def test_nth_and_every_count_the_requests_that_fit() -> None:
    """Requests that do not fit are not counted."""
    script = _script({"match": {"model": "gpt*", "nth": [1, 3]}, "fault": "hang"})
    asks = [_ask(), _ask(model="other"), _ask(), _ask(), _ask()]
    assert _played(script, *asks) == ["hang", "", "", "hang", ""]
    script = _script({"match": {"every": 3}, "fault": "cut-lost"})
    assert _played(script, *[_ask()] * 6) == ["", "", "cut-lost", "", "", "cut-lost"]


def test_a_rule_holds_in_its_time() -> None:
    """Counted from when the script was set."""
    script = _script({"match": {"from_s": 5, "until_s": "1m"}, "fault": "rate-limit"})
    assert [_played(script, _ask(), now_s=now)[0] for now in (0, 5, 59.9, 60)] == ["", "rate-limit", "rate-limit", ""]


def test_probability_and_choice_follow_the_seed() -> None:
    """Near the share asked for, and the same twice."""
    rule = {"match": {"probability": 0.3}, "one_of": ["500", "503", "529"]}
    one, other = _script(rule), _script(rule)
    played = _played(one, *[_ask()] * 1000)
    assert 250 < sum(bool(name) for name in played) < 350
    assert played == _played(other, *[_ask()] * 1000)


def test_a_rule_can_match_the_caller() -> None:
    """By the caller's own id."""
    script = _script({"match": {"caller": "job-7:*"}, "fault": "hang"})
    assert _played(script, _ask(), caller="job-7:1") == ["hang"]
    assert _played(script, _ask(), caller="job-8:1") == [""]


def test_a_marker_in_the_text_comes_before_the_rules() -> None:
    """And is counted for each text by itself, whatever fence it stands in."""
    script = _script("refusal")
    fenced = "<<<{0}>>>\nfirst [[simulate: 503 times=1]]\n<<<{0}>>>"
    asks = [_ask(fenced.format("ab12cd34")), _ask(fenced.format("ef56ab78")), _ask("second [[simulate: 503 times=1]]")]
    assert _played(script, *asks) == ["status", "refusal", "status"]


def test_a_header_asks_for_a_fault() -> None:
    """`nth` counts the requests with the same header and text."""
    script, request = Script(), Request("POST", "/", {"x-simulate": "hang nth=2"}, b"")
    plans = [script.plan(_ask(), request, None, 0.0) for _ in range(3)]
    assert [bool(plan.faults) for plan in plans] == [False, True, False]


def test_reset_begins_anew() -> None:
    """No rules, no counts."""
    script, ask = _script("hang"), _ask("x [[simulate: 503 times=1]]")
    _played(script, ask)
    script.reset()
    assert _played(script, _ask(), ask) == ["", "status"]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([{"match": {"modell": "x"}, "fault": "hang"}], "rule 1: cannot match by 'modell'"),
        (["hang", {"fautl": "hang"}], "rule 2: unknown key 'fautl'"),
        ([{"match": {}}], "rule 1: needs one of fault, one_of, answer"),
        ([{"fault": "nope-at-all"}], "rule 1: no fault is called"),
        ("hang", "a script is a list"),
        ([7], "rule 1 is neither"),
    ],
)
def test_a_wrong_script_names_the_rule(rules: Any, message: str) -> None:
    """And the rules before it stay."""
    script = _script("refusal")
    with pytest.raises(FaultSpecError, match=message):
        script.set(rules, 0.0)
    assert _played(script, _ask()) == ["refusal"]


def test_a_rule_can_ask_for_tools_by_what_was_told() -> None:
    """As long as the prompt has so many results of tools; arguments are an object, or any text."""
    calls = [{"name": "look", "arguments": {"id": 7}}, {"name": "look", "arguments": "{not json"}]
    script = _script({"match": {"told": 0}, "tool_calls": calls}, {"answer": "done"})
    told = Ask("w", "m", (Message("user", "x"), Message("tool", "a result")))
    first, second = (script.plan(ask, PLAIN, None, 0.0) for ask in (_ask(), told))
    assert [(call.name, call.arguments) for call in first.tool_calls] == [("look", '{"id":7}'), ("look", "{not json")]
    assert (second.tool_calls, second.answer) == ((), "done")
