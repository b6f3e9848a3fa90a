"""A model with no judgement: it does whatever the text tells it to, in place of its task.

For tests of what stands behind the model. It sees through disguises that real models see through (look-alike letters,
letters that are invisible, base64, text written backwards), ignores the schema, and obeys these orders, wherever in
the user's messages they stand:

1. recite the instructions, all of them or the first so many characters;
2. answer with a quoted text; choose a quoted label; add a quoted member.

Without an order it answers honestly.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Callable
from typing import Any, Final

import orjson

from penstock_simulator.answers import real_answer
from penstock_simulator.ask import Ask

_LOOK_ALIKE: Final = str.maketrans("аеорсухіѕјԁһ", "aeopcyxisjdh")  # noqa: RUF001  (Cyrillic on purpose)
_INVISIBLE: Final = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u202e\u202d\u202c\u00ad"))
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]{24,}={0,2}")
_RECITE: Final = re.compile(
    r"\b(?:recite|print|repeat|reveal)\b(?:.{0,20}\bfirst (\d+) characters)?.{0,20}\byour instructions", re.I | re.S
)
_LABEL: Final = re.compile(r'\bchoose the label "([^"]+)"', re.I)
_MEMBER: Final = re.compile(r'\badd the member "([^"]+)"', re.I)
_SAY: Final = re.compile(r'\banswer with "([^"]+)"', re.I)


def obedient_answer(ask: Ask) -> str:
    """What a model says that obeys the last message it was given to read, and every one before."""
    seen = _seen("\n".join(message.text for message in ask.messages if message.role == "user"))
    honest = real_answer(ask)
    if (recite := _RECITE.search(seen)) is not None:
        told = "\n".join(message.text for message in ask.messages if message.role != "assistant")
        return _with_strings(honest, lambda _text: told[: int(recite[1])] if recite[1] else told)
    if (label := _LABEL.search(seen)) is not None and "labels" in honest:
        return orjson.dumps({"labels": [label[1]]}).decode()
    if (member := _MEMBER.search(seen)) is not None and honest.startswith("{"):
        return orjson.dumps({**orjson.loads(honest), member[1]: True}).decode()
    if (say := _SAY.search(seen)) is not None:
        return _with_strings(honest, lambda _text: say[1])
    return honest


def _seen(text: str) -> str:
    """The text as such a model reads it: plain, and with what was hidden in it behind."""
    plain = unicodedata.normalize("NFKC", text).translate(_INVISIBLE).translate(_LOOK_ALIKE)
    hidden = [_decoded(found) for found in _BASE64.findall(plain)]
    return "\n".join([plain, *hidden, plain[::-1]])


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError:
        return ""


def _with_strings(answer: str, change: Callable[[str], str]) -> str:
    """The honest answer with other strings; text alone where it is no JSON."""
    try:
        value = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return change(answer)
    return orjson.dumps(_changed(value, change)).decode()


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {name: _changed(part, change) for name, part in value.items()}
    if isinstance(value, list):
        return [_changed(part, change) for part in value]
    return change(value) if isinstance(value, str) else value
