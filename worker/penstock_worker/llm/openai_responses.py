"""OpenAI Responses: one response object, whole or at the end of a stream of named events.

Options of a target of this kind:

================ ======== ==========================================================================
``store``         false    true: the provider keeps the response, and it can be fetched by its id
``strict_subset`` true     false: the server takes any schema
``background``    false    true: the provider works by itself, under an id by which a worker that takes
                           over finds the work again; needs the answer stored, and is not streamed
================ ======== ==========================================================================

A seed cannot be given in this format; the request's is left out.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from penstock_schemas.results import Usage
from penstock_worker.llm.base import WireFamily, as_it_is, choose_schema, instructions, schema_in_words
from penstock_worker.llm.errors import CallError
from penstock_worker.llm.family import AnswerStream, Prepared, Reply
from penstock_worker.llm.openai_errors import classify, classify_object
from penstock_worker.llm.openai_responses_stream import ResponseAccumulator
from penstock_worker.llm.openai_tools import responses_items, responses_tools
from penstock_worker.llm.port import CallRequest, SchemaMode, Target
from penstock_worker.llm.prefix import cache_key_field
from penstock_worker.llm.response_object import read_response
from penstock_worker.llm.sse import MAX_EVENT_BYTES, SseDecoder
from penstock_worker.llm.streaming import EventStream
from penstock_worker.llm.strict_schema import Lowered, lower_schema
from penstock_worker.llm.wire import document
from penstock_worker.money.usage import Bounds, reported_cost_nanousd, responses_usage


class OpenAIResponses(WireFamily):
    """The family ``openai-responses``."""

    options = MappingProxyType(
        {"store": (bool, ()), "strict_subset": (bool, ()), "background": (bool, ()), "prompt_cache_key": (bool, ())}
    )
    takes_tools = True

    def check_options(self, target: Target) -> None:
        """Raise ValueError naming the option that is unknown, has a wrong value, or contradicts another."""
        super().check_options(target)
        if target.options.get("background") and target.options.get("store") is False:
            raise ValueError("options.store: must not be false with background = true, which needs the answer stored")

    def prepare(self, target: Target, request: CallRequest) -> Prepared:
        """Make the body; the schema mode becomes weaker where the strict subset cannot express the schema."""
        lower = lower_schema if target.options.get("strict_subset", True) else as_it_is
        mode, lowered = choose_schema(target, request, lower)
        return Prepared("/responses", _body(target, request, mode, lowered), mode, lowered.changes)

    def read_answer(self, body: bytes) -> Reply:
        """Read a whole body. Raises CallError, also for a response that failed or is not done."""
        top = document(body)
        if "status" not in top and top.get("error"):
            raise classify_object(top["error"])
        return read_response(top)

    def open_stream(self, target: Target) -> AnswerStream:
        """Begin to read a streamed answer, of which the last event repeats the whole."""
        max_bytes = target.limits.max_body_bytes
        return EventStream(SseDecoder(MAX_EVENT_BYTES + 2 * max_bytes), ResponseAccumulator(max_text_bytes=max_bytes))

    def read_error(self, status: int, body: bytes) -> CallError:
        """Classify a response whose status is not 200."""
        return classify(status, body)

    def read_usage(self, raw: Mapping[str, Any] | None, known: Bounds) -> tuple[Usage, int | None]:
        """Disjoint buckets, and the provider's own cost where it names one."""
        return responses_usage(raw, known), reported_cost_nanousd(raw)

    def _key_header(self, target: Target, key: str) -> dict[str, str]:
        return {"authorization": f"Bearer {key}"}


def _body(target: Target, request: CallRequest, mode: SchemaMode | None, lowered: Lowered) -> dict[str, Any]:
    body: dict[str, Any] = {
        **target.options.get("body", {}),
        "model": target.model,
        "input": _input(request),
        "max_output_tokens": request.max_output_tokens,
        "store": target.options.get("store", False),
    }
    if target.options.get("background"):
        body |= {"background": True, "store": True}
    system = instructions(request, mode)
    if mode is SchemaMode.JSON_OBJECT:  # the word JSON must stand in the input, not in the instructions
        system = request.system
        body["input"] = [{"role": "developer", "content": schema_in_words(request)}, *body["input"]]
    if system:
        body["instructions"] = system
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if mode in (SchemaMode.JSON_SCHEMA, SchemaMode.JSON_OBJECT):
        body["text"] = {**body.get("text", {}), "format": _format(request, mode, lowered)}
    body |= responses_tools(target, request) | cache_key_field(target, request)
    return {**body, "stream": True} if request.stream else body


def _input(request: CallRequest) -> list[dict[str, Any]]:
    said = (item for turn in request.turns for item in responses_items(turn))
    return [{"role": "user", "content": request.user}, *said]


def _format(request: CallRequest, mode: SchemaMode | None, lowered: Lowered) -> dict[str, Any]:
    if mode is SchemaMode.JSON_OBJECT:
        return {"type": "json_object"}
    return {"type": "json_schema", "name": request.schema_name, "schema": lowered.schema, "strict": True}
