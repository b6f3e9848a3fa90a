"""A streamed Responses answer, put together from its events.

Events carry a number: one that comes again is passed over. The last event repeats the whole answer, and must say
what the pieces said: lost or swapped pieces are refused. Unknown events are passed over.
"""

from collections.abc import Mapping
from typing import Any

from penstock_worker.llm.errors import BadResponseError
from penstock_worker.llm.family import Reply
from penstock_worker.llm.openai_errors import classify_object
from penstock_worker.llm.port import StopReason
from penstock_worker.llm.response_object import read_response
from penstock_worker.llm.sse import ServerEvent
from penstock_worker.llm.streaming import Accumulator
from penstock_worker.llm.wire import mapping

_LAST = ("response.completed", "response.incomplete", "response.failed")


class ResponseAccumulator(Accumulator):
    """Takes one event after the other."""

    def __init__(self, *, max_text_bytes: int) -> None:
        super().__init__(max_text_bytes=max_text_bytes)
        self._number = -1
        self._last: Reply | None = None

    def may_end(self, event: ServerEvent) -> bool:
        """The last event, which some servers end with the connection."""
        return event.name in _LAST

    def _take(self, name: str, document: dict[str, Any]) -> str | None:
        kind = str(document.get("type") or name)
        if self._is_repeated(document.get("sequence_number")):
            return None
        if kind == "error":
            raise classify_object(document.get("error") or document)
        if kind == "response.output_text.delta":
            text = document.get("delta")
            return self._add(text) if isinstance(text, str) and text else None
        if kind in _LAST:
            return self._end(mapping(document.get("response")))
        if kind == "response.created":
            self._note("id", mapping(document.get("response")).get("id"))
        return "" if kind.endswith(".delta") else None

    def _is_repeated(self, number: object) -> bool:
        if not isinstance(number, int):
            return False
        repeated, self._number = number <= self._number, max(number, self._number)
        return repeated

    def _end(self, response: Mapping[str, Any]) -> str | None:
        usage = response.get("usage")
        if isinstance(usage, dict):
            self.raw_usage = usage
        self._last = read_response(response)
        said, told = "".join(self._parts), self._last.text
        piece = self._add(told) if told and not said else None
        if said and said != told:
            raise BadResponseError(detail="the pieces are not the answer")
        self.done = True
        return piece

    def _reply(self) -> Reply:
        last = self._last or self._made(StopReason.UNKNOWN)
        return Reply(
            text="".join(self._parts),
            stop=last.stop,
            refusal=last.refusal,
            response_id=last.response_id,
            model=last.model,
            service_tier=last.service_tier,
            raw_usage=self.raw_usage,
            tool_calls=last.tool_calls,
        )
