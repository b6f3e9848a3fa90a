"""The turns of a Messages request: roles, content blocks, tool results, cache breakpoints."""

from __future__ import annotations

from typing import Any

import orjson

from penstock_simulator.ask import CacheTtl, JsonObject, Message, Problem, RefusedError

_MOST_BREAKPOINTS = 4
Marks = tuple[tuple[int, CacheTtl], ...]


class Breakpoints:
    """The cache breakpoints of a request, in the order in which it is read: tools, system, messages."""

    def __init__(self) -> None:
        self._ttls: list[CacheTtl] = []

    def of(self, block: JsonObject, where: str) -> CacheTtl | None:
        """How long *block* wants all before its end cached; None when it says nothing."""
        control = block.get("cache_control")
        if control is None:
            return None
        if not isinstance(control, dict) or control.get("type") != "ephemeral":
            raise _refused(f"{where}.cache_control.type: Input should be 'ephemeral'")
        ttl = control.get("ttl", "5m")
        if ttl not in {"5m", "1h"}:
            raise _refused(f"{where}.cache_control.ephemeral.ttl: Input should be '5m' or '1h'")
        if ttl == "1h" and "5m" in self._ttls:
            text = "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block"
            raise _refused(f"{where}.cache_control.ephemeral.ttl: {text}")
        self._ttls.append("1h" if ttl == "1h" else "5m")
        return self._ttls[-1]

    def check(self) -> None:
        """400 for more than four."""
        if len(self._ttls) > _MOST_BREAKPOINTS:
            most = _MOST_BREAKPOINTS
            text = f"A maximum of {most} blocks with cache_control may be provided. Found {len(self._ttls)}."
            raise _refused(text)


def read_turns(messages: list[Any], breakpoints: Breakpoints) -> list[Message]:
    """The messages; a turn with tool results becomes one of the role `tool` for each, and one for its text."""
    if not messages:
        raise _refused("messages: at least one message is required")
    read: list[Message] = []
    called: list[str] = []
    for index, message in enumerate(messages):
        where = f"messages.{index}"
        _check_role(message, where)
        if index == 0 and message["role"] != "user":
            raise _refused('messages: first message must use the "user" role')
        read += _turn(message, where, breakpoints)
        called = _check_tools(message["content"], called, index)
    if called:
        raise _unanswered(called, len(messages) - 1)
    if messages[-1]["role"] == "assistant" and read[-1].text != read[-1].text.rstrip():
        raise _refused("messages: final assistant content cannot end with trailing whitespace")
    return read


def block_text(content: str | list[Any], where: str, breakpoints: Breakpoints) -> tuple[str, Marks]:
    """The text of *content*, and after how many characters of it the client wants it cached."""
    if isinstance(content, str):
        return content, ()
    text, marks = "", []
    for index, block in enumerate(content):
        text += _block(block, f"{where}.{index}")
        ttl = breakpoints.of(block, f"{where}.{index}")
        if ttl is not None:
            marks.append((len(text), ttl))
    return text, tuple(marks)


def _check_role(message: Any, where: str) -> None:
    if not isinstance(message, dict):
        raise _refused(f"{where}: Input should be a valid dictionary")
    role = message.get("role")
    if role not in {"user", "assistant"}:
        text = f'messages: Unexpected role "{role}". Allowed roles are "user" or "assistant".'
        if role == "system":
            text = (
                'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, not '
                '"system" as an input message role.'
            )
        raise _refused(text)
    if not isinstance(message.get("content"), str | list):
        raise _refused(f"{where}.content: Field required")
    if not message["content"]:
        raise _refused(f"{where}: all messages must have non-empty content")


def _turn(message: JsonObject, where: str, breakpoints: Breakpoints) -> list[Message]:
    content = message["content"]
    if isinstance(content, str):
        return [Message(message["role"], content)]
    results = [block for block in content if isinstance(block, dict) and block.get("type") == "tool_result"]
    rest = [block for block in content if block not in results]
    read = []
    for block in results:
        ttl = breakpoints.of(block, f"{where}.content")
        text = block_text(block.get("content") or "", f"{where}.content.tool_result.content", breakpoints)[0]
        read.append(Message("tool", text, ((len(text), ttl),) if ttl else ()))
    if rest:
        text, marks = block_text(rest, f"{where}.content", breakpoints)
        read.append(Message(message["role"], text, marks))
    return read


def _block(block: Any, where: str) -> str:
    match block:
        case {"type": "text", "text": str(text)}:
            if not text:
                raise _refused("messages: text content blocks must be non-empty")
            return text
        case {"type": "thinking", "thinking": str(text)}:
            return text
        case {"type": "tool_use", "id": str(), "name": str(), "input": dict()}:
            return orjson.dumps({"name": block["name"], "input": block["input"]}).decode()
        case {"type": str(kind)}:
            raise _refused(f"{where}: Input tag '{kind}' found using 'type' is not simulated here")
    raise _refused(f"{where}.type: Field required")


def _check_tools(content: Any, called: list[str], index: int) -> list[str]:
    """The calls that this turn leaves open; every call must be answered in the very next turn."""
    blocks = [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
    answered = [block.get("tool_use_id") for block in blocks if block.get("type") == "tool_result"]
    for place, id in enumerate(answered):
        if id not in called:
            raise _refused(
                f"messages.{index}.content.{place}: unexpected `tool_use_id` found in `tool_result` blocks: {id}. "
                "Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
            )
    missing = [id for id in called if id not in answered]
    if missing:
        raise _unanswered(missing, index - 1)
    return [str(block["id"]) for block in blocks if block.get("type") == "tool_use"]


def _unanswered(ids: list[str], index: int) -> RefusedError:
    return _refused(
        f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: "
        f"{', '.join(ids)}. Each `tool_use` block must have a corresponding `tool_result` block in the next message."
    )


def _refused(message: str) -> RefusedError:
    return RefusedError(Problem(400, message))
