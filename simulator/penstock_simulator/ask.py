"""What a provider is asked and what it answers, apart from any wire format.

A wire module turns a request into an `Ask` and an `Answer` into documents; answers, faults and the bill
know only what stands here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

JsonObject = dict[str, Any]
Finish = Literal["stop", "length", "content_filter", "tool_calls"]
CacheTtl = Literal["5m", "1h"]
Kind = Literal[
    "status",
    "rate_limit",
    "slow_down",
    "quota",
    "overloaded",
    "invalid_key",
    "model_not_found",
    "context_length",
    "schema",
    "content_policy",
]


@dataclass(slots=True, frozen=True)
class Request:
    """One HTTP request, whole; header names are lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    keep_alive: bool = True
    query: str = ""
    """What follows the `?`, undecoded."""


@dataclass(slots=True, frozen=True)
class Message:
    """One message of the prompt, its parts joined to plain text."""

    role: str
    text: str
    breakpoints: tuple[tuple[int, CacheTtl], ...] = ()
    """Where the client wants the prompt cached: after so many characters of the text, for how long."""


@dataclass(slots=True, frozen=True)
class Tool:
    """A function that the model may call."""

    name: str
    definition: str
    """All that was said of it, as JSON: it costs input tokens."""
    schema: JsonObject | None = None
    """What its arguments must be like; None for anything."""
    breakpoint: CacheTtl | None = None


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
    reasoning_tokens: int = 0
    """How long the model thinks before it writes, within the cap."""
    cache_key: str = ""
    """Prompts share a prefix cache only under the same key."""
    tools: tuple[Tool, ...] = ()
    forced_tool: str | None = None
    """The tool that must be called, `*` for any of them, empty for none; None when text will do."""
    background: bool = False
    """True when the answer is to be fetched later by its id."""
    store: bool = False
    """True when the provider keeps the answer."""
    echo: JsonObject | None = None
    """Fields of the request that the answer repeats or whose shape it follows; each wire knows its own."""


@dataclass(slots=True, frozen=True)
class ToolCall:
    """A call of a function that the model wants made; *arguments* is JSON, or what the model takes for it."""

    name: str
    arguments: str


@dataclass(slots=True)
class Answer:
    """What was generated; None as content is an answer without any text."""

    content: str | None
    refusal: str | None = None
    finish: Finish = "stop"
    reasoning_tokens: int = 0
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(slots=True, frozen=True)
class Usage:
    """Tokens of one call in disjoint buckets, all >= 0."""

    uncached_input_tokens: int = 0
    cached_input_tokens: int = 0
    visible_output_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0
    """Input that was newly cached for a price: for five minutes, or for as long as the provider likes."""
    cache_write_1h_tokens: int = 0
    """Input that was newly cached for an hour, where that has a price of its own."""

    @property
    def input_tokens(self) -> int:
        """All of the prompt, cached or not."""
        return self.uncached_input_tokens + self.cached_input_tokens + self.all_cache_write_tokens

    @property
    def all_cache_write_tokens(self) -> int:
        """Input that was newly cached, for whatever time."""
        return self.cache_write_tokens + self.cache_write_1h_tokens

    @property
    def output_tokens(self) -> int:
        """All that was generated, visible or not."""
        return self.visible_output_tokens + self.reasoning_tokens


@dataclass(slots=True, frozen=True)
class Problem:
    """An error answer before it takes the form of a wire format.

    With a *kind* it says what went wrong, and the wire format puts its own status, type, code and words where
    there are none; without one it is complete.
    """

    status: int
    message: str
    type: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    kind: Kind | None = None
    facts: JsonObject = field(default_factory=dict)
    """Numbers and names for the message: `model`, `limit`, `about`, `wait_s`, `prompt`, `cap`."""


class RefusedError(Exception):
    """The request was turned down; `problem` says how the provider puts it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def trouble(kind: Kind, **facts: Any) -> Problem:
    """A problem of *kind* that the wire format finds the words for."""
    return Problem(0, "", "", kind=kind, facts=facts)
