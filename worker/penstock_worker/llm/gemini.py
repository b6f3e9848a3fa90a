"""Gemini's ``generateContent``, of the Gemini API and, with a bearer token, of Vertex AI.

Options of a target of this kind:

==================== ================== ================================================================
``auth``              ``x-goog-api-key`` or ``bearer``
``thinking_budget``   the model's own    tokens for thoughts; they count toward the output cap
==================== ================== ================================================================

The base URL is ``https://generativelanguage.googleapis.com/v1beta``, or up to and with ``/publishers/google``.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from penstock_schemas.results import Usage
from penstock_worker.llm.base import WireFamily, below, choose_schema, instructions, messages
from penstock_worker.llm.dialects import GEMINI
from penstock_worker.llm.errors import CallError
from penstock_worker.llm.family import AnswerStream, Prepared, Reply
from penstock_worker.llm.gemini_reading import CandidateAccumulator, classify, classify_object, read_document
from penstock_worker.llm.port import CallRequest, SchemaMode, Target
from penstock_worker.llm.sse import SseDecoder
from penstock_worker.llm.streaming import EventStream
from penstock_worker.llm.strict_schema import Lowered, lower_schema
from penstock_worker.llm.wire import document
from penstock_worker.money.usage import Bounds, gemini_usage


class Gemini(WireFamily):
    """The family ``gemini``."""

    options = MappingProxyType({"auth": (str, ("x-goog-api-key", "bearer")), "thinking_budget": (int, ())})

    def prepare(self, target: Target, request: CallRequest) -> Prepared:
        """Make the path, which has the model and whether to stream, and the body."""
        mode, lowered = choose_schema(target, request, lambda schema: lower_schema(schema, GEMINI))
        return Prepared(_path(target, request), _body(target, request, mode, lowered), mode, lowered.changes)

    def read_answer(self, body: bytes) -> Reply:
        """Read a whole body. Raises CallError for an error object and for what is not an answer."""
        top = document(body)
        if top.get("error"):
            raise classify_object(top["error"])
        return read_document(top)

    def open_stream(self, target: Target) -> AnswerStream:
        """Begin to read a streamed answer."""
        return EventStream(SseDecoder(), CandidateAccumulator(max_text_bytes=target.limits.max_body_bytes))

    def read_error(self, status: int, body: bytes) -> CallError:
        """Classify a response whose status is not 200; the wait stands in its body."""
        return classify(status, body)

    def read_usage(self, raw: Mapping[str, Any] | None, known: Bounds) -> tuple[Usage, int | None]:
        """Disjoint buckets; the provider names no cost."""
        return gemini_usage(raw, known), None

    def _key_header(self, target: Target, key: str) -> dict[str, str]:
        bearer = target.options.get("auth") == "bearer"
        return {"authorization": f"Bearer {key}"} if bearer else {"x-goog-api-key": key}


def _path(target: Target, request: CallRequest) -> str:
    model = quote(target.model, safe="/")
    place = model if "/" in model else f"models/{model}"
    verb = "streamGenerateContent?alt=sse" if request.stream else "generateContent"
    return below(target, "/v1beta", f"/{place}:{verb}")


def _body(target: Target, request: CallRequest, mode: SchemaMode | None, lowered: Lowered) -> dict[str, Any]:
    extra = target.options.get("body", {})
    turns = messages(request, assistant="model")
    body = {
        **extra,
        "contents": [{"role": role, "parts": [{"text": text}]} for role, text in turns],
        "generationConfig": {**extra.get("generationConfig", {}), **_config(target, request, mode, lowered)},
    }
    system = instructions(request, mode)
    return {**body, "systemInstruction": {"parts": [{"text": system}]}} if system else body


def _config(target: Target, request: CallRequest, mode: SchemaMode | None, lowered: Lowered) -> dict[str, Any]:
    config: dict[str, Any] = {"maxOutputTokens": request.max_output_tokens}
    if request.temperature is not None:
        config["temperature"] = request.temperature
    if request.seed is not None:
        config["seed"] = request.seed
    if mode in (SchemaMode.JSON_SCHEMA, SchemaMode.JSON_OBJECT):
        config["responseMimeType"] = "application/json"
    if mode is SchemaMode.JSON_SCHEMA:
        config["responseJsonSchema"] = lowered.schema
    if "thinking_budget" in target.options:
        config["thinkingConfig"] = {"thinkingBudget": target.options["thinking_budget"]}
    return config
