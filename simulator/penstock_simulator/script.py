"""Rules that say which request gets which fault or which answer.

A rule has a `match` (all of it must hold; an empty one matches all), and one of `fault`, `one_of` or
`answer`, `tool_calls`; `times` ends it after so many hits. The first rule that matches wins. A header `x-simulate`, a
marker in the text and a fault in the model's name come before all rules.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

import orjson

from penstock_simulator.ask import Ask, Request, ToolCall
from penstock_simulator.faults import Fault
from penstock_simulator.faults.spec import FaultSpecError, fault_in_model_name, parse
from penstock_simulator.latency import parse_duration_s
from penstock_simulator.reading import MARKER, source_text

HEADER = "x-simulate"
_MATCH_KEYS = frozenset(
    {"wire", "model", "contains", "stream", "caller", "nth", "every", "probability", "from_s", "until_s", "told"}
)
_RULE_KEYS = frozenset({"match", "fault", "one_of", "answer", "tool_calls", "times"})


@dataclass(frozen=True, slots=True)
class Match:
    """When a rule holds; None means that this does not matter."""

    wire: str | None = None
    """A glob over the name of the wire format, such as `anthropic_messages`."""
    model: str | None = None
    """A glob over the model's name."""
    contains: str | None = None
    """Text that occurs in the prompt."""
    stream: bool | None = None
    caller: str | None = None
    """A glob over the caller's id."""
    nth: frozenset[int] | None = None
    """Which of the requests that fit the rest, counted from 1."""
    every: int | None = None
    """Each so-manieth of the requests that fit the rest."""
    probability: float = 1.0
    from_s: float | None = None
    """Not before so many seconds after the script was set."""
    until_s: float | None = None
    told: int | None = None
    """How many results of tools the prompt has."""


@dataclass(slots=True)
class Rule:
    """One rule, with how often it was looked at and played."""

    match: Match
    faults: tuple[Fault, ...] = ()
    one_of: tuple[tuple[Fault, ...], ...] = ()
    answer: Any = None
    tool_calls: tuple[ToolCall, ...] = ()
    times: int | None = None
    seen: int = 0
    hits: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with a request: the faults to play and the answer to give, if the script has one."""

    faults: tuple[Fault, ...] = ()
    answer: Any = None
    tool_calls: tuple[ToolCall, ...] = ()
    """What the model wants called; an answer beside them is what it says first."""


_NOTHING = Plan()


class Script:
    """The rules of a simulator and all that they count."""

    def __init__(self, seed: int = 0) -> None:
        self.rules: list[Rule] = []
        self._seed = seed
        self._random = Random(f"script:{seed}")  # noqa: S311  (repeatable on purpose)
        self._began_s = 0.0
        self._asked: Counter[bytes] = Counter()

    def set(self, rules: Any, now_s: float) -> None:
        """Replace all rules, counting and timing afresh; FaultSpecError says which rule is wrong."""
        self.rules = [_rule(rule, place) for place, rule in enumerate(_rule_list(rules), start=1)]
        self._began_s = now_s

    def reset(self) -> None:
        """Forget the rules and all counts, and draw from the seed's beginning again."""
        self.rules = []
        self._asked.clear()
        self._random = Random(f"script:{self._seed}")  # noqa: S311

    def plan(self, ask: Ask, request: Request, caller: str | None, now_s: float) -> Plan:
        """What to do with *ask*; FaultSpecError if it asks for a fault that does not exist."""
        asked = self._asked_for(ask, request)
        if asked is not None:
            return asked
        for rule in self.rules:
            if rule.times is not None and rule.hits >= rule.times:
                continue
            if self._holds(rule, ask, caller, now_s - self._began_s):
                rule.hits += 1
                faults = self._random.choice(rule.one_of) if rule.one_of else rule.faults
                return Plan(faults, rule.answer, rule.tool_calls)
        return _NOTHING

    def _asked_for(self, ask: Ask, request: Request) -> Plan | None:
        specs = [request.headers[HEADER]] if HEADER in request.headers else []
        for message in ask.messages:
            if message.role == "user" and "[[simulate:" in message.text:
                specs += MARKER.findall(message.text)
        for spec in specs:
            faults, how_often = parse(spec)
            if self._due(spec, how_often, ask):
                return Plan(faults)
        named = fault_in_model_name(ask.model) if "sim-" in ask.model else None
        return Plan((named,)) if named is not None else None

    def _due(self, spec: str, how_often: Mapping[str, Any], ask: Ask) -> bool:
        """Whether a fault asked for inside a request is played now; counted by spec and text.

        The text is what stands inside the fence: a client that draws a new fence for each try still counts.
        """
        key = blake2b(f"{spec}\0{source_text(ask)}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
        self._asked[key] += 1
        number = self._asked[key]
        if "times" in how_often and number > int(how_often["times"]):
            return False
        if "nth" in how_often and number != int(how_often["nth"]):
            return False
        return "probability" not in how_often or self._random.random() < float(how_often["probability"])

    def _holds(self, rule: Rule, ask: Ask, caller: str | None, age_s: float) -> bool:
        match = rule.match
        if not _fits(match, ask, caller, age_s):
            return False
        rule.seen += 1
        if match.nth is not None and rule.seen not in match.nth:
            return False
        if match.every is not None and rule.seen % match.every:
            return False
        return match.probability >= 1 or self._random.random() < match.probability


def load_script(path: Path) -> Any:
    """The rules in a JSON or TOML file (by its ending), for `Script.set`; ValueError if it is neither."""
    data = path.read_bytes()
    return tomllib.loads(data.decode()) if path.suffix == ".toml" else orjson.loads(data)


def _fits(match: Match, ask: Ask, caller: str | None, age_s: float) -> bool:
    return (
        (match.wire is None or fnmatchcase(ask.wire, match.wire))
        and (match.model is None or fnmatchcase(ask.model, match.model))
        and (match.stream is None or match.stream == ask.stream)
        and (match.caller is None or fnmatchcase(caller or "", match.caller))
        and (match.told is None or match.told == sum(message.role == "tool" for message in ask.messages))
        and (match.from_s is None or age_s >= match.from_s)
        and (match.until_s is None or age_s < match.until_s)
        and (match.contains is None or any(match.contains in message.text for message in ask.messages))
    )


def _rule_list(rules: Any) -> list[Any]:
    if isinstance(rules, Mapping):
        rules = rules.get("rules", rules.get("rule", [rules] if rules else []))
    if not isinstance(rules, list | tuple):
        raise FaultSpecError("a script is a list of rules")
    return list(rules)


def _rule(raw: Any, place: int) -> Rule:
    if isinstance(raw, str):
        raw = {"fault": raw}
    if not isinstance(raw, Mapping):
        raise FaultSpecError(f"rule {place} is neither an object nor words")
    try:
        return _read_rule(raw)
    except (TypeError, ValueError) as error:
        raise FaultSpecError(f"rule {place}: {error}") from error


def _read_rule(raw: Mapping[str, Any]) -> Rule:
    unknown = raw.keys() - _RULE_KEYS
    if unknown:
        raise ValueError(f"unknown key {sorted(unknown)[0]!r}; known: {', '.join(sorted(_RULE_KEYS))}")
    if not {"fault", "one_of", "answer", "tool_calls"} & raw.keys():
        raise ValueError("needs one of fault, one_of, answer, tool_calls")
    faults, how_often = parse(raw["fault"]) if "fault" in raw else ((), {})
    one_of = tuple(parse(spec)[0] for spec in raw.get("one_of", ()))
    match = dict(raw.get("match", {}))
    match.update({key: how_often[key] for key in ("nth", "probability") if key in how_often})
    times = raw.get("times", how_often.get("times"))
    calls = tuple(_tool_call(call) for call in raw.get("tool_calls", ()))
    return Rule(_match(match), faults, one_of, raw.get("answer"), calls, None if times is None else int(times))


def _tool_call(raw: Mapping[str, Any]) -> ToolCall:
    arguments = raw.get("arguments", {})
    text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
    return ToolCall(str(raw["name"]), text)


def _match(raw: Mapping[str, Any]) -> Match:
    unknown = raw.keys() - _MATCH_KEYS
    if unknown:
        raise ValueError(f"cannot match by {sorted(unknown)[0]!r}; known: {', '.join(sorted(_MATCH_KEYS))}")
    fields = dict(raw)
    if "nth" in fields:
        nth = fields["nth"]
        fields["nth"] = frozenset(int(number) for number in (nth if isinstance(nth, list | tuple) else [nth]))
    for key in ("from_s", "until_s"):
        if isinstance(fields.get(key), str):
            fields[key] = parse_duration_s(fields[key])
    if "every" in fields:
        fields["every"] = int(fields["every"])
    if "probability" in fields:
        fields["probability"] = float(fields["probability"])
    return Match(**fields)
