"""What a provider is asked and what it answers, apart from any wire format.

A wire module turns a request into an `Ask` and an `Answer` into documents; answers, faults and the bill
know only what stands here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

JsonObject = dict[str, Any]
Finish = Literal["stop", "length", "content_filter"]


@dataclass(slots=True, frozen=True)
class Request:
    """One HTTP request, whole; header names are lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    keep_alive: bool = True


@dataclass(slots=True, frozen=True)
class Message:
    """One message of the prompt, its parts joined to plain text."""

    role: str
    text: str


@dataclass(slots=True, frozen=True)
class Ask:
    """A request for one generation, checked against the rules of its wire format."""

    wire: str
    model: str
    messages: tuple[Message, ...]
    stream: bool = False
    schema: JsonObject | None = None
    """The JSON Schema the answer must follow; None for free text."""
    json_mode: bool = False
    """True when any JSON object will do."""
    max_output_tokens: int | None = None
    """Cap on visible and reasoning tokens together; None for no cap."""
    include_usage: bool = True
    """False when a stream was asked for without its usage event."""
    reasoning_effort: str | None = None
    cache_key: str = ""
    """Prompts share a prefix cache only under the same key."""


@dataclass(slots=True)
class Answer:
    """What was generated; None as content is an answer without any text."""

    content: str | None
    refusal: str | None = None
    finish: Finish = "stop"
    reasoning_tokens: int = 0


@dataclass(slots=True, frozen=True)
class Usage:
    """Tokens of one call in disjoint buckets, all >= 0."""

    uncached_input_tokens: int = 0
    cached_input_tokens: int = 0
    visible_output_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def input_tokens(self) -> int:
        """All of the prompt, cached or not."""
        return self.uncached_input_tokens + self.cached_input_tokens

    @property
    def output_tokens(self) -> int:
        """All that was generated, visible or not."""
        return self.visible_output_tokens + self.reasoning_tokens


@dataclass(slots=True, frozen=True)
class Problem:
    """An error answer before it takes the form of a wire format."""

    status: int
    message: str
    type: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


class RefusedError(Exception):
    """The request was turned down; `problem` says how the provider puts it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem
