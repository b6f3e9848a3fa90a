"""What a fault is: a named, documented change at one stage of an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from penstock_simulator.ask import Answer, Ask, JsonObject, Problem
from penstock_simulator.delivery import Delivery, Framing, Packet, Step
from penstock_simulator.latency import parse_duration_s
from penstock_simulator.wire import Wire
from penstock_simulator.wire.shape import Shape

Value = str | int | float | bool


class FaultSpecError(ValueError):
    """A fault was asked for that does not exist, or with a parameter it does not have, or where it cannot be."""


class Stage(StrEnum):
    """Where in the making of an answer a fault steps in."""

    REFUSE = "refuse"
    """An error answer instead of a generation."""
    ANSWER = "answer"
    """The generated text and its stop reason."""
    DOCUMENT = "document"
    """The documents that carry the text: ids, usage, events."""
    BYTES = "bytes"
    """Status, headers and body as they are written."""
    DELIVERY = "delivery"
    """When, how slowly, and whether the bytes get through."""


class Seconds(float):
    """A parameter that is a duration: `2`, `500ms`, `1.5s`, `2m`."""


@dataclass(slots=True)
class Documents:
    """An answer as documents: one, or the events of a stream."""

    items: list[JsonObject]
    streamed: bool
    framing: Framing
    ask: Ask
    wire: Wire
    closing: bytes = b""
    """What ends a stream after the last event; empty when the last event does."""
    odd_numbers: bool = False
    """Whether there are numbers that JSON does not have."""

    @property
    def shape(self) -> Shape:
        """Where the documents keep what is bent."""
        return self.wire.shape


RefuseFault = Callable[["Params", Ask], Problem]
AnswerFault = Callable[["Params", Ask, Answer], Answer]
DocumentFault = Callable[["Params", Documents], Documents]
BytesFault = Callable[["Params", Packet], Packet]
DeliveryFault = Callable[["Params", Delivery], list[Step]]
Apply = RefuseFault | AnswerFault | DocumentFault | BytesFault | DeliveryFault


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One row of the fault table."""

    name: str
    stage: Stage
    doc: str
    apply: Any
    """The function of the stage; its type is one of `Apply`, as `stage` says."""
    params: Mapping[str, Value | Seconds] = field(default_factory=dict)
    """Parameters with their defaults; a default's type is the parameter's."""
    billed: bool = True
    """Whether a call with this fault is charged, unless `billed=` says otherwise."""


class Params:
    """The parameters of one fault: the defaults, with what was given over them."""

    __slots__ = ("_values", "given")

    def __init__(self, values: Mapping[str, Value], given: frozenset[str] = frozenset()) -> None:
        self._values = values
        self.given = given

    def text(self, name: str) -> str:
        """The parameter as text."""
        return str(self._values[name])

    def integer(self, name: str) -> int:
        """The parameter as a whole number."""
        return int(self._values[name])

    def number(self, name: str) -> float:
        """The parameter as a number; a duration in seconds."""
        return float(self._values[name])

    def flag(self, name: str) -> bool:
        """The parameter as yes or no."""
        return bool(self._values[name])

    def as_dict(self) -> dict[str, Value]:
        """Names and values, for showing."""
        return dict(self._values)


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of the table with its parameters, ready to be played."""

    kind: FaultKind
    params: Params
    billed: bool

    @property
    def name(self) -> str:
        """The name in the table."""
        return self.kind.name


def convert(name: str, value: Any, default: Value) -> Value:
    """*value* in the type of *default*; ValueError names the parameter."""
    try:
        if isinstance(default, Seconds):
            return Seconds(value if isinstance(value, int | float) else parse_duration_s(value))
        if isinstance(default, bool):
            return _flag(value)
        if isinstance(default, int):
            return int(value)
        if isinstance(default, float):
            return float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}={value!r}: {error}") from error
    return str(value)


def _flag(value: Any) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    word = str(value).lower()
    if word not in words:
        raise ValueError("write true or false")
    return words[word]
