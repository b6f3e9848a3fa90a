"""What all streamed answers have in common: bytes to events, events to text, and an end that must be seen.

A family brings an :class:`Accumulator`, which reads one document after the other; :class:`EventStream` feeds it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Protocol

from penstock_worker.llm.errors import BadResponseError, ResponseTooLargeError, StreamBrokenError
from penstock_worker.llm.family import Reply
from penstock_worker.llm.lines import EventTooLargeError
from penstock_worker.llm.port import StopReason, ToolCall
from penstock_worker.llm.sse import ServerEvent
from penstock_worker.llm.wire import excerpt, loads, text_of, utf8_length

_DONE = b"[DONE]"


class Decoder(Protocol):
    """Bytes to events."""

    def feed(self, chunk: bytes) -> Iterator[ServerEvent]:
        """Yield the events that *chunk* completes. Raises EventTooLargeError."""
        ...

    def end(self) -> ServerEvent | None:
        """Return what was left without its end, if it is an event."""
        ...


class Accumulator(ABC):
    """Takes one event after the other and puts the answer together."""

    ends_with_word: ClassVar[bool] = False
    """Whether ``data: [DONE]`` is the format's end marker; elsewhere some gateways add it, and it says nothing."""

    def __init__(self, *, max_text_bytes: int) -> None:
        self.done = False
        self.received_bytes = 0
        self.raw_usage: Mapping[str, Any] | None = None
        self._max = max_text_bytes
        self._parts: list[str] = []
        self._names: dict[str, str] = {}
        self._events = 0

    def feed(self, event: ServerEvent) -> str | None:
        """Take one event; return its visible text, empty if it is hidden progress, None if it is neither.

        Raises CallError.
        """
        if self.done:
            return None
        self._events += 1
        data = event.data
        if data[:1] != b"{" and data.strip() == _DONE:
            self.done = self.ends_with_word
            return None
        document = loads(data)
        if not isinstance(document, dict):
            raise BadResponseError(detail=excerpt(event.data))
        return self._take(event.name, document)

    def may_end(self, event: ServerEvent) -> bool:
        """Whether *event*, which came last and without the end of an event, can be the answer's end marker."""
        return self.ends_with_word and event.data.strip() == _DONE

    def finish(self) -> Reply:
        """Return the whole. Raises StreamBrokenError without the end marker, BadResponseError without events."""
        if not self._events:
            raise BadResponseError(detail="no events")
        if not self._is_whole():
            raise StreamBrokenError(detail="no end marker")
        return self._reply()

    @abstractmethod
    def _take(self, name: str, document: dict[str, Any]) -> str | None:
        """Read one document; the result is that of :meth:`feed`."""

    @abstractmethod
    def _reply(self) -> Reply:
        """The whole answer, of which the end has been seen."""

    def _is_whole(self) -> bool:
        return self.done

    def _add(self, text: str) -> str:
        """Append visible *text* and return it. Raises ResponseTooLargeError, BadResponseError."""
        self.received_bytes += utf8_length(text)
        if self.received_bytes > self._max:
            raise ResponseTooLargeError
        self._parts.append(text)
        return text

    def _note(self, name: str, value: object) -> None:
        """Keep the first usable *value* for *name*."""
        if name not in self._names and (text := text_of(value)) is not None:
            self._names[name] = text

    def _made(
        self,
        stop: StopReason,
        refusal: str | None = None,
        *,
        tool_calls: tuple[ToolCall, ...] = (),
        carry: tuple[Mapping[str, Any], ...] = (),
    ) -> Reply:
        return Reply(
            text="".join(self._parts),
            stop=stop,
            refusal=refusal,
            response_id=self._names.get("id"),
            model=self._names.get("model"),
            service_tier=self._names.get("service_tier"),
            raw_usage=self.raw_usage,
            tool_calls=tool_calls,
            carry=carry,
        )


class EventStream:
    """Bytes in, visible pieces out: a decoder and an accumulator as one."""

    def __init__(self, decoder: Decoder, answer: Accumulator) -> None:
        self._decoder = decoder
        self._answer = answer

    @property
    def done(self) -> bool:
        """The end marker has been seen."""
        return self._answer.done

    @property
    def received_bytes(self) -> int:
        """UTF-8 bytes of visible answer so far."""
        return self._answer.received_bytes

    @property
    def raw_usage(self) -> Mapping[str, Any] | None:
        """The last usage seen so far."""
        return self._answer.raw_usage

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Yield each sign of progress in *chunk*. Raises CallError."""
        try:
            for event in self._decoder.feed(chunk):
                piece = self._answer.feed(event)
                if piece is not None:
                    yield piece
        except EventTooLargeError:
            raise ResponseTooLargeError(detail="one event") from None

    def finish(self) -> Reply:
        """Return the whole answer. Raises CallError if it is not whole."""
        rest = self._decoder.end()
        if rest is not None and self._answer.may_end(rest):
            self._feed_rest(rest)
        return self._answer.finish()

    def _feed_rest(self, rest: ServerEvent) -> None:
        try:
            self._answer.feed(rest)
        except BadResponseError:
            return  # cut in the middle: the end marker is missing, and that is what will be said
