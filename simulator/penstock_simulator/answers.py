"""What the simulated model says: an honest answer to what was asked, or a fixed one that costs nothing.

1. The schema says what is wanted, not the prompt's wording: a string called `summary` is a summary, a field
   of enum values called `label` or `labels` a classification, anything else is extracted.
2. The words come from the degraded fallbacks of the worker: extractive, lexical, by rule. Nothing is
   invented; what cannot be found is null, or a plain value of the right type where null is not allowed.
3. Values are asked for with quotes as evidence: then each has the line of the text that it stands in.
4. The result is completed until it is valid under the schema, whatever the schema is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Literal

import orjson

from penstock_schemas.evidence import leaves
from penstock_schemas.json_schema import DEFINITIONS
from penstock_simulator.ask import Ask, JsonObject
from penstock_simulator.reading import (
    DEFAULT_WORDS,
    label_descriptions,
    max_words,
    prompt_schema,
    split_prompt,
    wants_bullets,
)
from penstock_simulator.schema_fill import MISSING, branches, fill

Answers = Callable[[Ask], str]
"""Gives the text of an answer. A function of one's own may stand in for those below."""

FIXED_TEXT = "A fixed answer."
_REMEMBERED = 1024


def named_answers(name: Literal["real", "fixed", "obedient"]) -> Answers:
    """`real` or `fixed` answers, or those of a model that obeys its text; ValueError for another name."""
    if name == "real":
        return real_answer
    if name == "fixed":
        return FixedAnswers()
    if name == "obedient":
        from penstock_simulator.obedient import obedient_answer

        return obedient_answer
    raise ValueError(f"answers are 'real', 'fixed' or 'obedient', not {name!r}")


class FixedAnswers:
    """The same answer to every ask with the same schema, made once; for measuring others, not models."""

    def __init__(self) -> None:
        self._made: OrderedDict[bytes, str] = OrderedDict()

    def __call__(self, ask: Ask) -> str:
        """The smallest value that is valid under the schema, with a sentence where text is wanted."""
        schema = ask.schema or prompt_schema(split_prompt(ask)[1])
        if schema is None:
            return '{"answer":"fixed"}' if ask.json_mode else FIXED_TEXT
        key = orjson.dumps(schema)
        if key not in self._made:
            self._made[key] = _dump(fill(schema, _fixed_values(schema)))
            if len(self._made) > _REMEMBERED:
                self._made.popitem(last=False)
        return self._made[key]


def real_answer(ask: Ask) -> str:
    """An answer made from the text of *ask*: JSON where a schema or JSON mode asks for it, else a summary.

    A schema that is written out in the instructions counts too: beside one of the request it may say more.
    """
    text, instructions = split_prompt(ask)
    told = prompt_schema(instructions)
    schema = ask.schema or told
    if schema is None:
        summary = _summary(text, instructions)
        return _dump({"summary": summary}) if ask.json_mode else summary
    value: Any = _found(schema, text, instructions)
    if told is not None and _properties(told).keys() == _properties(schema).keys():
        value = fill(told, value)
    return _dump(fill(schema, value))


def _found(schema: JsonObject, text: str, instructions: str) -> JsonObject:
    """What the text gives for the schema's properties; those it says nothing of are left out."""
    properties = _properties(schema)
    if properties.keys() == {"value", "evidence"}:
        return _with_evidence(schema, text, instructions)
    found: JsonObject = {}
    for name, below in properties.items():
        if name == "summary" and _enum_of(below, schema) is None:
            found[name] = _summary(text, instructions)
        elif name in {"label", "labels"} and _enum_of(below, schema) is not None:
            found[name] = _classification(below, schema, text, instructions)
    if properties.keys() - found.keys():
        found = {**_extraction(schema, text, instructions), **found}
    return found


def _with_evidence(schema: JsonObject, text: str, instructions: str) -> JsonObject:
    """What the text gives for the value, and for each part of it the line that it stands in."""
    below = {**schema["properties"]["value"], **{name: schema[name] for name in DEFINITIONS if name in schema}}
    value = fill(below, _found(below, text, instructions))
    lines = [line.strip() for line in text.splitlines()]
    evidence = []
    for path, leaf in leaves(value):
        spelled = leaf if isinstance(leaf, str) else _dump(leaf)
        quote = next((line for line in lines if spelled and spelled in line), None)
        if quote is not None and leaf is not None:
            evidence.append({"path": path, "quote": quote})
    return {"value": value, "evidence": evidence}


def _summary(text: str, instructions: str) -> str:
    from penstock_worker.fallbacks import summarize

    style: Literal["paragraph", "bullets"] = "bullets" if wants_bullets(instructions) else "paragraph"
    return summarize(text, max_words=max_words(instructions) or DEFAULT_WORDS, style=style)


def _classification(below: Any, root: JsonObject, text: str, instructions: str) -> Any:
    from penstock_worker.fallbacks import classify

    options = branches(below, root)
    lists = next((option for option in options if option.get("type") == "array"), None)
    names = _enum_of(below, root) or []
    labels = label_descriptions(names, instructions)
    many = lists is not None and lists.get("maxItems") != 1
    none_allowed = lists.get("minItems", 0) == 0 if lists is not None else any(map(_allows_null, options))
    chosen = classify(text, labels, multi_label=many, allow_none=none_allowed)
    if lists is not None:
        return chosen
    return chosen[0] if chosen else None


def _extraction(schema: JsonObject, text: str, instructions: str) -> JsonObject:
    from penstock_worker.fallbacks import extract

    found = extract(text, schema, instructions=instructions or None)
    if found is None and schema.get("required"):
        found = extract(text, {**schema, "required": []}, instructions=instructions or None)
    return found or {}


def _properties(schema: JsonObject) -> dict[str, Any]:
    for option in branches(schema, schema):
        if isinstance(option, dict) and option.get("properties"):
            return dict(option["properties"])
    return {}


def _enum_of(below: Any, root: JsonObject) -> list[str] | None:
    """The strings that a field, or the items of a list, may be; None if they are not told."""
    for option in branches(below, root):
        if not isinstance(option, dict):
            continue
        values = option.get("enum") or ([option["const"]] if "const" in option else None)
        if values is None and isinstance(option.get("items"), dict):
            values = _enum_of(option["items"], root)
        names = [value for value in values or [] if isinstance(value, str)]
        if names:
            return names
    return None


def _allows_null(option: Any) -> bool:
    return isinstance(option, dict) and (option.get("type") == "null" or None in option.get("enum", []))


def _fixed_values(schema: JsonObject) -> Any:
    found: JsonObject = {}
    for name, below in _properties(schema).items():
        names = _enum_of(below, schema)
        lists = any(isinstance(option, dict) and option.get("type") == "array" for option in branches(below, schema))
        if names is not None:
            found[name] = names[:1] if lists else names[0]
        elif any(isinstance(option, dict) and option.get("type") == "string" for option in branches(below, schema)):
            found[name] = FIXED_TEXT
    return found or MISSING


def _dump(value: Any) -> str:
    return orjson.dumps(value).decode()
