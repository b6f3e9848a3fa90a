"""Reading a prompt the way a model would: which part is the text, how long, which labels.

No prompt of anybody's is known by heart. The text is what stands between two marker lines that share a
random token, between tags such as `<document>`, or between triple quotes; else the last user message.
"""

from __future__ import annotations

import json
import re
from typing import Any

from penstock_simulator.ask import Ask, JsonObject

DEFAULT_WORDS = 60
"""Words of a summary when the prompt names no limit."""

MARKER = re.compile(r"\[\[simulate:\s*(.*?)\s*\]\]", re.DOTALL)
"""A fault asked for inside the text: `[[simulate: status=503 times=1]]`."""

_TURNS = frozenset({"user", "assistant", "tool"})
_TOKEN = re.compile(r"(?=[A-Za-z]*[0-9])[0-9A-Za-z]{6,64}")
_JSON = json.JSONDecoder()
_MARKER_LINE_CHARS = 96
_MARKER_LINE_WORDS = 3
_TAGS = "document|text|input|source|content|data|article|message|email"
_TAGGED = re.compile(rf"<((?:{_TAGS})[\w-]*)(?:\s[^<>]*)?>\n?(.*)\n?</\1>", re.DOTALL | re.IGNORECASE)
_QUOTED = re.compile(r'(?:^|\n)(```|""")[^\n]*\n(.*)\n\1', re.DOTALL)
_AT_MOST = re.compile(
    r"\b(?:at most|no more than|up to|maximum(?: of)?|max\.?|within|not exceed(?:ing)?|limit of)\s+(\d{1,5})\s+words?",
    re.IGNORECASE,
)
_OR_FEWER = re.compile(r"\b(\d{1,5})\s+words?\s+(?:or (?:fewer|less)|at most|max)", re.IGNORECASE)
_FEWER_THAN = re.compile(r"\b(?:fewer than|less than|under|below)\s+(\d{1,5})\s+words?", re.IGNORECASE)
_BULLETS = re.compile(r"\bbullets?\b|\bbullet[ -]points?\b", re.IGNORECASE)
_LISTED = re.compile(r"^\s*[-*•]\s*(.+?)\s*$", re.MULTILINE)


def source_text(ask: Ask) -> str:
    """The text that the ask is about, without fault markers."""
    return split_prompt(ask)[0]


def split_prompt(ask: Ask) -> tuple[str, str]:
    """The text the ask is about, and all else that was said: the instructions.

    A later turn, in which the text is only talked about, does not take its place.
    """
    texts = [message.text for message in ask.messages if message.role == "user"]
    said = [message.text for message in ask.messages if message.role not in _TURNS]
    for user in reversed(texts):
        text = _fenced(user)
        if text is not None:
            return unmarked(text), "\n".join([*said, *(other.replace(text, "", 1) for other in texts)])
    return unmarked(texts[-1] if texts else ""), "\n".join([*said, *texts[:-1]])


def unmarked(text: str) -> str:
    """*text* without fault markers and outer white space."""
    return MARKER.sub("", text).strip() if "[[simulate:" in text else text.strip()


def prompt_schema(instructions: str) -> JsonObject | None:
    """The first JSON Schema of an object that is written out in the instructions; None without one."""
    place = instructions.find("{")
    while place >= 0:
        try:
            value, end = _JSON.raw_decode(instructions, place)
        except (ValueError, RecursionError):
            end = place + 1
        else:
            if _is_object_schema(value):
                return dict(value)
        place = instructions.find("{", end)
    return None


def _is_object_schema(value: Any) -> bool:
    return isinstance(value, dict) and (value.get("type") == "object" or value.keys() >= {"$defs", "$ref"})


def max_words(instructions: str) -> int | None:
    """The word limit that the instructions name; None without one."""
    for pattern, less in ((_AT_MOST, 0), (_OR_FEWER, 0), (_FEWER_THAN, 1)):
        found = pattern.findall(instructions)
        if found:
            return max(int(found[-1]) - less, 1)
    return None


def wants_bullets(instructions: str) -> bool:
    """Whether a list of points is asked for."""
    return _BULLETS.search(instructions) is not None


def label_descriptions(labels: list[str], instructions: str) -> dict[str, str | None]:
    """What `- name: description` lines say of each label; None for those they say nothing of."""
    described: dict[str, str | None] = dict.fromkeys(labels)
    for line in _LISTED.findall(instructions):
        for label in labels:
            rest = _after_label(line, label)
            if rest:
                described[label] = rest
    return described


def _after_label(line: str, label: str) -> str | None:
    bare = line.lstrip("`\"'*")
    if not bare.startswith(label):
        return None
    rest = bare[len(label) :].lstrip("`\"'*")
    match = re.match(r"\s*(?:[:=\u2013\u2014]|--| - )\s*(.+)", rest)
    return str(match[1]) if match else None


def _fenced(user: str) -> str | None:
    return _between_markers(user) or _between(_TAGGED, user) or _between(_QUOTED, user)


def _between_markers(user: str) -> str | None:
    """What stands between the first marker line and the last with the same token."""
    lines = user.splitlines(keepends=True)
    tokens = {index: token for index, line in enumerate(lines) if (token := _marker_token(line)) is not None}
    last = {token: index for index, token in tokens.items()}
    for first, token in tokens.items():
        if last[token] > first:
            return "".join(lines[first + 1 : last[token]]).strip("\r\n")
    return None


def _marker_token(line: str) -> str | None:
    """The random token of a line that is nothing but a marker; None for other lines."""
    bare = line.strip()
    if not bare or len(bare) > _MARKER_LINE_CHARS:
        return None
    tokens: list[str] = _TOKEN.findall(bare)
    found = next((token for token in tokens if not token.isdigit() or len(token) >= 16), None)
    if found is None or len(re.findall(r"\w+", bare.replace(found, ""))) > _MARKER_LINE_WORDS:
        return None
    return found


def _between(pattern: re.Pattern[str], user: str) -> str | None:
    found = pattern.search(user)
    return str(found[2]).strip("\r\n") if found else None
