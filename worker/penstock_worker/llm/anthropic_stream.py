"""A streamed Anthropic message, put together from its events.

Text comes in blocks with a number: text for a block that is not open, and a block that opens twice, are refused.
Usage is cumulative, so that the last figure counts; the first event's output count is a placeholder and left out.
Unknown events and ``ping`` are passed over; the end is ``message_stop``.
"""

from collections.abc import Mapping
from typing import Any

from penstock_worker.llm import anthropic_tools
from penstock_worker.llm.anthropic_words import classify_object, refusal_words, stop_reason
from penstock_worker.llm.errors import BadResponseError, ResponseTooLargeError
from penstock_worker.llm.family import Reply
from penstock_worker.llm.sse import ServerEvent
from penstock_worker.llm.streaming import Accumulator
from penstock_worker.llm.wire import mapping

_HIDDEN = {"input_json_delta": "partial_json", "thinking_delta": "thinking", "signature_delta": "signature"}
"""Type of a delta that is no answer -> the field that has its piece."""

_PIECES = {"thinking": "thinking_delta", "signature": "signature_delta"}


class MessageAccumulator(Accumulator):
    """Takes one event after the other."""

    def __init__(self, *, max_text_bytes: int) -> None:
        super().__init__(max_text_bytes=max_text_bytes)
        self._open: set[object] = set()
        self._blocks: dict[int, Mapping[str, Any]] = {}
        self._hidden: dict[tuple[int, str], list[str]] = {}
        self._hidden_chars = 0
        self._stop: dict[str, Any] = {}

    def may_end(self, event: ServerEvent) -> bool:
        """The end marker, which some servers end with the connection."""
        return event.name == "message_stop"

    def _take(self, name: str, document: dict[str, Any]) -> str | None:
        kind = str(document.get("type") or name)
        if kind == "error":
            raise classify_object(document.get("error") or document)
        if kind == "content_block_delta":
            return self._delta(document.get("index"), mapping(document.get("delta")))
        if kind == "content_block_start":
            return self._block(document.get("index"), mapping(document.get("content_block")))
        if kind == "content_block_stop":
            self._open.discard(_number(document.get("index")))
        elif kind == "message_start":
            self._start(mapping(document.get("message")))
        elif kind == "message_delta":
            self._stop |= mapping(document.get("delta"))
            self._count(mapping(document.get("usage")))
        elif kind == "message_stop":
            self.done = True
        return None

    def _block(self, index: object, block: Mapping[str, Any]) -> str | None:
        number = _number(index)
        if number in self._blocks:
            raise BadResponseError(detail="a block opens twice")
        self._open.add(number)
        self._blocks[number] = block
        text = block.get("text")
        return self._add(text) if block.get("type") == "text" and isinstance(text, str) and text else None

    def _delta(self, index: object, delta: Mapping[str, Any]) -> str | None:
        number = _number(index)
        if number not in self._open:
            raise BadResponseError(detail="text for a block that is not open")
        kind = delta.get("type")
        if kind == "text_delta":
            text = delta.get("text")
            return self._add(text) if isinstance(text, str) and text else None
        if isinstance(kind, str) and kind in _HIDDEN:
            self._keep(number, kind, delta.get(_HIDDEN[kind]))
        return ""

    def _keep(self, number: int, kind: str, piece: object) -> None:
        if isinstance(piece, str):
            self._hidden.setdefault((number, kind), []).append(piece)
            self._hidden_chars += len(piece)
        if self._hidden_chars > self._max:
            raise ResponseTooLargeError

    def _start(self, message: Mapping[str, Any]) -> None:
        self._note("id", message.get("id"))
        self._note("model", message.get("model"))
        usage = mapping(message.get("usage"))
        self._note("service_tier", usage.get("service_tier"))
        self._count({name: value for name, value in usage.items() if name != "output_tokens"})

    def _count(self, usage: Mapping[str, Any]) -> None:
        if usage:
            new = {name: value for name, value in usage.items() if value is not None}
            self.raw_usage = {**(self.raw_usage or {}), **new}

    def _reply(self) -> Reply:
        blocks = [(number, block) for number, block in sorted(self._blocks.items())]
        called = [(number, block) for number, block in blocks if block.get("type") == "tool_use"]
        calls = tuple(
            anthropic_tools.call_of(block, index, self._joined(number, "input_json_delta"))
            for index, (number, block) in enumerate(called[: anthropic_tools.MAX_CALLS])
        )
        thoughts = anthropic_tools.carried([self._whole(number, block) for number, block in blocks])
        reason = stop_reason(self._stop.get("stop_reason"))
        return self._made(reason, refusal_words(self._stop), tool_calls=calls, carry=thoughts)

    def _whole(self, number: int, block: Mapping[str, Any]) -> Mapping[str, Any]:
        """A block of thoughts with what came after its start."""
        came = {name: self._joined(number, kind) for name, kind in _PIECES.items()}
        return {**block, **{name: text for name, text in came.items() if text}}

    def _joined(self, number: int, kind: str) -> str:
        return "".join(self._hidden.get((number, kind), ()))


def _number(index: object) -> int:
    return index if isinstance(index, int) else -1
