"""The one port to a language model: what goes in, what comes out, and who can be asked.

A provider family is one module behind this port. Callers see a request, a target and either an
:class:`Answer` or a :class:`~penstock_worker.llm.errors.CallError`; nothing here knows HTTP.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol

from penstock_worker.llm.secrets import SecretRef

if TYPE_CHECKING:
    from penstock_schemas.results import Usage
    from penstock_worker.llm.rate_limits import RateLimits

__all__ = [
    "Answer",
    "CallLimits",
    "CallRequest",
    "KeptId",
    "ModelClient",
    "SchemaMode",
    "StopReason",
    "Target",
    "ToolCall",
    "ToolSpec",
    "Turn",
]


class SchemaMode(StrEnum):
    """How a target is made to answer in the shape of a schema, from the strongest promise to the weakest."""

    JSON_SCHEMA = "json_schema"
    """The provider constrains its output to (a subset of) the schema."""
    JSON_OBJECT = "json_object"
    """The provider promises JSON syntax; the schema stands in the prompt."""
    PROMPT = "prompt"
    """The provider promises nothing; the schema stands in the prompt."""


class StopReason(StrEnum):
    """Why a model stopped. Only ``COMPLETE`` may become a result without further ado."""

    COMPLETE = "complete"
    LENGTH = "length"
    """The output cap was reached: the text is cut off, whatever it looks like."""
    REFUSAL = "refusal"
    CONTENT_FILTER = "content_filter"
    TOOL_CALLS = "tool_calls"
    UNKNOWN = "unknown"
    """A reason this version does not know, or none: not to be taken for complete."""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as a model is told of it."""

    name: str
    """Of ``[A-Za-z0-9_-]``, at most 64 long."""
    description: str
    parameters: Mapping[str, Any]
    """JSON Schema of its arguments; the root is an object."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool that a model wants made. None of it is to be trusted."""

    id: str
    """The provider's, or one made here; what the result is told under."""
    name: str
    arguments: str = field(repr=False)
    """What the model takes for JSON, as it came."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One earlier turn of the same exchange: an excerpt of the model's answer, or what was wrong with it.

    With tools also what the model wanted called, and under ``tool`` what came of one of these calls.
    """

    role: Literal["assistant", "user", "tool"]
    text: str
    calls: tuple[ToolCall, ...] = ()
    """What the assistant wanted called; each is answered by a ``tool`` turn right after it, in any order."""
    call_id: str = ""
    """Of a ``tool`` turn: the call that it answers."""
    failed: bool = False
    """Of a ``tool`` turn: whether it tells of an error."""
    carry: tuple[Mapping[str, Any], ...] = ()
    """Of an assistant's turn: the answer's ``carry``."""


@dataclass(frozen=True, slots=True)
class CallRequest:
    """What is asked of a model, the same for every provider."""

    system: str
    """Instructions; empty means no system message. Never carries a document."""
    user: str
    """The rendered prompt with the (untrusted) input in it."""
    max_output_tokens: int
    """Cap on what the model may produce, thinking included; always sent."""
    turns: tuple[Turn, ...] = ()
    """What follows *user* when a model is asked again; bounded excerpts only."""
    schema: Mapping[str, Any] | None = None
    """JSON Schema the answer must fit; None for plain text."""
    schema_name: str = "answer"
    """A name for the schema, of ``[A-Za-z0-9_-]``, at most 64 long; some providers show it to the model."""
    schema_mode: SchemaMode | None = None
    """Overrides the target's mode, as after ``schema_unsupported``; None takes the target's."""
    tools: tuple[ToolSpec, ...] = ()
    """What the model may ask to have called; empty for nothing."""
    tool_choice: Literal["auto", "required", "none"] = "auto"
    """Whether it may, must, or must not any more. Says nothing without *tools*."""
    temperature: float | None = None
    """None leaves it to the provider."""
    seed: int | None = None
    stream: bool = False
    """Ask for the answer in pieces; needed for deltas, the first-content limit and the idle limit."""
    prefix_chars: int = 0
    """How much of *user*'s beginning other requests share: all that stands before the input. 0 where it is short."""
    attempt_id: str = ""
    """Our own id of this call, sent along as a header, so that a provider's log can be matched with ours."""


@dataclass(frozen=True, slots=True)
class CallLimits:
    """How long and how large one call may become. Seconds unless the name says otherwise."""

    connect_s: float = 5.0
    """Name resolution, TCP and TLS together."""
    first_content_s: float = 60.0
    """From sending to the first content. Streaming only: a whole answer gives no earlier sign of life."""
    content_idle_s: float = 30.0
    """Between two pieces of content. Keep-alive comments, empty deltas and white space are not content."""
    whole_call_s: float = 120.0
    """From the start of the call to the end of the answer."""
    max_body_bytes: int = 4 * 1024 * 1024
    """Cap on the decoded body; the connection is cut when it is reached."""
    stop_loops: bool = True
    """Streaming only: cut an answer that has become white space or one piece repeated."""


@dataclass(frozen=True, slots=True)
class Target:
    """One model at one endpoint, from configuration; no part of it ever comes from a job."""

    name: str
    """``openai/gpt-4o-mini``: the provider's name in the configuration, a slash, and a name for the model."""
    kind: str
    """The provider family: ``openai`` is Chat Completions and all that speaks it; all are in ``FAMILIES``."""
    model: str
    """The model as the provider's API knows it."""
    base_url: str
    """Up to and without the family's own path, e.g. ``https://api.openai.com/v1``."""
    api_key: SecretRef | None = None
    """None for an endpoint without authentication."""
    limits: CallLimits = CallLimits()
    price_ref: str | None = None
    """``provider/model`` in the price table; None looks up *name*."""
    context_window: int | None = None
    """Tokens of input and output cap together that the model takes; None: not known, and not checked."""
    schema_mode: SchemaMode = SchemaMode.JSON_SCHEMA
    """The strongest mode this endpoint supports."""
    allow_private: bool = False
    """Permit plain ``http://`` and addresses that are not public: a model server of one's own."""
    prompt_cache: bool = True
    """Whether the provider's cache of prompts' beginnings is used: marked where it wants that, and warmed by one."""
    ca_file: str | None = None
    """PEM file of certificate authorities to trust instead of the bundled ones."""
    stream_from_tokens: int | None = None
    """From this output cap on a call is streamed although nobody asked for its pieces; None: never."""
    proxy: str | None = field(default=None, repr=False)
    """URL of the proxy that it is reached through, which may hold a password; None: it is reached directly."""
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """What only one family understands; each family's module lists its keys."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said, and what it took."""

    text: str = field(repr=False)
    """The visible answer; empty when the model refused, called a tool or only thought."""
    stop: StopReason
    usage: "Usage | None"
    """Tokens in disjoint buckets; None when the provider reported none."""
    schema_mode: SchemaMode | None
    """The mode really used, which can be weaker than the one asked for; None without a schema."""
    schema_changes: tuple[str, ...] = ()
    """What the provider was not told of the schema, as JSON pointer and keyword; local validation decides."""
    tool_calls: tuple[ToolCall, ...] = ()
    """What the model wants called before it goes on."""
    carry: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    """What this provider wants to see again, as it came, in front of the calls: signed thoughts."""
    refusal: str | None = field(default=None, repr=False)
    """The model's own words of refusal, at most 256 bytes, for the ledger."""
    request_id: str | None = None
    """The provider's id of the call."""
    model: str | None = None
    """The model as the provider reported it."""
    service_tier: str | None = None
    """The tier that was really used and is priced, as the provider reported it."""
    first_content_ms: int | None = None
    """From the start of the call to the first content; None when there was none."""
    took_ms: int = 0
    provider_cost_nanousd: int | None = None
    """What the provider itself says the call cost; beats any price table. None when it does not say."""
    raw_usage: Mapping[str, Any] | None = None
    """The provider's usage object as it came, bounded; for the ledger."""
    limits: "RateLimits | None" = None
    """What the response's headers said about the account's limits; None when they said nothing."""


@dataclass(slots=True)
class KeptId:
    """The id of work that a provider goes on with by itself (``options.background``), and where it is kept."""

    id: str | None = None
    """None before it was begun."""
    note: Callable[[str], Awaitable[object]] | None = None
    """Writes it down where the next worker finds it; None keeps it in memory alone."""

    async def keep(self, id: str) -> None:
        """Take the id, and return when it is written down."""
        self.id = id
        if self.note is not None:
            await self.note(id)


class ModelClient(Protocol):
    """Whoever can call a target: the HTTP client, or a wrapper around another client."""

    async def call(
        self,
        target: Target,
        request: CallRequest,
        *,
        deadline: float | None = None,
        on_delta: Callable[[str], None] | None = None,
        kept: KeptId | None = None,
    ) -> Answer:
        """Send *request* to *target* once; no retry happens below this line.

        *deadline* is a moment of ``time.monotonic()`` at which the call is given up, None for none.
        *on_delta* gets each visible piece of a streamed answer, at once and in order; it must not block, and
        what it raises ends the call. Cancelling closes the connection before the cancellation returns.
        *kept*, of a target that works in the background: with an id, nothing is begun, and what goes on under it is
        waited for; without, it takes the id as soon as there is one. Cancelling leaves that work alone.
        Raises CallError, and nothing else of the transport's.
        """
        ...

    async def withdraw(self, target: Target, kept_id: str) -> None:
        """Cancel what *target* works on in the background, if that can be done within a few seconds."""
        ...

    async def aclose(self) -> None:
        """Close all connections; calls in flight end with ``connection_lost``. A repeat does nothing."""
        ...
