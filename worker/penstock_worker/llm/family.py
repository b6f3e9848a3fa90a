"""What one provider family brings: how to ask, and how to read what comes. Pure: no family does I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from penstock_schemas.results import Usage
from penstock_worker.llm.errors import CallError
from penstock_worker.llm.port import CallRequest, SchemaMode, StopReason, Target, ToolCall
from penstock_worker.money.usage import Bounds


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request in a family's wire format, without the key."""

    path: str
    """Appended to the target's base URL."""
    body: dict[str, Any] = field(repr=False)
    schema_mode: SchemaMode | None
    schema_changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """What a family read in a response."""

    text: str = field(repr=False)
    stop: StopReason
    refusal: str | None = field(default=None, repr=False)
    response_id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    raw_usage: Mapping[str, Any] | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    carry: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)


class AnswerStream(Protocol):
    """Puts a streamed answer together, from bytes in any split."""

    @property
    def done(self) -> bool:
        """The provider's own end marker has been seen; the end of the connection is not one."""
        ...

    @property
    def received_bytes(self) -> int:
        """UTF-8 bytes of visible answer so far."""
        ...

    @property
    def raw_usage(self) -> Mapping[str, Any] | None:
        """The last usage seen so far."""
        ...

    def feed(self, chunk: bytes) -> Iterable[str]:
        """Yield a string for each sign of progress: a piece of the visible answer, or empty when it is hidden.

        Raises CallError for an error inside the stream and for what cannot be read.
        """
        ...

    def finish(self) -> Reply:
        """Return the whole answer once the bytes have ended. Raises CallError if its end marker is missing."""
        ...


class Family(Protocol):
    """One wire format."""

    @property
    def takes_tools(self) -> bool:
        """Whether requests with tools can be put into it."""
        ...

    def check_options(self, target: Target) -> None:
        """Raise ValueError naming the option of *target* that is unknown or has a wrong value."""
        ...

    def prepare(self, target: Target, request: CallRequest) -> Prepared:
        """Put *request* into the wire format. Raises CallError when it cannot be."""
        ...

    def headers(self, target: Target, key: str | None) -> dict[str, str]:
        """The family's own headers, the key's among them; names in lower case."""
        ...

    def read_answer(self, body: bytes) -> Reply:
        """Read a whole body that came with status 200. Raises CallError, also for an error inside it."""
        ...

    def open_stream(self, target: Target) -> AnswerStream:
        """Begin to read a streamed answer."""
        ...

    def read_error(self, status: int, body: bytes) -> CallError:
        """Classify a response whose status is not 200; ``retry_after_s`` is set if the body names a wait."""
        ...

    def examine(self, target: Target, request: CallRequest, reply: Reply) -> None:
        """Look for what *reply* tells of the request. Raises CallError when the answer is not one to *request*."""
        ...

    def read_usage(self, raw: Mapping[str, Any] | None, known: Bounds) -> tuple[Usage, int | None]:
        """Tokens in disjoint buckets, and the cost in nano-USD if the provider named it."""
        ...
