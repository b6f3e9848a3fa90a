"""Tools in Anthropic's format: blocks of a message, ``tool_use`` and ``tool_result``.

All results of one round stand in one message of the user. A model that thinks wants its signed thoughts again, in
front of the calls that came of them; they are carried as they came. Schemas are not sent as strict: the limits on
strict ones hold for all of a request together, and arguments are checked here anyway.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from penstock_worker.llm.port import CallRequest, ToolCall, Turn
from penstock_worker.llm.wire import dumped, objects, sound

_CHOICES = {"auto": "auto", "required": "any", "none": "none"}
_CARRIED = ("thinking", "redacted_thinking")
MAX_CALLS = 128
"""Calls that are read in one answer; what comes beyond is left out."""


def offer(request: CallRequest) -> dict[str, Any]:
    """The fields of a request that offer tools; none without tools."""
    tools = [
        {"name": tool.name, "description": tool.description, "input_schema": dict(tool.parameters)}
        for tool in request.tools
    ]
    return {"tools": tools, "tool_choice": {"type": _CHOICES[request.tool_choice]}} if tools else {}


def messages(turns: Iterable[Turn]) -> list[dict[str, Any]]:
    """The turns as messages; results that follow one another become one."""
    made: list[dict[str, Any]] = []
    results: list[dict[str, Any]] | None = None
    for turn in turns:
        if turn.role != "tool":
            results = None
            made.append({"role": turn.role, "content": _blocks(turn) if turn.calls else turn.text})
            continue
        if results is None:
            results = []
            made.append({"role": "user", "content": results})
        results.append(_result(turn))
    return made


def calls(content: object) -> tuple[ToolCall, ...]:
    """The calls among the blocks of a message."""
    blocks = [block for block in objects(content) if block.get("type") == "tool_use"]
    return tuple(call_of(block, index) for index, block in enumerate(blocks[:MAX_CALLS]))


def call_of(block: Mapping[str, Any], index: int, arguments: str | None = None) -> ToolCall:
    """The call that *block* is; *arguments* are its streamed ones, None for those inside it."""
    id, name, given = block.get("id"), block.get("name"), block.get("input")
    return ToolCall(
        id=sound(id)[:128] if isinstance(id, str) and id else f"call_{index}",
        name=sound(name)[:128] if isinstance(name, str) else "",
        arguments=sound(arguments) if arguments else dumped({} if given is None else given),
    )


def carried(content: object) -> tuple[Mapping[str, Any], ...]:
    """The blocks that have to be sent again with the calls. Raises BadResponseError for what nothing can store."""
    found = tuple(block for block in objects(content) if block.get("type") in _CARRIED)
    if found:
        dumped(found)
    return found


def _blocks(turn: Turn) -> list[Mapping[str, Any]]:
    said = [{"type": "text", "text": turn.text}] if turn.text.strip() else []
    called = (
        {"type": "tool_use", "id": call.id, "name": call.name, "input": _object(call.arguments)} for call in turn.calls
    )
    return [*turn.carry, *said, *called]


def _result(turn: Turn) -> dict[str, Any]:
    row = {"type": "tool_result", "tool_use_id": turn.call_id, "content": turn.text}
    return {**row, "is_error": True} if turn.failed else row


def _object(arguments: str) -> dict[str, Any]:
    """The arguments as the object they must be here; what is none was answered with an error."""
    try:
        value = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
