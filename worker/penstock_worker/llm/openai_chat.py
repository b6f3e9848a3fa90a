"""OpenAI Chat Completions, and all that speaks it: vLLM, llama.cpp, LiteLLM, OpenRouter, Groq, xAI and others.

Options of a target of this kind:

=================== ========================= =============================================================
``max_tokens_field`` by the host               ``max_completion_tokens`` at OpenAI's and Azure's own hosts, elsewhere
                                               ``max_tokens``: a server that does not know the newer name leaves it
                                               out without a word, and the answer has no cap
``system_role``      ``system``                or ``developer``
``strict_subset``    true                      false: the server takes any schema (vLLM, llama.cpp)
``stream_usage``     true                      false: the server refuses ``stream_options``
``done_marker``      true                      false: the server ends a stream without ``data: [DONE]``
=================== ========================= =============================================================
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from penstock_schemas.results import Usage
from penstock_worker.llm.base import WireFamily, as_it_is, choose_schema, instructions
from penstock_worker.llm.errors import BadResponseError, CallError
from penstock_worker.llm.family import Prepared, Reply
from penstock_worker.llm.openai_errors import classify, classify_object
from penstock_worker.llm.openai_stream import ChatStream
from penstock_worker.llm.openai_tools import chat_calls, chat_tools, chat_turns
from penstock_worker.llm.openai_words import stop_reason
from penstock_worker.llm.port import CallRequest, SchemaMode, StopReason, Target
from penstock_worker.llm.prefix import cache_key_field
from penstock_worker.llm.strict_schema import Lowered, lower_schema
from penstock_worker.llm.wire import document, mapping, objects, sound, text_of
from penstock_worker.money.usage import Bounds, openai_usage, reported_cost_nanousd


class OpenAIChat(WireFamily):
    """The family ``openai``."""

    options = MappingProxyType(
        {
            "max_tokens_field": (str, ("max_completion_tokens", "max_tokens")),
            "system_role": (str, ("system", "developer")),
            "strict_subset": (bool, ()),
            "stream_usage": (bool, ()),
            "done_marker": (bool, ()),
            "prompt_cache_key": (bool, ()),
        }
    )
    takes_tools = True

    def prepare(self, target: Target, request: CallRequest) -> Prepared:
        """Make the body; the schema mode becomes weaker where the strict subset cannot express the schema."""
        lower = lower_schema if target.options.get("strict_subset", True) else as_it_is
        mode, lowered = choose_schema(target, request, lower)
        body = build_body(target, request, mode, lowered)
        return Prepared("/chat/completions", body, mode, lowered.changes)

    def _key_header(self, target: Target, key: str) -> dict[str, str]:
        return {"authorization": f"Bearer {key}"}

    def read_answer(self, body: bytes) -> Reply:
        """Read a whole body. Raises CallError for an error object, for no choices, for what is not JSON."""
        return parse_answer(body)

    def open_stream(self, target: Target) -> ChatStream:
        """Begin to read a streamed answer."""
        return ChatStream(
            max_text_bytes=target.limits.max_body_bytes,
            needs_done=target.options.get("done_marker", True),
        )

    def read_error(self, status: int, body: bytes) -> CallError:
        """Classify a response whose status is not 200."""
        return classify(status, body)

    def read_usage(self, raw: Mapping[str, Any] | None, known: Bounds) -> tuple[Usage, int | None]:
        """Disjoint buckets, and the provider's own cost where it names one."""
        return openai_usage(raw, known), reported_cost_nanousd(raw)


def build_body(target: Target, request: CallRequest, mode: SchemaMode | None, lowered: Lowered) -> dict[str, Any]:
    """Make the request's body; *mode* and *lowered* are as :func:`choose_schema` decided."""
    body: dict[str, Any] = {
        **target.options.get("body", {}),
        "model": target.model,
        "messages": _messages(target, request, mode),
        _cap_field(target): request.max_output_tokens,
    }
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.seed is not None:
        body["seed"] = request.seed
    if mode is SchemaMode.JSON_SCHEMA:
        shape = {"name": request.schema_name, "schema": lowered.schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": shape}
    elif mode is SchemaMode.JSON_OBJECT:
        body["response_format"] = {"type": "json_object"}
    return body | chat_tools(target, request) | cache_key_field(target, request) | _stream_fields(target, request)


_NEWER_HOSTS = (".openai.com", ".openai.azure.com")


def _cap_field(target: Target) -> str:
    """What the output's cap is called; reasoning models of OpenAI refuse the older name, others ignore the newer."""
    host = urlsplit(target.base_url).hostname or ""
    newer = target.kind == "azure" or host.endswith(_NEWER_HOSTS)
    return str(target.options.get("max_tokens_field", "max_completion_tokens" if newer else "max_tokens"))


def _stream_fields(target: Target, request: CallRequest) -> dict[str, Any]:
    if not request.stream:
        return {}
    if not target.options.get("stream_usage", True):
        return {"stream": True}
    return {"stream": True, "stream_options": {"include_usage": True}}


def _messages(target: Target, request: CallRequest, mode: SchemaMode | None) -> list[dict[str, Any]]:
    system = instructions(request, mode)
    first = [{"role": target.options.get("system_role", "system"), "content": system}] if system else []
    return [*first, {"role": "user", "content": request.user}, *chat_turns(request.turns)]


def parse_answer(body: bytes) -> Reply:
    """Read a whole Chat Completions body. Raises CallError."""
    top = document(body)
    if top.get("error"):
        raise classify_object(top["error"])
    choice = _first_choice(top.get("choices"))
    if choice is None:
        raise BadResponseError(detail="no choices")
    if choice.get("error"):
        raise classify_object(choice["error"])
    return _reply(top, choice, mapping(choice.get("message")))


def _reply(top: Mapping[str, Any], choice: Mapping[str, Any], message: Mapping[str, Any]) -> Reply:
    text, refusal = sound(_text(message.get("content"))), text_of(message.get("refusal"), 256)
    usage = top.get("usage")
    return Reply(
        text=text,
        stop=StopReason.REFUSAL if refusal else stop_reason(choice.get("finish_reason")),
        refusal=refusal,
        response_id=text_of(top.get("id")),
        model=text_of(top.get("model")),
        service_tier=text_of(top.get("service_tier")),
        raw_usage=usage if isinstance(usage, dict) else None,
        tool_calls=chat_calls(message),
    )


def _first_choice(choices: object) -> Mapping[str, Any] | None:
    return next((row for row in objects(choices) if row.get("index", 0) == 0), None)


def _text(content: object) -> str:
    """The visible text: a string, or the text parts of a list (Mistral). Thinking parts are not answer."""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in objects(content) if part.get("type") == "text")
