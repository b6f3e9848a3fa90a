"""Tools in OpenAI's two formats: how they are offered, how calls are read, how results are told.

Chat Completions puts a function into a field of its own and tells a result as a message of the role ``tool``; Responses
has items, ``function_call`` and ``function_call_output``. A schema within the strict subset is sent as strict: then
optional arguments come as null, which the reader of arguments takes for absent.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from penstock_worker.llm.port import CallRequest, Target, ToolCall, ToolSpec, Turn
from penstock_worker.llm.strict_schema import lower_schema
from penstock_worker.llm.wire import dumped, mapping, objects, sound

MAX_CALLS = 128
"""Calls that are read in one answer; what comes beyond is left out."""


def chat_tools(target: Target, request: CallRequest) -> dict[str, Any]:
    """The fields of a Chat Completions request that offer tools; none without tools."""
    return _offer(request, [{"type": "function", "function": _function(target, tool)} for tool in request.tools])


def responses_tools(target: Target, request: CallRequest) -> dict[str, Any]:
    """The same of a Responses request."""
    return _offer(request, [{"type": "function", **_function(target, tool)} for tool in request.tools])


def chat_turn(turn: Turn) -> dict[str, Any]:
    """One turn as a message of Chat Completions."""
    if turn.role == "tool":
        return {"role": "tool", "tool_call_id": turn.call_id, "content": turn.text}
    if not turn.calls:
        return {"role": turn.role, "content": turn.text}
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in turn.calls
    ]
    return {"role": "assistant", "content": turn.text or None, "tool_calls": calls}


def responses_items(turn: Turn) -> list[dict[str, Any]]:
    """One turn as items of a Responses request's input."""
    if turn.role == "tool":
        return [{"type": "function_call_output", "call_id": turn.call_id, "output": turn.text}]
    said = [{"role": turn.role, "content": turn.text}] if turn.text or not turn.calls else []
    called = (
        {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}
        for call in turn.calls
    )
    return [*said, *called]


def chat_calls(message: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    """The calls in a whole message of Chat Completions."""
    rows = objects(message.get("tool_calls"))[:MAX_CALLS]
    return tuple(_call(row.get("id"), mapping(row.get("function")), index) for index, row in enumerate(rows))


def responses_calls(response: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    """The calls in a response object."""
    items = [item for item in objects(response.get("output")) if item.get("type") == "function_call"]
    return tuple(_call(item.get("call_id"), item, index) for index, item in enumerate(items[:MAX_CALLS]))


class CallPieces:
    """Puts the calls of a streamed Chat Completions answer together; their pieces have a number."""

    def __init__(self) -> None:
        self.size = 0
        """UTF-8 bytes of arguments so far."""
        self._heads: dict[int, dict[str, Any]] = {}
        self._arguments: dict[int, list[str]] = {}

    def feed(self, pieces: object) -> None:
        """Take the pieces in one delta. The first id and name of a call count: some servers repeat them."""
        for row in objects(pieces):
            number = row.get("index", 0)
            if not isinstance(number, int) or not 0 <= number < MAX_CALLS:
                continue
            head = self._heads.setdefault(number, {})
            function = mapping(row.get("function"))
            for name, value in (("id", row.get("id")), ("name", function.get("name"))):
                if value and name not in head:
                    head[name] = value
            self._add(number, function.get("arguments"))

    def _add(self, number: int, piece: object) -> None:
        text = _text(piece) if piece is not None else ""
        self._arguments.setdefault(number, []).append(text)
        self.size += len(text.encode("utf-8", "replace"))

    def calls(self) -> tuple[ToolCall, ...]:
        """The calls in the order of their numbers."""
        return tuple(
            _call(head.get("id"), {**head, "arguments": "".join(self._arguments[number])}, index)
            for index, (number, head) in enumerate(sorted(self._heads.items()))
        )


def _offer(request: CallRequest, tools: list[dict[str, Any]]) -> dict[str, Any]:
    return {"tools": tools, "tool_choice": request.tool_choice} if tools else {}


def _function(target: Target, tool: ToolSpec) -> dict[str, Any]:
    about: dict[str, Any] = {"name": tool.name, "description": tool.description}
    strict = lower_schema(tool.parameters).schema if target.options.get("strict_subset", True) else None
    if strict is None:
        return {**about, "parameters": dict(tool.parameters)}
    return {**about, "parameters": strict, "strict": True}


def _call(id: object, function: Mapping[str, Any], index: int) -> ToolCall:
    name, arguments = function.get("name"), function.get("arguments")
    return ToolCall(
        id=sound(id)[:128] if isinstance(id, str) and id else f"call_{index}",
        name=sound(name)[:128] if isinstance(name, str) else "",
        arguments=sound(_text(arguments)) if arguments is not None else "",
    )


def _text(value: object) -> str:
    """Arguments are JSON in a string; some servers send the object itself."""
    return value if isinstance(value, str) else dumped(value)


def chat_turns(turns: Iterable[Turn]) -> list[dict[str, Any]]:
    """All turns as messages of Chat Completions."""
    return [chat_turn(turn) for turn in turns]
