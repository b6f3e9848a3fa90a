"""Find the one JSON value in what a model wrote, or say why there is none.

Models wrap JSON in code fences and in prose, stop in the middle of it, or write it twice. In this order:

1. the whole text, parsed strictly;
2. the inside of one code fence that is the whole text;
3. only if prose is allowed: the one balanced object or array in the text.

What is cut off is told from what is merely wrong: text that ends inside a bracket, a string or a fence is
never completed here or later.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from penstock_schemas.strict_json import StrictJsonError, loads_strict
from penstock_worker.attempt.reading.answers import Reason
from penstock_worker.llm.absent import drop_absent

_FENCE: Final = re.compile(r"```[A-Za-z0-9_+.-]*[ \t]*\r?\n?(.*)```", re.DOTALL)
_OPENING: Final = re.compile(r"[\[{]")
_CLOSING: Final = re.compile(r"[\]}]")
_TOKEN: Final = re.compile(r'"(?>[^"\\]+|\\.)*+(?P<closed>"?)|[\[\]{}]', re.DOTALL)
_MAX_SPANS: Final = 1_000

_ONLY_JSON: Final = "Answer with exactly one JSON value and nothing else."


@dataclass(frozen=True, slots=True)
class Found:
    """One JSON value, parsed strictly."""

    value: Any
    steps: tuple[str, ...] = ()
    """What was taken off to reach it: ``code_fence``, ``prose_around``."""


@dataclass(frozen=True, slots=True)
class Missing:
    """No value that could be used."""

    reason: Reason
    hint: str
    broken: str | None = None
    """The text that was meant as JSON, when only its syntax is at fault and nothing of it is missing."""
    steps: tuple[str, ...] = ()


def find_json(text: str, *, max_bytes: int, max_depth: int = 32, prose: bool = False) -> Found | Missing:
    """Find the one JSON value in *text*; ``text_around`` unless *prose* allows text before and after it.

    *max_bytes* bounds the text itself, ``too_large`` beyond it. Linear in the text.
    """
    text = text.strip()
    if not text:
        return Missing("empty", f"The answer was empty. {_ONLY_JSON}")
    whole = _parsed(text, max_bytes, max_depth)
    if isinstance(whole, Found) or whole.reason != "not_json":
        return whole
    if text.startswith("```"):
        return _in_fence(text, max_bytes, max_depth, prose)
    return _in_text(text, whole, max_bytes, max_depth, prose)


def _parsed(text: str, max_bytes: int, max_depth: int) -> Found | Missing:
    try:
        return Found(loads_strict(text, max_bytes=max_bytes, max_depth=max_depth))
    except StrictJsonError as error:
        if error.kind == "too_large":
            return Missing("too_large", f"The answer was larger than {max_bytes} bytes. Answer shorter.")
        if error.kind == "syntax":
            return Missing("not_json", f"The answer was {error.message}. {_ONLY_JSON}", broken=text)
        return Missing("not_strict", f"The JSON of the answer {_WRONG[error.kind]}. {_ONLY_JSON}")


_WRONG: Final = {
    "too_deep": "was nested too deep",
    "duplicate_key": "had a key twice in one object",
    "not_finite": "had a number that is NaN or infinite",
    "bad_number": "had an integer of more than 64 bits",
    "bad_text": "had NUL or half of a surrogate pair in a string",
    "bad_type": "had a value of an unknown type",
}


def _in_fence(text: str, max_bytes: int, max_depth: int, prose: bool) -> Found | Missing:
    fence = _FENCE.fullmatch(text)
    if fence is None or text == "```":
        if text.count("```") < 2:
            return _cut_off()
        return _in_text(text, Missing("not_json", ""), max_bytes, max_depth, prose)
    inner = fence[1].strip()
    found = _parsed(inner, max_bytes, max_depth)
    if isinstance(found, Found):
        return Found(found.value, ("code_fence",))
    if found.reason != "not_json":
        return found
    if "```" in inner:
        return _in_text(text, Missing("not_json", ""), max_bytes, max_depth, prose)
    return _in_text(inner, found, max_bytes, max_depth, prose, ("code_fence",))


def _in_text(
    text: str, whole: Missing, max_bytes: int, max_depth: int, prose: bool, steps: tuple[str, ...] = ()
) -> Found | Missing:
    """Look for balanced objects and arrays in a text that is not JSON as a whole."""
    spans = _spans(text)
    if spans is None:
        return _cut_off()
    read = [_parsed(text[start:end], max_bytes, max_depth) for start, end in spans]
    values = [one for one in read if isinstance(one, Found)]
    broken = [text[start] == "{" for (start, _), one in zip(spans, read, strict=True) if isinstance(one, Missing)]
    if len(values) > 1 or (values and any(broken)):
        return Missing("several_values", f"The answer held more than one JSON value. {_ONLY_JSON}")
    if len(values) == 1:
        if _left_over(text, spans):
            return Missing("not_json", f"The answer had a bracket too many. {_ONLY_JSON}")
        if prose:
            return Found(values[0].value, (*steps, *_around(text)))
        return Missing("text_around", f"The answer had text around its JSON. {_ONLY_JSON}")
    parsed = [one for one in read if isinstance(one, Missing)]
    if len(spans) == 1 and spans[0] == (0, len(text)):
        return Missing(whole.reason, whole.hint, broken=text, steps=steps)
    if len(spans) == 1 and prose and parsed[0].reason == "not_json":
        (start, end) = spans[0]
        return Missing("not_json", parsed[0].hint, broken=text[start:end], steps=(*steps, *_around(text)))
    strict = next((one for one in parsed if one.reason != "not_json"), None)
    if strict is not None:
        return strict
    if text.startswith('"') and not text.endswith('"'):
        return _cut_off()
    return Missing("no_json", f"The answer held no JSON value. {_ONLY_JSON}")


def _around(text: str) -> tuple[str, ...]:
    return ("prose_around",) if "```" not in text else ("prose_around", "code_fence")


def without_absent(found: Found | Missing, schema: Mapping[str, Any]) -> Found | Missing:
    """Take nulls out again that a provider's strict mode puts where an optional property is absent."""
    return Found(drop_absent(found.value, schema), found.steps) if isinstance(found, Found) else found


def _cut_off() -> Missing:
    return Missing("cut_off", f"The answer ended before its JSON was complete. Be shorter. {_ONLY_JSON}")


def _spans(text: str) -> list[tuple[int, int]] | None:
    """Where balanced brackets begin and end, outermost only; None when the last one never closes."""
    spans: list[tuple[int, int]] = []
    at = 0
    while (opening := _OPENING.search(text, at)) is not None and len(spans) < _MAX_SPANS:
        end = _closing(text, opening.start())
        if end is None:
            return None
        spans.append((opening.start(), end))
        at = end
    return spans


def _left_over(text: str, spans: list[tuple[int, int]]) -> bool:
    """Whether a bracket is closed that was not opened: the value may be a part of another."""
    ends = [0, *(end for _, end in spans)]
    starts = [*(start for start, _ in spans), len(text)]
    return any(_CLOSING.search(text, end, start) for end, start in zip(ends, starts, strict=True))


def _closing(text: str, start: int) -> int | None:
    depth = 0
    for token in _TOKEN.finditer(text, start):
        char = token[0][0]
        if char in "[{":
            depth += 1
        elif char in "]}":
            depth -= 1
            if depth == 0:
                return token.end()
        elif not token["closed"]:
            return None
    return None
