"""Reading a generateContent request as Gemini's front end does: protobuf in JSON, so unknown names are errors.

Names may be in camel or snake case, as protobuf allows.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from penstock_simulator.ask import Ask, JsonObject, Message, Problem, RefusedError, Request, Tool
from penstock_simulator.wire import gemini_schema

PATH = re.compile(r"^/v1(?:beta)?/models/([^/:]+):(generateContent|streamGenerateContent)$")
_BODY_NAMES = "contents systemInstruction generationConfig safetySettings tools toolConfig cachedContent"
_BODY = frozenset(_BODY_NAMES.split())
_CONFIG_NAMES = """
stopSequences responseMimeType responseSchema responseJsonSchema responseModalities candidateCount maxOutputTokens
temperature topP topK seed presencePenalty frequencyPenalty responseLogprobs logprobs
enableEnhancedCivicAnswers speechConfig thinkingConfig imageConfig mediaResolution
"""
_CONFIG = frozenset(_CONFIG_NAMES.split())
_THINKS = re.compile(r"gemini-(?:2\.5|[3-9])|reason", re.IGNORECASE)
_THINKING_TOKENS = 256
_LEVELS = {"minimal": 32, "low": 96, "medium": 192, "high": 320}
_JSON = "application/json"


def read(request: Request) -> Ask:
    """The ask in *request*; RefusedError with INVALID_ARGUMENT for anything that Gemini would refuse."""
    found = PATH.match(request.path)
    assert found is not None  # nothing else is served
    body = _named(_json_object(request.body), _BODY, "")
    config = _named(body.get("generationConfig") or {}, _CONFIG, "generation_config")
    _check_config(config)
    schema = _schema(config)
    return Ask(
        wire="gemini",
        model=found[1],
        messages=(*_system(body), *_contents(body)),
        stream=found[2] == "streamGenerateContent",
        schema=schema,
        json_mode=config.get("responseMimeType") == _JSON,
        max_output_tokens=config.get("maxOutputTokens"),
        reasoning_tokens=_thinking(config, found[1]),
        tools=_tools(body),
        echo={"sse": "alt=sse" in request.query.split("&"), "thoughts": _wants_thoughts(config)},
    )


def invalid(message: str, violations: list[tuple[str, str]] | None = None) -> RefusedError:
    """400 INVALID_ARGUMENT, with the places that are wrong where the payload could not be read."""
    return RefusedError(Problem(400, message, "INVALID_ARGUMENT", facts={"violations": violations or []}))


def _json_object(data: bytes) -> JsonObject:
    try:
        body = orjson.loads(data or b"{}")
    except orjson.JSONDecodeError:
        raise invalid("Invalid JSON payload received. Parsing terminated before end of input.") from None
    if not isinstance(body, dict):
        raise invalid('Invalid JSON payload received. Unknown name "": Root element must be a message.')
    return body


def _named(given: Any, known: frozenset[str], place: str) -> JsonObject:
    """*given* with all names in camel case; 400 for names that are not *known*."""
    where = f" at '{place}'" if place else ""
    if not isinstance(given, dict):
        raise invalid(f"Invalid value{where}: a message was expected")
    camel = {_camel(name): item for name, item in given.items()}
    unknown = [name for name in given if _camel(name) not in known]
    if unknown:
        texts = [f'Invalid JSON payload received. Unknown name "{name}"{where}: Cannot find field.' for name in unknown]
        raise invalid("\n".join(texts), [(place, text) for text in texts])
    return camel


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _check_config(config: JsonObject) -> None:
    cap = config.get("maxOutputTokens")
    if cap is not None and (not isinstance(cap, int) or isinstance(cap, bool)):
        raise invalid(
            f"Invalid value at 'generation_config.max_output_tokens' (TYPE_INT32), {orjson.dumps(cap).decode()}"
        )
    if cap is not None and cap < 1:
        raise invalid(
            "* GenerateContentRequest.generation_config.max_output_tokens: max_output_tokens must be positive.\n"
        )
    temperature = config.get("temperature")
    if isinstance(temperature, int | float) and not 0 <= temperature <= 2:
        raise invalid(
            f"* GenerateContentRequest.generation_config.temperature: temperature must be in the range [0.0, 2.0], "
            f"got {temperature}.\n"
        )
    if config.get("candidateCount", 1) != 1:
        raise invalid("Multiple candidates is not enabled for this model")


def _schema(config: JsonObject) -> JsonObject | None:
    own, plain = config.get("responseSchema"), config.get("responseJsonSchema")
    if own is None and plain is None:
        return None
    if own is not None and plain is not None:
        raise invalid("Only one of response_schema and response_json_schema may be set.")
    if config.get("responseMimeType") != _JSON:
        raise invalid("Response schema is only supported with response_mime_type 'application/json'.")
    schema = _json_schema(plain) if own is None else _own_schema(own)
    if gemini_schema.has_too_many_states(schema):
        raise invalid(gemini_schema.TOO_MANY_STATES)
    return schema


def _own_schema(schema: Any) -> JsonObject:
    faults = list(gemini_schema.payload_faults(schema))
    if faults:
        raise invalid("\n".join(text for _, text in faults), faults)
    wrong = gemini_schema.rule_fault(schema)
    if wrong is not None:
        raise invalid(wrong)
    return gemini_schema.as_json_schema(schema)


def _json_schema(schema: Any) -> JsonObject:
    if not isinstance(schema, dict):
        raise invalid("Invalid value at 'generation_config.response_json_schema': a schema is an object")
    return schema


def _system(body: JsonObject) -> tuple[Message, ...]:
    system = body.get("systemInstruction")
    return () if system is None else (Message("system", _parts(system, "system_instruction")),)


def _contents(body: JsonObject) -> tuple[Message, ...]:
    contents = body.get("contents")
    if not isinstance(contents, list) or not contents:
        raise invalid("* GenerateContentRequest.contents: contents is not specified\n")
    return tuple(_content(content, f"contents[{index}]") for index, content in enumerate(contents))


def _content(content: Any, place: str) -> Message:
    if not isinstance(content, dict):
        raise invalid(f"Invalid value at '{place}'")
    role = content.get("role", "user")
    if role not in {"user", "model", "function"}:
        raise invalid("Please use a valid role: user, model.")
    ours = {"model": "assistant", "function": "tool", "user": "user"}
    return Message(ours[role], _parts(content, place))


def _parts(content: Any, place: str) -> str:
    parts = content.get("parts") if isinstance(content, dict) else None
    if isinstance(parts, dict):
        parts = [parts]
    if not isinstance(parts, list) or not parts:
        raise invalid(f"* GenerateContentRequest.{place}.parts: contents.parts must not be empty.\n")
    return "".join(_part(part, f"{place}.parts[{index}]") for index, part in enumerate(parts))


def _part(part: Any, place: str) -> str:
    match part:
        case {"text": str(text)}:
            return text
        case {"functionCall": dict()} | {"functionResponse": dict()}:
            return orjson.dumps(part).decode()
        case dict() if len(part) == 1:
            raise invalid(f"Only text and function parts are simulated here, not {next(iter(part))!r} at '{place}'.")
    raise invalid(
        f"* GenerateContentRequest.{place}.data: required oneof field 'data' must have one initialized field\n"
    )


def _thinking(config: JsonObject, model: str) -> int:
    thinking = config.get("thinkingConfig") or {}
    budget = thinking.get("thinkingBudget", thinking.get("thinking_budget"))
    level = thinking.get("thinkingLevel", thinking.get("thinking_level"))
    if _THINKS.search(model) is None:
        if thinking:
            raise invalid("Thinking is not enabled for this model")
        return 0
    if budget is not None and level is not None:
        raise invalid("You can only set only one of thinking budget and thinking level.")
    if level is not None:
        return _LEVELS.get(str(level).lower(), _THINKING_TOKENS)
    return _THINKING_TOKENS if budget is None or budget < 0 else min(int(budget), _THINKING_TOKENS)


def _wants_thoughts(config: JsonObject) -> bool:
    thinking = config.get("thinkingConfig") or {}
    return bool(thinking.get("includeThoughts", thinking.get("include_thoughts")))


def _tools(body: JsonObject) -> tuple[Tool, ...]:
    declared: list[JsonObject] = []
    for tool in body.get("tools") or []:
        declared += (tool.get("functionDeclarations") or tool.get("function_declarations") or []) if tool else []
    return tuple(
        Tool(str(function.get("name")), orjson.dumps(function).decode(), function.get("parameters"))
        for function in declared
    )
