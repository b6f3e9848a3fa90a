"""Broken answers, task by task: what a model wrote, and what a job with two attempts and no fallback comes to.

The shapes are those that users report of models: fences, prose, loops, cut-offs that look whole, almost JSON, the
schema in place of an answer, and answers that are well-formed and still not what was asked for.
"""

import base64
import json
from dataclasses import dataclass
from typing import Any

from penstock import Classify, Extract, Summarize
from penstock_schemas.tasks import TaskInput

TEXT = (
    "Invoice 8812 of 3 May 2024. Total: 120.50 EUR. Name: Jane Miller. The wheel of the mill was repaired, and the "
    "sluice was cleaned of all that the spring flood had left. Please pay within ten days to the account below. "
)
INVOICE = {
    "type": "object",
    "properties": {"total": {"type": "number"}, "name": {"type": "string"}, "note": {"type": ["string", "null"]}},
    "required": ["total", "name"],
    "additionalProperties": False,
}
GOOD: dict[str, dict[str, Any]] = {
    "summarize": {"summary": "A mill's wheel was repaired and its sluice cleaned; the bill is due in ten days."},
    "classify": {"labels": ["billing"]},
    "extract": {"total": 120.5, "name": "Jane Miller"},
}


@dataclass(frozen=True)
class Row:
    """One broken answer and its end."""

    answer: str
    error: str | None = None
    """Code of the last error of a dead letter; None: it becomes a result, repaired or suspect."""
    reasons: tuple[str, ...] = ()
    """Why the result is not ``ok``."""
    quality: str = "repaired"
    calls: int = 1
    attempts: int = 1
    final: bool = False
    """A later attempt cannot go better, so the error itself is the reason of the dead letter."""
    fault: str = ""
    """How the provider ends the answer, when not in good order."""
    asked: TaskInput[Any] | None = None
    """Another request than the task's usual one."""


def usual(task: str, text: str) -> TaskInput[Any]:
    """What is asked where the row does not say otherwise."""
    if task == "summarize":
        return Summarize(text=text, max_words=20)
    if task == "classify":
        return Classify(text=text, labels={"billing": "invoice, pay, account", "bug": "crash, error"})
    return Extract(text=text, schema=INVOICE)


def mended(answer: str, *steps: str) -> Row:
    """It becomes a result, and says what was done to it."""
    return Row(answer, reasons=steps)


def doubtful(answer: str, *doubts: str, **options: Any) -> Row:
    """It becomes a result that says why it may be wrong."""
    return Row(answer, reasons=doubts, quality="suspect", **options)


def bad(answer: str, error: str = "bad_output", **options: Any) -> Row:
    """Asked for once more in each of two attempts, and no better."""
    return Row(answer, error, calls=4, attempts=2, **options)


def stopped(answer: str, error: str, fault: str) -> Row:
    """A distinct end, asked for once."""
    return Row(answer, error, final=True, fault=fault)


def of_any_task(task: str) -> dict[str, Row]:
    """What can be wrong with any JSON object."""
    good = GOOD[task]
    plain = json.dumps(good)
    key = next(iter(good))
    single = plain.replace('"', "'") if task != "summarize" else plain.replace("A mill's", "Its").replace('"', "'")
    return {
        # In something else
        "fence": mended(f"```json\n{plain}\n```", "code_fence"),
        "fence without a language": mended(f"```\n{plain}\n```", "code_fence"),
        "fence in capitals with CR LF": mended(f"```JSON\r\n{plain}\r\n```", "code_fence"),
        "fence on one line": mended(f"```{plain}```", "code_fence"),
        "fence behind prose": mended(f"Here is the answer:\n```json\n{plain}\n```", "prose_around", "code_fence"),
        "fence before prose": mended(f"```json\n{plain}\n```\nI hope this helps!", "prose_around", "code_fence"),
        "prose before": mended(f"Sure! Here is the JSON you asked for: {plain}", "prose_around"),
        "prose after": mended(f"{plain}\n\nLet me know if you need anything else.", "prose_around"),
        "thoughts before": mended(f"<think>The user wants JSON. Fine.</think>\n{plain}", "prose_around"),
        "tags around": mended(f"<json>{plain}</json>", "prose_around"),
        "the word json": mended(f"json\n{plain}", "prose_around"),
        "a point of a list": mended(f"- {plain}", "prose_around"),
        # Almost JSON
        "trailing comma": mended(plain[:-1] + ",}", "trailing_comma"),
        "single quotes": mended(single, "quotes"),
        "bare key": mended(plain.replace(f'"{key}"', key, 1), "bare_key"),
        "line comment": mended(plain[:-1] + " // done\n}", "comment"),
        "block comment": mended(plain[:-1] + "/* done */}", "comment"),
        "curly quotes": mended(plain.replace(f'"{key}"', f"\u201c{key}\u201d", 1), "quotes"),
        "fence and trailing comma": mended(f"```json\n{plain[:-1]},}}\n```", "code_fence", "trailing_comma"),
        "prose and single quotes": mended(f"The answer is {single} as JSON.", "prose_around", "quotes"),
        # More than one, or none
        "twice": bad(plain + plain),
        "twice on lines": bad(f"{plain}\n{plain}"),
        "two that differ": bad(plain + " or rather {}"),
        "in a list": bad(f"[{plain}]"),
        "as a string": bad(json.dumps(plain)),
        "a number": bad("42"),
        "null": bad("null"),
        "true": bad("true"),
        "an empty object": bad("{}"),
        "an empty list": bad("[]"),
        "nothing": bad("", "empty_answer"),
        "blanks": bad(" \t ", "empty_answer"),
        "lines": bad("\n\n\n", "empty_answer"),
        "an apology": bad("I'm sorry, but I cannot help with that."),
        "a question": bad("Could you please provide the text?"),
        # Cut, though the provider says it is whole
        "first half": bad(plain[: len(plain) // 2], "bad_response"),
        "all but the last byte": bad(plain[:-1], "bad_response"),
        "one bracket": bad("{", "bad_response"),
        "fence that does not close": bad(f"```json\n{plain}", "bad_response"),
        "half in a fence": bad(f"```json\n{plain[: len(plain) // 2]}", "bad_response"),
        "prose and a first half": bad(f"Here you are: {plain[: len(plain) // 2]}", "bad_response"),
        # Stopped
        "whole, and stopped at the cap": bad(plain, "cut_off", fault="length at=1"),
        "half, and stopped at the cap": bad(plain, "cut_off", fault="length at=0.5"),
        "nothing, and stopped at the cap": bad(plain, "cut_off", fault="reasoning-only"),
        "whole, and filtered": stopped(plain, "content_filtered", "content-filter at=1"),
        "refused": stopped(plain, "refused", "refusal"),
        # Not JSON by a hair
        "NaN": bad(f'{{"{key}": NaN}}'),
        "infinity": bad(f'{{"{key}": -Infinity}}'),
        "1e999": bad(f'{{"{key}": 1e999}}'),
        "a number of 1,000 digits": bad(f'{{"{key}": {"7" * 1000}}}'),
        "a key twice": bad(plain[:-1] + f', "{key}": null}}'),
        "1,000 deep": bad(f'{{"{key}": {"[" * 1000}{"]" * 1000}}}'),
        "NUL": bad(plain.replace("i", "\\u0000", 1)),
        "half a surrogate pair": bad(plain.replace("i", "\\ud800", 1)),
        "no colon": bad(plain.replace(":", " ", 1)),
        "a bracket too many": bad(plain + "}"),
        "the wrong bracket": bad(plain[:-1] + "]"),
        "semicolons": bad(plain[:-1] + "; }"),
        "HTML": bad(f"<html><body><h1>{key}</h1><p>good</p></body></html>"),
        "XML": bad(f"<answer><{key}>good</{key}></answer>"),
        "YAML": bad(f"{key}: good\n"),
        "base64": bad(base64.b64encode(plain.encode()).decode()),
        "a call": bad("answer(" + ", ".join(f"{name}={value!r}" for name, value in good.items() if name != "labels")),
        # JSON, and another
        "in a wrapper": bad(json.dumps({"result": good})),
        "as arguments of a call": bad(json.dumps({"name": "answer", "arguments": good})),
        "a key more": bad(json.dumps({**good, "confidence": 0.9})),
        "a key less": bad(json.dumps(dict(list(good.items())[1:]))),
        "another key": bad(json.dumps({key.capitalize(): good[key]})),
        "a value in a list": bad(json.dumps({name: [value, {}] for name, value in good.items()})),
        "null as a value": bad(json.dumps(dict.fromkeys(good))),
        "the schema": bad(json.dumps({"type": "object", "properties": {key: {"type": "string"}}})),
        "within the schema": bad(json.dumps({"type": "object", "properties": good})),
        "an error": bad(json.dumps({"error": "The text is not clear."})),
        "in two fences": bad(f"```json\n{plain}\n```\n```json\n{plain}\n```"),
        "one, and a broken one": bad(f"{plain}\n{plain.replace(':', '', 1)}"),
    }


def summary(text: str) -> str:
    return json.dumps({"summary": text})


OF_SUMMARIES = {
    "blank": bad(summary("   "), "unusable_answer"),
    "empty": bad(summary("")),
    "of three words too many": doubtful(summary("word " * 22 + "end."), "over_word_limit"),
    "of far too many words": bad(summary("word " * 60 + "end."), "unusable_answer"),
    "a loop": bad(summary("the mill and " * 150), "unusable_answer"),
    "the text": bad(summary(TEXT), "unusable_answer"),
    "the text on one line": bad(summary(" ".join(TEXT.split())), "unusable_answer"),
    "a sentence of the text": doubtful(summary("Please pay within ten days to the account below."), "copied_from_text"),
    "broken off": doubtful(summary("A mill's wheel was repaired and its slui"), "ends_abruptly"),
    "no points": doubtful(
        summary("A wheel was repaired."), "not_bullets", asked=Summarize(text=TEXT, max_words=20, style="bullets")
    ),
    "fenced and broken off": doubtful(
        f"```json\n{summary('A wheel was repaired and')}\n```", "code_fence", "ends_abruptly"
    ),
    "the instructions": bad(
        summary("You write summaries. You are given a text by someone who has not read it."), "prompt_leaked"
    ),
    "a marker": bad(summary("The text stands between the two lines TEXT-0123456789abcdef."), "prompt_leaked"),
    "a list of strings": bad(json.dumps({"summary": ["One.", "Two."]})),
    "an object": bad(json.dumps({"summary": {"text": "One."}})),
    "a raw line break": mended('{"summary": "A wheel was repaired.\nA sluice too."}', "control_character"),
}


def labels(*names: Any) -> str:
    return json.dumps({"labels": list(names)}, ensure_ascii=False)


NONE = Classify(text=TEXT, labels=["billing", "bug"], allow_none=True)
MANY = Classify(text=TEXT, labels=["billing", "bug"], multi_label=True)
OF_LABELS = {
    "in capitals": bad(labels("Billing")),
    "with a full stop": bad(labels("billing.")),
    "in look-alikes": bad(labels("bill\u0456ng")),
    "with a blank before": bad(labels(" billing")),
    "with a blank after": bad(labels("billing ")),
    "with a zero-width space": bad(labels("bill\u200bing")),
    "in bold": bad(labels("**billing**")),
    "in quotes": bad(labels('"billing"')),
    "with its description": bad(labels("billing: invoice, pay, account")),
    "with a heading": bad(labels("Label: billing")),
    "of no set": bad(labels("praise")),
    "of no set beside one of it": bad(labels("billing", "praise"), asked=MANY),
    "in another language": bad(labels("Rechnung")),
    "by its number": bad(labels(0)),
    "none": bad(labels("none")),
    "null": bad(labels(None)),
    "no label": bad(labels()),
    "no label as a string": bad(labels(""), asked=NONE),
    "two where one was asked for": bad(labels("billing", "bug")),
    "one twice": bad(labels("billing", "billing"), asked=MANY),
    "joined": bad(labels("billing, bug"), asked=MANY),
    "as a string": bad(json.dumps({"labels": "billing"})),
    "as an object": bad(json.dumps({"labels": {"billing": 0.9}})),
    "with scores": bad(json.dumps({"labels": [{"label": "billing", "score": 0.9}]})),
    "under another name": bad(json.dumps({"label": "billing"})),
}


def fields(**values: Any) -> str:
    return json.dumps({**GOOD["extract"], **values})


def quoted(value: dict[str, Any], **quotes: str) -> str:
    found = [{"path": f"/{name}", "quote": quote} for name, quote in quotes.items()]
    return json.dumps({"value": value, "evidence": found})


EVIDENCE = Extract(text=TEXT, schema=INVOICE, evidence=True)
LOOSE = Extract(text=TEXT, schema={"type": "object", "properties": {"note": {"type": ["string", "null"]}}})
DATED = Extract(
    text=TEXT,
    schema={"type": "object", "properties": {"on": {"type": "string", "format": "date"}}, "required": ["on"]},
)
OF_FACTS = {
    "a number as a string": bad(fields(total="120.50")),
    "a number with its currency": bad(fields(total="120.50 EUR")),
    "a decimal comma": bad('{"total": 120,50, "name": "Jane Miller"}'),
    "a number with a plus": bad('{"total": +120.5, "name": "Jane Miller"}'),
    "a number with a leading zero": bad('{"total": 0120.5, "name": "Jane Miller"}'),
    "hexadecimal": bad('{"total": 0x78, "name": "Jane Miller"}'),
    "thousands": bad('{"total": 1,120.50, "name": "Jane Miller"}'),
    "a boolean as a number": bad(fields(total=True)),
    "a string as a number": bad(fields(name=8812)),
    "Python's None": mended('{"total": 120.5, "name": "Jane Miller", "note": None}', "literal"),
    "a list of them": bad(json.dumps([GOOD["extract"]] * 2)),
    "a date in words": bad(json.dumps({"on": "3 May 2024"}), asked=DATED),
    "a day there is not": bad(json.dumps({"on": "2024-02-30"}), asked=DATED),
    "nothing found": doubtful(json.dumps({"note": None}), "nothing_extracted", asked=LOOSE),
    "nothing found, fenced": doubtful('```\n{"note": ""}\n```', "code_fence", "nothing_extracted", asked=LOOSE),
    "an unquoted string": bad('{"total": 120.5, "name": Jane Miller}'),
    "an unescaped quote": bad('{"total": 120.5, "name": "Jane "the mill" Miller"}'),
    "the instructions": bad(
        fields(
            name="You take facts out of texts. Answer with one JSON object that fits the JSON Schema you are given."
        ),
        "prompt_leaked",
    ),
    "no evidence": bad(fields(), asked=EVIDENCE),
    "a quote of nothing": bad(
        quoted(GOOD["extract"], total="Total: 99.00 EUR", name="Jane Miller"), "unusable_answer", asked=EVIDENCE
    ),
    "a quote in other words": bad(
        quoted(GOOD["extract"], total="120.50 EUR", name="name: jane miller"), "unusable_answer", asked=EVIDENCE
    ),
    "a value without a quote": bad(
        quoted(GOOD["extract"], total="Total: 120.50 EUR"), "unusable_answer", asked=EVIDENCE
    ),
    "a quote for what is not there": bad(
        quoted(GOOD["extract"], total="120.50", name="Jane Miller", date="3 May 2024"),
        "unusable_answer",
        asked=EVIDENCE,
    ),
    "a quote from elsewhere": doubtful(
        quoted(GOOD["extract"], total="120.50", name="the wheel\nof the mill".replace("the wheel", "The wheel")),
        "evidence_elsewhere",
        asked=EVIDENCE,
    ),
}

OWN: dict[str, dict[str, Row]] = {"summarize": OF_SUMMARIES, "classify": OF_LABELS, "extract": OF_FACTS}
CORPUS: dict[str, dict[str, Row]] = {
    task: of_any_task(task) | {f"{task}: {name}": row for name, row in own.items()} for task, own in OWN.items()
}
