"""Anthropic Messages.

Options of a target of this kind:

====================== ============== =======================================================================
``version``             ``2023-06-01`` the header ``anthropic-version``
``auth``                ``x-api-key``  or ``bearer``
``cache_prefix_bytes``  16384          a shared beginning of at least so many bytes is marked for the cache, whose
                                       writes cost a quarter more and whose reads a tenth; 0 never marks
====================== ============== =======================================================================

A seed cannot be given in this format; the request's is left out. The temperature goes up to 1.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from penstock_schemas.results import Usage
from penstock_worker.llm import anthropic_tools
from penstock_worker.llm.anthropic_stream import MessageAccumulator
from penstock_worker.llm.anthropic_words import classify, classify_object, refusal_words, stop_reason
from penstock_worker.llm.base import WireFamily, below, choose_schema, instructions
from penstock_worker.llm.dialects import ANTHROPIC
from penstock_worker.llm.errors import BadResponseError, CallError
from penstock_worker.llm.family import AnswerStream, Prepared, Reply
from penstock_worker.llm.port import CallRequest, SchemaMode, Target
from penstock_worker.llm.sse import SseDecoder
from penstock_worker.llm.streaming import EventStream
from penstock_worker.llm.strict_schema import Lowered, lower_schema
from penstock_worker.llm.wire import document, mapping, objects, sound, text_of
from penstock_worker.money.usage import Bounds, anthropic_usage

VERSION = "2023-06-01"
CACHE_PREFIX_BYTES = 16_384
"""About 4,000 tokens: the least that every model's prompt cache takes."""


class AnthropicMessages(WireFamily):
    """The family ``anthropic``."""

    options = MappingProxyType(
        {"version": (str, ()), "auth": (str, ("x-api-key", "bearer")), "cache_prefix_bytes": (int, ())}
    )
    takes_tools = True

    def prepare(self, target: Target, request: CallRequest) -> Prepared:
        """Make the body; there is no mode between a schema and the prompt."""
        mode, lowered = choose_schema(
            target, request, lambda schema: lower_schema(schema, ANTHROPIC), otherwise=SchemaMode.PROMPT
        )
        path = below(target, "/v1", "/messages")
        return Prepared(path, _body(target, request, mode, lowered), mode, lowered.changes)

    def read_answer(self, body: bytes) -> Reply:
        """Read a whole message. Raises CallError for an error object and for what is not a message."""
        top = document(body)
        if top.get("type") == "error" or top.get("error"):
            raise classify_object(top.get("error"))
        if not isinstance(top.get("content"), list):
            raise BadResponseError(detail="no content")
        return _reply(top)

    def open_stream(self, target: Target) -> AnswerStream:
        """Begin to read a streamed message."""
        return EventStream(SseDecoder(), MessageAccumulator(max_text_bytes=target.limits.max_body_bytes))

    def read_error(self, status: int, body: bytes) -> CallError:
        """Classify a response whose status is not 200."""
        return classify(status, body)

    def read_usage(self, raw: Mapping[str, Any] | None, known: Bounds) -> tuple[Usage, int | None]:
        """Disjoint buckets; the provider names no cost."""
        return anthropic_usage(raw, known), None

    def _fixed_headers(self, target: Target) -> dict[str, str]:
        return {"anthropic-version": target.options.get("version", VERSION)}

    def _key_header(self, target: Target, key: str) -> dict[str, str]:
        bearer = target.options.get("auth") == "bearer"
        return {"authorization": f"Bearer {key}"} if bearer else {"x-api-key": key}


def _body(target: Target, request: CallRequest, mode: SchemaMode | None, lowered: Lowered) -> dict[str, Any]:
    body: dict[str, Any] = {
        **target.options.get("body", {}),
        "model": target.model,
        "max_tokens": request.max_output_tokens,
    }
    system = instructions(request, mode)
    if system:
        body["system"] = _cached(system) if _is_worth_caching(target, system) else system
    body["messages"] = [
        {"role": "user", "content": _user(target, request, system)},
        *anthropic_tools.messages(request.turns),
    ]
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if mode is SchemaMode.JSON_SCHEMA:
        shape = {"type": "json_schema", "schema": lowered.schema}
        body["output_config"] = {**body.get("output_config", {}), "format": shape}
    body |= anthropic_tools.offer(request)
    return {**body, "stream": True} if request.stream else body


def _user(target: Target, request: CallRequest, system: str) -> str | list[dict[str, Any]]:
    """The user part; where its beginning is shared and long enough, with a mark behind that."""
    shared, own = request.user[: request.prefix_chars], request.user[request.prefix_chars :]
    if not shared or not _is_worth_caching(target, system + shared):
        return request.user
    return [*_cached(shared), {"type": "text", "text": own}]


def _is_worth_caching(target: Target, text: str) -> bool:
    least = target.options.get("cache_prefix_bytes", CACHE_PREFIX_BYTES)
    return bool(target.prompt_cache and least and len(text.encode("utf-8", "replace")) >= least)


def _cached(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}]


def _reply(top: Mapping[str, Any]) -> Reply:
    usage = top.get("usage")
    parts = (part.get("text") for part in objects(top["content"]) if part.get("type") == "text")
    return Reply(
        text=sound("".join(text for text in parts if isinstance(text, str))),
        stop=stop_reason(top.get("stop_reason")),
        refusal=refusal_words(top),
        response_id=text_of(top.get("id")),
        model=text_of(top.get("model")),
        service_tier=text_of(mapping(usage).get("service_tier")),
        raw_usage=usage if isinstance(usage, dict) else None,
        tool_calls=anthropic_tools.calls(top["content"]),
        carry=anthropic_tools.carried(top["content"]),
    )
