"""A streamed Chat Completions answer, put together from its events.

Chunks carry no number, so one that a proxy sends twice cannot be told from a repeated word. What can be told is
refused: visible text after the finish reason, and an end without ``data: [DONE]``. Unknown events, empty deltas
and choices other than the first are passed over. The last usage counts.
"""

from collections.abc import Mapping
from typing import Any

from penstock_worker.llm.errors import BadResponseError, ResponseTooLargeError
from penstock_worker.llm.family import Reply
from penstock_worker.llm.openai_errors import classify_object
from penstock_worker.llm.openai_tools import CallPieces
from penstock_worker.llm.openai_words import stop_reason
from penstock_worker.llm.port import StopReason
from penstock_worker.llm.sse import SseDecoder
from penstock_worker.llm.streaming import Accumulator, EventStream
from penstock_worker.llm.wire import mapping, text_of

_HIDDEN = ("reasoning_content", "reasoning", "reasoning_details", "function_call")


class ChatAccumulator(Accumulator):
    """Takes one event after the other."""

    ends_with_word = True

    def __init__(self, *, max_text_bytes: int, needs_done: bool = True) -> None:
        super().__init__(max_text_bytes=max_text_bytes)
        self._needs_done = needs_done
        self._refusal: list[str] = []
        self._finish: object = None
        self._calls: CallPieces | None = None

    def _is_whole(self) -> bool:
        return self.done or (self._finish is not None and not self._needs_done)

    def _take(self, name: str, document: dict[str, Any]) -> str | None:
        if document.get("error") or name == "error":
            raise classify_object(document.get("error") or document)
        usage = document.get("usage")
        if isinstance(usage, dict):
            self.raw_usage = usage
        if len(self._names) < 3:
            for field in ("id", "model", "service_tier"):
                self._note(field, document.get(field))
        return self._choices(document.get("choices"))

    def _choices(self, choices: object) -> str | None:
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

    def _add(self, text: str) -> str:
        if self._finish is not None:
            raise BadResponseError(detail="text after the finish reason")
        return super()._add(text)

    def _hidden(self, delta: Mapping[str, Any]) -> bool:
        refusal = delta.get("refusal")
        if isinstance(refusal, str) and refusal:
            if len(self._refusal) < 256:
                self._refusal.append(refusal)
            return True
        if delta.get("tool_calls"):
            self._called(delta["tool_calls"])
            return True
        return any(delta.get(name) for name in _HIDDEN)

    def _called(self, pieces: object) -> None:
        self._calls = self._calls or CallPieces()
        self._calls.feed(pieces)
        if self._calls.size > self._max:
            raise ResponseTooLargeError

    def _reply(self) -> Reply:
        refusal = text_of("".join(self._refusal), 256)
        calls = self._calls.calls() if self._calls is not None else ()
        return self._made(StopReason.REFUSAL if refusal else stop_reason(self._finish), refusal, tool_calls=calls)


class ChatStream(EventStream):
    """Bytes in, visible pieces out."""

    def __init__(self, *, max_text_bytes: int, needs_done: bool = True) -> None:
        super().__init__(SseDecoder(), ChatAccumulator(max_text_bytes=max_text_bytes, needs_done=needs_done))
