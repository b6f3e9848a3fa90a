"""What reading an answer can come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

MAX_HINT: Final = 500

Code = Literal["bad_response", "bad_output", "result_too_large", "validation_timeout", "validation_failed"]
Reason = Literal[
    "empty",
    "cut_off",
    "no_json",
    "not_json",
    "several_values",
    "text_around",
    "not_strict",
    "schema",
    "too_large",
    "timeout",
    "crashed",
]

CODES: Final[dict[Reason, Code]] = {
    "empty": "bad_response",
    "cut_off": "bad_response",
    "no_json": "bad_output",
    "not_json": "bad_output",
    "several_values": "bad_output",
    "text_around": "bad_output",
    "not_strict": "bad_output",
    "schema": "bad_output",
    "too_large": "result_too_large",
    "timeout": "validation_timeout",
    "crashed": "validation_failed",
}


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule of the schema that the answer breaks. Holds nothing of the answer but its shape."""

    path: str
    """JSON pointer into the answer; a name that the schema does not give is shown as ``*``."""
    keyword: str
    """The keyword of the schema that was broken, such as ``required``."""
    hint: str
    """What is expected, in words and with the schema's own values, at most 160 characters."""


@dataclass(frozen=True, slots=True)
class Valid:
    """The answer satisfies the schema."""

    value: Any
    repairs: tuple[str, ...] = ()
    """What had to be done to the text first, such as ``code_fence``; empty for plain JSON."""


@dataclass(frozen=True, slots=True)
class Invalid:
    """The answer cannot be used."""

    code: Code
    reason: Reason
    """Finer than the code."""
    hint: str = ""
    """What to tell the model in one re-ask: at most 500 characters, nothing of its answer. Empty: a re-ask
    cannot help, the fault is not in the answer's words."""
    violations: tuple[Violation, ...] = ()


Reading: TypeAlias = Valid | Invalid


def invalid(reason: Reason, hint: str, violations: tuple[Violation, ...] = ()) -> Invalid:
    """An Invalid with the code that belongs to its reason, and its hint within bounds."""
    return Invalid(CODES[reason], reason, hint[:MAX_HINT], violations)
