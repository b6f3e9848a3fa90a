"""The tools of a Messages request."""

from __future__ import annotations

import re
from typing import Any

import orjson

from penstock_simulator.ask import JsonObject, Problem, RefusedError, Tool
from penstock_simulator.wire.anthropic_turns import Breakpoints

_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,128}$")
_CHOICES = ("auto", "any", "tool", "none")


def read_tools(body: JsonObject, breakpoints: Breakpoints) -> tuple[Tool, ...]:
    """The function tools; RefusedError with Anthropic's words for a wrong one."""
    offered = body.get("tools")
    if offered is None:
        return ()
    if not isinstance(offered, list):
        raise _refused("tools: Input should be a valid list")
    tools = tuple(_tool(tool, f"tools.{index}", breakpoints) for index, tool in enumerate(offered))
    if len({tool.name for tool in tools}) < len(tools):
        raise _refused("tools: Tool names must be unique.")
    return tools


def forced_tool(body: JsonObject) -> str | None:
    """The tool that must be called: its name, `*` for any, empty where none may; None when it may be."""
    choice = body.get("tool_choice")
    if choice is None:
        return None
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind not in _CHOICES:
        raise _refused(f"tool_choice: Input tag '{kind}' found using 'type' does not match any of {_CHOICES}")
    if not body.get("tools"):
        raise _refused("tool_choice may only be specified while providing `tools`.")
    names = [tool["name"] for tool in body["tools"]]
    if kind == "tool" and choice.get("name") not in names:
        raise _refused(f"Tool '{choice.get('name')}' not found in provided tools")
    return {"any": "*", "tool": choice.get("name"), "none": ""}.get(kind)


def strict_schemas(body: JsonObject) -> list[tuple[str, JsonObject]]:
    """Where each strict tool's schema stands, and the schema; for tools that `read_tools` has let pass."""
    return [
        (f"tools.{index}.custom.input_schema", tool["input_schema"])
        for index, tool in enumerate(body.get("tools") or [])
        if tool.get("strict")
    ]


def _tool(tool: Any, where: str, breakpoints: Breakpoints) -> Tool:
    if not isinstance(tool, dict) or tool.get("type", "custom") != "custom":
        raise _refused(f"{where}: Only tools of the client are simulated here")
    name, schema = tool.get("name"), tool.get("input_schema")
    if not isinstance(name, str):
        raise _refused(f"{where}.custom.name: Field required")
    if not _NAME.match(name):
        raise _refused(f"{where}.custom.name: String should match pattern '{_NAME.pattern}'")
    if not isinstance(schema, dict):
        raise _refused(f"{where}.custom.input_schema: Field required")
    if schema.get("type") != "object":
        raise _refused(f"{where}.custom.input_schema.type: Input should be 'object'")
    ttl = breakpoints.of(tool, f"{where}.custom")
    shown = {key: item for key, item in tool.items() if key != "cache_control"}
    return Tool(name, orjson.dumps(shown).decode(), schema, ttl)


def _refused(message: str) -> RefusedError:
    return RefusedError(Problem(400, message))
