"""A streamed Chat Completions answer, put together from its events.

Chunks carry no number, so one that a proxy sends twice cannot be told from a repeated word. What can be told is
refused: visible text after the finish reason, and an end without ``data: [DONE]``. Unknown events, empty deltas
and choices other than the first are passed over. The last usage counts.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from penstock_worker.llm.errors import (
    BadResponseError,
    ResponseTooLargeError,
    StreamBrokenError,
)
from penstock_worker.llm.family import Reply
from penstock_worker.llm.openai_errors import classify_object
from penstock_worker.llm.openai_words import stop_reason
from penstock_worker.llm.port import StopReason
from penstock_worker.llm.sse import EventTooLargeError, ServerEvent, SseDecoder
from penstock_worker.llm.wire import excerpt, loads, mapping, text_of, utf8_length

_HIDDEN = ("reasoning_content", "reasoning", "reasoning_details", "tool_calls", "function_call")


class ChatAccumulator:
    """Takes one event after the other."""

    def __init__(self, *, max_text_bytes: int, needs_done: bool = True) -> None:
        self.done = False
        self.received_bytes = 0
        self.raw_usage: Mapping[str, Any] | None = None
        self._max = max_text_bytes
        self._needs_done = needs_done
        self._parts: list[str] = []
        self._refusal: list[str] = []
        self._finish: object = None
        self._names: dict[str, str] = {}
        self._events = 0

    def feed(self, event: ServerEvent) -> str | None:
        """Take one event; return its visible text, empty if it is hidden progress, None if it is neither.

        Raises CallError.
        """
        if self.done:
            return None
        self._events += 1
        if event.data.strip() == b"[DONE]":
            self.done = True
            return None
        chunk = loads(event.data)
        if not isinstance(chunk, dict):
            raise BadResponseError(detail=excerpt(event.data))
        if chunk.get("error") or event.name == "error":
            raise classify_object(chunk.get("error") or chunk)
        return self._chunk(chunk)

    def finish(self) -> Reply:
        """Return the whole. Raises StreamBrokenError without the end marker, BadResponseError without events."""
        if not self._events:
            raise BadResponseError(detail="no events")
        if not (self.done or (self._finish is not None and not self._needs_done)):
            raise StreamBrokenError(detail="no [DONE]")
        refusal = text_of("".join(self._refusal), 256)
        return Reply(
            text="".join(self._parts),
            stop=StopReason.REFUSAL if refusal else stop_reason(self._finish),
            refusal=refusal,
            response_id=self._names.get("id"),
            model=self._names.get("model"),
            service_tier=self._names.get("service_tier"),
            raw_usage=self.raw_usage,
        )

    def _chunk(self, chunk: dict[str, Any]) -> str | None:
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            self.raw_usage = usage
        if len(self._names) < 3:
            self._note_names(chunk)
        choices = chunk.get("choices")
        piece: str | None = None
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and choice.get("index", 0) == 0:
                piece = self._choice(choice)
        return piece

    def _choice(self, choice: dict[str, Any]) -> str | None:
        if choice.get("error"):
            raise classify_object(choice["error"])
        delta = mapping(choice.get("delta"))
        text = delta.get("content")
        if isinstance(text, str) and text:
            self._add(text)
        else:
            text = "" if self._hidden(delta) else None
        word = choice.get("finish_reason")
        if word is not None:
            stop_reason(word)
            self._finish = word
        return text

    def _add(self, text: str) -> None:
        if self._finish is not None:
            raise BadResponseError(detail="text after the finish reason")
        self.received_bytes += utf8_length(text)
        if self.received_bytes > self._max:
            raise ResponseTooLargeError
        self._parts.append(text)

    def _hidden(self, delta: Mapping[str, Any]) -> bool:
        refusal = delta.get("refusal")
        if isinstance(refusal, str) and refusal:
            if len(self._refusal) < 256:
                self._refusal.append(refusal)
            return True
        return any(delta.get(name) for name in _HIDDEN)

    def _note_names(self, chunk: dict[str, Any]) -> None:
        for name in ("id", "model", "service_tier"):
            value = text_of(chunk.get(name)) if name not in self._names else None
            if value is not None:
                self._names[name] = value


class ChatStream:
    """Bytes in, visible pieces out: the decoder and the accumulator as one."""

    def __init__(self, *, max_text_bytes: int, needs_done: bool = True) -> None:
        self._decoder = SseDecoder()
        self._answer = ChatAccumulator(max_text_bytes=max_text_bytes, needs_done=needs_done)

    @property
    def done(self) -> bool:
        """``[DONE]`` has been seen."""
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
        if rest is not None and rest.data.strip() == b"[DONE]":
            self._answer.feed(rest)
        return self._answer.finish()
