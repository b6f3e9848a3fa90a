"""Fields that Chat Completions and Responses have in common, read as strictly as OpenAI reads them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import orjson

from penstock_simulator.ask import JsonObject, Problem, RefusedError, Tool
from penstock_simulator.wire.openai_schema import check_strict

_EFFORT_TOKENS = {"none": 0, "minimal": 64, "low": 128, "medium": 320, "high": 832, "xhigh": 1600}
_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")
_REASONING_MODEL = re.compile(r"(?:^|[-/])(?:o[134]|gpt-[5-9])(?:[-.]|$)|reason", re.IGNORECASE)
_MOST_TOOLS = 128
_BAD_JSON = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP "
    "library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)"
)


@lru_cache(maxsize=1024)
def is_reasoning(model: str) -> bool:
    """Whether *model* thinks before it writes: the o-series, gpt-5 and later, and names with "reason"."""
    return _REASONING_MODEL.search(model) is not None


def json_object(data: bytes) -> JsonObject:
    """The request's body; 400 if it is not a JSON object."""
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise refused(_BAD_JSON, None) from None
    if not isinstance(body, dict):
        raise refused(_BAD_JSON, None)
    return body


def model_name(body: JsonObject) -> str:
    """The model that is asked for."""
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise refused("you must provide a model parameter", None)
    return model


def check_sampling(body: JsonObject, model: str) -> None:
    """Temperature, `top_p` and the number of choices."""
    for key, low, high in (("temperature", 0, 2), ("top_p", 0, 1)):
        value = body.get(key)
        if value is None:
            continue
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise wrong_type(key, "a decimal", value)
        if not low <= value <= high:
            raise refused(f"Invalid '{key}': expected a value from {low} to {high}, but got {value}.", key)
        if is_reasoning(model) and value != 1:
            message = f"Unsupported value: '{key}' does not support {value} with this model. Only 1 is supported."
            raise refused(message, key, "unsupported_value")
    choices = body.get("n")
    if choices not in (None, 1):
        raise refused("Only one choice is simulated here.", "n", "invalid_value")


def refused(message: str, param: str | None, code: str | None = None) -> RefusedError:
    """400 with *message*."""
    return RefusedError(Problem(400, message, param=param, code=code))


def wrong_type(param: str, expected: str, value: Any) -> RefusedError:
    """400 `invalid_type`."""
    names = {bool: "a boolean", int: "an integer", float: "a decimal", str: "a string", list: "an array"}
    got = names.get(type(value), "null" if value is None else "an object")
    message = f"Invalid type for '{param}': expected {expected}, but got {got} instead."
    return refused(message, param, "invalid_type")


def flag(body: JsonObject, name: str) -> bool | None:
    """A boolean field; None where it is missing."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise wrong_type(name, "a boolean", value)
    return value


def positive(body: JsonObject, name: str, least: int = 1) -> int | None:
    """A whole number of at least *least*; None where it is missing."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong_type(name, "an integer", value)
    if value < least:
        message = (
            f"Invalid '{name}': integer below minimum value. Expected a value >= {least}, but got {value} instead."
        )
        raise refused(message, name, "integer_below_min_value")
    return value


def reasoning_tokens(effort: Any, model: str, param: str) -> int:
    """How many tokens *model* thinks at *effort*; 400 for an effort of a model that does not think."""
    if effort is None:
        return _EFFORT_TOKENS["medium"] if is_reasoning(model) else 0
    if not is_reasoning(model):
        raise refused(f"Unrecognized request argument supplied: {param}", None)
    if effort not in _EFFORT_TOKENS:
        raise refused(f"Invalid value: {effort!r}.", param, "invalid_value")
    return _EFFORT_TOKENS[effort]


def named_schema(wanted: JsonObject, where: str, about: str, code: str | None = None) -> JsonObject:
    """The schema in `{name, schema, strict}` at *where*; one that is strict must keep to the strict subset.

    Otherwise 400 about the parameter *about* with *code*.
    """
    name, schema = wanted.get("name"), wanted.get("schema")
    if not isinstance(name, str):
        raise refused(f"Missing required parameter: '{where}.name'.", f"{where}.name", "missing_required_parameter")
    if not _NAME.match(name):
        message = f"Invalid '{where}.name': string does not match pattern. Expected '^[a-zA-Z0-9_-]+$'."
        raise refused(message, f"{where}.name", "invalid_value")
    if not isinstance(schema, dict):
        raise refused(f"Missing required parameter: '{where}.schema'.", f"{where}.schema", "missing_required_parameter")
    wrong = check_strict(schema) if wanted.get("strict") else None
    if wrong is not None:
        raise refused(f"Invalid schema for response_format '{name}': {wrong}", about, code)
    return schema


def tools(body: JsonObject, *, nested: bool) -> tuple[Tool, ...]:
    """The function tools; *nested*: each in a field `function`, as Chat Completions has them."""
    offered = body.get("tools")
    if offered is None:
        return ()
    if not isinstance(offered, list):
        raise wrong_type("tools", "an array of objects", offered)
    if len(offered) > _MOST_TOOLS:
        message = f"Invalid 'tools': array too long. Expected an array with maximum length {_MOST_TOOLS}."
        raise refused(message, "tools", "array_above_max_length")
    return tuple(_tool(tool, f"tools[{index}]", nested) for index, tool in enumerate(offered))


def _tool(tool: Any, where: str, nested: bool) -> Tool:
    if not isinstance(tool, dict) or tool.get("type") != "function":
        raise refused("Only function tools are simulated here.", f"{where}.type", "invalid_value")
    function = tool.get("function") if nested else tool
    where = f"{where}.function" if nested else where
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise refused(f"Missing required parameter: '{where}.name'.", f"{where}.name", "missing_required_parameter")
    name = function["name"]
    if not _NAME.match(name):
        message = f"Invalid '{where}.name': string does not match pattern. Expected '^[a-zA-Z0-9_-]+$'."
        raise refused(message, f"{where}.name", "invalid_value")
    schema = function.get("parameters")
    if schema is not None and not isinstance(schema, dict):
        raise wrong_type(f"{where}.parameters", "an object", schema)
    wrong = check_strict(schema or {}) if function.get("strict") else None
    if wrong is not None:
        raise refused(
            f"Invalid schema for function '{name}': {wrong}", f"{where}.parameters", "invalid_function_parameters"
        )
    return Tool(name, orjson.dumps(function).decode(), schema)


def forced_tool(body: JsonObject, *, nested: bool) -> str | None:
    """The tool that `tool_choice` demands: its name, `*` for any, empty where none may be called; None if one may."""
    choice = body.get("tool_choice")
    if choice in ("required", "none"):
        return "*" if choice == "required" else ""
    if not isinstance(choice, dict):
        return None
    function = choice.get("function") if nested else choice
    return str(function.get("name")) if isinstance(function, dict) and choice.get("type") == "function" else None
