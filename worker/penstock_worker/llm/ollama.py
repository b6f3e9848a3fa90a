"""Ollama's native chat: one JSON document a line, no key, and a window that must be asked for.

Ollama cuts a prompt that does not fit its window, silently, and reports the count after the cut. So the window is
always sent, servers that know how are told not to cut, and a count far below what the text must have is an error.

Options of a target of this kind:

====================== ===== =====================================================================================
``num_ctx``             8192  the window in tokens; a change makes the server load the model anew
``think``               none  true or false: whether a model that can think shall
``schema_in_prompt``    true  tell the model the schema as well, which the grammar alone does not
``options``             {}    further model options; ours win
====================== ===== =====================================================================================
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from penstock_schemas.results import Usage
from penstock_worker.llm.base import WireFamily, below, choose_schema, instructions, role_messages, schema_in_words
from penstock_worker.llm.classify import Clue, error_of, of_response, words
from penstock_worker.llm.dialects import GRAMMAR
from penstock_worker.llm.errors import (
    BadResponseError,
    CallError,
    ContextTooLongError,
    InputTruncatedError,
    StreamBrokenError,
)
from penstock_worker.llm.family import AnswerStream, Prepared, Reply
from penstock_worker.llm.ndjson import NdjsonDecoder
from penstock_worker.llm.port import CallRequest, SchemaMode, StopReason, Target
from penstock_worker.llm.sse import ServerEvent
from penstock_worker.llm.streaming import Accumulator, EventStream
from penstock_worker.llm.strict_schema import Lowered, lower_schema
from penstock_worker.llm.wire import document, mapping, sound, text_of
from penstock_worker.money.usage import Bounds, ollama_usage, token_count

NUM_CTX = 8192
MOST_CHARS_PER_TOKEN = 7
"""More characters than this a token has in no text of some length, runs of one character apart."""

_LEAST_CHARS = 2048
"""Below this the estimate says nothing."""

_RUN = re.compile(r"(.)\1{3,}", re.DOTALL)
_COUNTS = (
    "prompt_eval_count",
    "eval_count",
    "total_duration",
    "load_duration",
    "prompt_eval_duration",
    "eval_duration",
)
_STOP_REASONS = {"stop": StopReason.COMPLETE, "length": StopReason.LENGTH}


class OllamaChat(WireFamily):
    """The family ``ollama``."""

    options = MappingProxyType(
        {"num_ctx": (int, ()), "think": (bool, ()), "schema_in_prompt": (bool, ()), "options": (Mapping, ())}
    )

    def prepare(self, target: Target, request: CallRequest) -> Prepared:
        """Make the body. Raises ContextTooLongError for an input that surely does not fit the window."""
        mode, lowered = choose_schema(target, request, lambda schema: lower_schema(schema, GRAMMAR))
        if least_tokens(request) > _num_ctx(target):
            raise ContextTooLongError(sent=False, detail=f"num_ctx {_num_ctx(target)}")
        return Prepared(below_api(target), _body(target, request, mode, lowered), mode, lowered.changes)

    def read_answer(self, body: bytes) -> Reply:
        """Read a whole body. Raises CallError for an error and for an answer that is not done."""
        answer = _read_line(document(body))
        if not answer.get("done"):
            raise StreamBrokenError(detail="not done")
        return _reply(answer, sound(_content(answer)))

    def open_stream(self, target: Target) -> AnswerStream:
        """Begin to read a streamed answer."""
        return EventStream(NdjsonDecoder(), LineAccumulator(max_text_bytes=target.limits.max_body_bytes))

    def read_error(self, status: int, body: bytes) -> CallError:
        """Classify a response whose status is not 200."""
        return of_response(status, body, lambda top, code: _error(top.get("error"), code))

    def read_usage(self, raw: Mapping[str, Any] | None, known: Bounds) -> tuple[Usage, int | None]:
        """Input and output; there is no cost."""
        return ollama_usage(raw, known), None

    def examine(self, target: Target, request: CallRequest, reply: Reply) -> None:
        """Raise InputTruncatedError when fewer tokens were read than the text must have, or as many as fit."""
        count = token_count(mapping(reply.raw_usage), "prompt_eval_count")
        if count is None:
            return  # left out when the whole prompt was in the server's cache
        least = least_tokens(request)
        if count < least or (count >= _num_ctx(target) and least > 0):
            raise InputTruncatedError(detail=f"read {count} tokens of at least {least}, num_ctx {_num_ctx(target)}")

    def _fixed_headers(self, target: Target) -> dict[str, str]:
        return {"accept": "application/x-ndjson, application/json"}

    def _key_header(self, target: Target, key: str) -> dict[str, str]:
        return {"authorization": f"Bearer {key}"}


class LineAccumulator(Accumulator):
    """Takes one line after the other."""

    def __init__(self, *, max_text_bytes: int) -> None:
        super().__init__(max_text_bytes=max_text_bytes)
        self._last: Mapping[str, Any] = {}
        self._called = False

    def may_end(self, event: ServerEvent) -> bool:
        """The last line needs no line end."""
        return True

    def _take(self, name: str, document: dict[str, Any]) -> str | None:
        line = _read_line(document)
        message = mapping(line.get("message"))
        text = _content(line)
        if text:
            self._add(text)
        self._called = self._called or bool(message.get("tool_calls"))
        if line.get("done"):
            self._last, self.done = line, True
            self.raw_usage = _usage(line)
        return text or ("" if message.get("thinking") or message.get("tool_calls") else None)

    def _reply(self) -> Reply:
        return _reply(self._last, "".join(self._parts), called=self._called)


def least_tokens(request: CallRequest) -> int:
    """A lower bound of the input's tokens; 0 for a text so short that nothing can be said."""
    parts = [request.system, request.user, *(turn.text for turn in request.turns)]
    chars = sum(len(_RUN.sub(r"\1", part)) for part in parts)
    return chars // MOST_CHARS_PER_TOKEN if chars >= _LEAST_CHARS else 0


def below_api(target: Target) -> str:
    """The path below a base URL that may end in ``/api``."""
    return "/chat" if target.base_url.rstrip("/").endswith("/api") else below(target, "/api", "/chat")


def _num_ctx(target: Target) -> int:
    return int(target.options.get("num_ctx", NUM_CTX))


def _body(target: Target, request: CallRequest, mode: SchemaMode | None, lowered: Lowered) -> dict[str, Any]:
    system = _system(target, request, mode)
    first = [{"role": "system", "content": system}] if system else []
    body: dict[str, Any] = {
        **target.options.get("body", {}),
        "model": target.model,
        "messages": first + role_messages(request),
        "stream": request.stream,
        "options": {**target.options.get("options", {}), **_model_options(target, request)},
        "truncate": False,
        "shift": False,
    }
    if mode in (SchemaMode.JSON_SCHEMA, SchemaMode.JSON_OBJECT):
        body["format"] = lowered.schema if mode is SchemaMode.JSON_SCHEMA else "json"
    if "think" in target.options:
        body["think"] = target.options["think"]
    return body


def _system(target: Target, request: CallRequest, mode: SchemaMode | None) -> str:
    if mode is SchemaMode.JSON_SCHEMA and target.options.get("schema_in_prompt", True):
        return "\n\n".join(filter(None, (request.system, schema_in_words(request))))
    return instructions(request, mode)


def _model_options(target: Target, request: CallRequest) -> dict[str, Any]:
    fixed = {"num_ctx": _num_ctx(target), "num_predict": request.max_output_tokens}
    chosen = {"temperature": request.temperature, "seed": request.seed}
    return fixed | {name: value for name, value in chosen.items() if value is not None}


def _read_line(line: Mapping[str, Any]) -> Mapping[str, Any]:
    if line.get("error"):
        raise _error(line["error"], None)
    if line.get("done") and "message" not in line:
        raise BadResponseError(detail="done, and no message")
    return line


def _content(line: Mapping[str, Any]) -> str:
    text = mapping(line.get("message")).get("content")
    return text if isinstance(text, str) else ""


def _usage(line: Mapping[str, Any]) -> dict[str, Any]:
    return {name: line[name] for name in _COUNTS if name in line}


def _reply(last: Mapping[str, Any], text: str, *, called: bool = False) -> Reply:
    called = called or bool(mapping(last.get("message")).get("tool_calls"))
    reason = last.get("done_reason")
    stop = _STOP_REASONS.get(reason, StopReason.UNKNOWN) if isinstance(reason, str) else StopReason.UNKNOWN
    return Reply(
        text=text,
        stop=StopReason.TOOL_CALLS if called and stop is StopReason.COMPLETE else stop,
        model=text_of(last.get("model")),
        raw_usage=_usage(last),
    )


def _error(error: object, status: int | None) -> CallError:
    return error_of(Clue((), words(mapping(error).get("message", error)), status, words_decide=True))
