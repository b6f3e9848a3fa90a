"""One call to a model, from request to answer; the only place where a family's parsers meet the network.

1. The family puts the request into its wire format; the key is read by reference.
2. One POST, over the pool of the target's endpoint, under the clocks of :class:`Watchdog`.
3. A status other than 200 is classified by the family; a 200 is read whole or as a stream, and can still fail.
4. Whatever happened becomes a value: an Answer, or a CallError that holds no request, no URL and no key.

Nothing is retried and nothing is logged here.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Final

import orjson

from penstock_worker.llm.anthropic import AnthropicMessages
from penstock_worker.llm.azure import AzureOpenAI
from penstock_worker.llm.background import Response, withdraw, work_out
from penstock_worker.llm.degenerate import LoopFinder
from penstock_worker.llm.endpoint import Progress, check_base_url
from penstock_worker.llm.errors import (
    AuthFailedError,
    CallDeadlineError,
    CallError,
    ConnectionLostError,
    DegenerateError,
    RequestRejectedError,
    StreamBrokenError,
)
from penstock_worker.llm.family import AnswerStream, Family, Prepared, Reply
from penstock_worker.llm.gemini import Gemini
from penstock_worker.llm.http import Connections, Exchange, PoolSettings, tls_context
from penstock_worker.llm.ollama import OllamaChat
from penstock_worker.llm.openai_chat import OpenAIChat
from penstock_worker.llm.openai_responses import OpenAIResponses
from penstock_worker.llm.port import Answer, CallRequest, KeptId, Target
from penstock_worker.llm.rate_limits import rate_limits
from penstock_worker.llm.refusal import refusal
from penstock_worker.llm.secrets import SecretReader, SecretUnavailableError
from penstock_worker.llm.watchdog import Watchdog
from penstock_worker.llm.wire import text_of
from penstock_worker.money.usage import bounds, with_seen_output

FAMILIES: Final[dict[str, Family]] = {
    "openai": OpenAIChat(),
    "openai-responses": OpenAIResponses(),
    "anthropic": AnthropicMessages(),
    "azure": AzureOpenAI(),
    "gemini": Gemini(),
    "ollama": OllamaChat(),
}
"""Kind of a target -> its wire format."""

MAX_ERROR_BODY_BYTES = 64 * 1024
STREAM_OVERHEAD = 16
"""A stream may have this many times ``max_body_bytes`` on the wire: each token comes in an envelope."""

LULL_PIECES, LONGEST_LULL_S = 5, 0.25
"""Of a stream that nobody asked for, so many pieces are looked at together, at the pace at which they come; but none
waits longer. The end of the answer waits for nothing."""

OnDelta = Callable[[str], None]
_REQUEST_IDS = ("x-request-id", "request-id", "apim-request-id")
_USER_AGENT = "penstock"


def family_of(target: Target) -> Family:
    """The wire format of *target*. Raises ValueError naming the kinds that are known."""
    try:
        return FAMILIES[target.kind]
    except KeyError:
        raise ValueError(f"kind: there is no {target.kind!r}; known: {', '.join(FAMILIES)}") from None


def check_target(target: Target) -> None:
    """Check what can be checked of a target before a call; meant for the start of a worker.

    Raises ValueError beginning with the name of the setting at fault: ``kind``, ``base_url``, ``options.…`` or
    ``ca_file``. Whether the key can be read is not looked at.
    """
    family_of(target).check_options(target)
    try:
        check_base_url(target.base_url, allow_private=target.allow_private)
    except ValueError as error:
        raise ValueError(f"base_url: {error}") from None
    try:
        tls_context(target.ca_file)
    except OSError:
        raise ValueError("ca_file: cannot be read, or is not a PEM file") from None


class _Call:
    """What is known of one call while it runs."""

    __slots__ = (
        "family",
        "input_bytes",
        "kept",
        "key",
        "loops",
        "on_delta",
        "progress",
        "request",
        "stream",
        "target",
        "watch",
    )

    def __init__(
        self,
        target: Target,
        request: CallRequest,
        deadline: float | None = None,
        on_delta: OnDelta | None = None,
        kept: KeptId | None = None,
    ) -> None:
        self.target = target
        self.kept = (kept or KeptId()) if target.options.get("background") else None
        self.request = request = replace(request, stream=False) if self.kept is not None else request
        self.on_delta = on_delta
        self.family = family_of(target)
        self.watch = Watchdog(target.limits, deadline, streaming=request.stream)
        self.progress = Progress()
        self.progress.connected = self.kept is not None and self.kept.id is not None
        self.stream: AnswerStream | None = None
        self.loops = LoopFinder() if request.stream and target.limits.stop_loops else None
        self.key: str | None = None
        self.input_bytes = 0


class HttpModelClient:
    """Calls targets over HTTP. One per event loop; made and closed in it."""

    def __init__(self, settings: PoolSettings | None = None, secrets: SecretReader | None = None) -> None:
        self._connections = Connections(settings)
        self._secrets = secrets or SecretReader()

    async def call(
        self,
        target: Target,
        request: CallRequest,
        *,
        deadline: float | None = None,
        on_delta: OnDelta | None = None,
        kept: KeptId | None = None,
    ) -> Answer:
        """Send *request* to *target* once; see :meth:`ModelClient.call`."""
        call = _Call(target, request, deadline, on_delta, kept)
        if deadline is not None and deadline <= time.monotonic() and not call.progress.connected:
            raise CallDeadlineError(sent=False)
        outcome = await self._guarded(call)
        if isinstance(outcome, CallError):
            raise outcome
        return outcome

    async def aclose(self) -> None:
        """Close all connections; a repeat does nothing."""
        await self._connections.aclose()

    async def withdraw(self, target: Target, kept_id: str) -> None:
        """Cancel what *target* works on in the background; see :meth:`ModelClient.withdraw`."""
        call = _Call(target, CallRequest(system="", user="", max_output_tokens=1), kept=KeptId(kept_id))
        path = call.family.prepare(target, call.request).path
        await withdraw(partial(self._sent, call), path, kept_id)

    async def _guarded(self, call: _Call) -> Answer | CallError:
        """Turn every end of a call but cancellation into a value, freed of the errors that led to it."""
        try:
            async with call.watch:
                return await self._run(call)
        except CallError as error:
            failure = error
        except TimeoutError:
            if call.watch.reason is None:
                raise
            failure = call.watch.reason(sent=call.progress.connected)
            if call.kept is not None and call.kept.id is not None:
                await self.withdraw(call.target, call.kept.id)
        if isinstance(failure, AuthFailedError) and call.target.api_key is not None:
            self._secrets.forget(call.target.api_key)
        return _bare(_with_stream(failure, call))

    async def _run(self, call: _Call) -> Answer:
        prepared, body = self._prepare(call)
        if call.kept is not None:
            look = await work_out(partial(self._sent, call), prepared.path, body, call.kept)
            call.watch.content()
            return _answer(call, prepared, _worked_out(call, look.body), look.response)
        exchange = await self._send(call, "POST", prepared.path, body)
        try:
            return _answer(call, prepared, await _read(call, exchange), exchange)
        except CallError as error:
            error.request_id = error.request_id or _request_id(exchange)
            if exchange.status == 200 and error.if_sent == "no":
                error.if_sent = "unknown"  # it may have worked before it failed
            raise
        finally:
            await exchange.aclose()

    async def _send(self, call: _Call, method: str, path: str, body: bytes) -> Exchange:
        headers = self._headers(call)
        endpoint = self._connections.endpoint(call.target)
        return await endpoint.send(method, path, headers, body, call.target.limits.connect_s, call.progress)

    async def _sent(self, call: _Call, method: str, path: str, body: bytes) -> tuple[bytes, Exchange]:
        """One request about work in the background, and the whole body of its 200."""
        exchange = await self._send(call, method, path, body)
        try:
            if exchange.status != 200:
                raise await _refused(call, exchange)
            return await _read_whole(exchange, call.target.limits.max_body_bytes), exchange
        except AuthFailedError:
            if call.target.api_key is not None:
                self._secrets.forget(call.target.api_key)
            raise
        finally:
            await exchange.aclose()

    def _prepare(self, call: _Call) -> tuple[Prepared, bytes]:
        if call.request.tools and not call.family.takes_tools:
            raise RequestRejectedError(sent=False, detail=f"{call.target.kind} has no tools here")
        prepared = call.family.prepare(call.target, call.request)
        try:
            body = orjson.dumps(prepared.body)
        except TypeError:
            raise RequestRejectedError(sent=False, detail="the prompt is not valid Unicode") from None
        call.input_bytes = len(body)
        return prepared, body

    def _headers(self, call: _Call) -> dict[str, str]:
        """All headers of the request. The key goes nowhere else."""
        if call.target.api_key is not None:
            try:
                call.key = self._secrets.read(call.target.api_key)
            except SecretUnavailableError as error:
                raise AuthFailedError(sent=False, detail=str(error)) from None
        headers = {
            "content-type": "application/json",
            "accept": "text/event-stream" if call.request.stream else "application/json",
            "accept-encoding": "identity",
            "user-agent": _USER_AGENT,
        }
        if call.request.attempt_id:
            headers["x-client-request-id"] = call.request.attempt_id
        return headers | call.family.headers(call.target, call.key)


async def _read(call: _Call, exchange: Exchange) -> Reply:
    if exchange.status != 200:
        raise await _refused(call, exchange)
    if call.request.stream and not _is_one_document(exchange):
        return await _read_stream(call, exchange)
    body = await _read_whole(exchange, call.target.limits.max_body_bytes, call.watch.content)
    return _told(call, call.family.read_answer(body))


def _worked_out(call: _Call, body: bytes) -> Reply:
    """What work in the background has come to. Raises CallError."""
    try:
        return _told(call, call.family.read_answer(body))
    except CallError as error:
        error.if_sent = "unknown" if error.if_sent == "no" else error.if_sent  # it worked before it failed
        raise


def _told(call: _Call, reply: Reply) -> Reply:
    """A whole answer, told as the one piece that it is."""
    if call.on_delta is not None and reply.text:
        call.on_delta(reply.text)
    return reply


def _is_one_document(exchange: Exchange) -> bool:
    """Whether the body is one JSON document, and not a stream of events or of lines."""
    kind = exchange.headers.get("content-type", "").partition(";")[0]
    return "json" in kind and not kind.strip().endswith(("ndjson", "jsonl", "stream+json"))


async def _read_whole(exchange: Exchange, max_bytes: int, content: Callable[[], None] | None = None) -> bytes:
    """The whole body; *content* hears of each piece that is not blank."""
    parts = []
    while (pieces := await exchange.read(max_bytes)) is not None:
        for piece in pieces:
            parts.append(piece)
            if content is not None and not piece.isspace():  # some providers send empty lines while they think
                content()
    return b"".join(parts)


async def _read_stream(call: _Call, exchange: Exchange) -> Reply:
    stream = call.stream = call.family.open_stream(call.target)
    max_bytes = call.target.limits.max_body_bytes * STREAM_OVERHEAD
    seen, first_at = 0, 0.0
    while not stream.done and (pieces := await exchange.read(max_bytes)) is not None:
        for piece in pieces:
            for text in stream.feed(piece):
                _progress(call, text)
                seen += 1
        if seen and call.on_delta is None and not stream.done:
            first_at = first_at or time.monotonic()
            pace_s = (time.monotonic() - first_at) / seen
            await exchange.lull(min(pace_s * LULL_PIECES, LONGEST_LULL_S, call.target.limits.content_idle_s / 2))
    if stream.done:
        await exchange.settle()
    return stream.finish()


def _progress(call: _Call, text: str) -> None:
    if not text.isspace():
        call.watch.content()
    shape = call.loops.feed(text) if call.loops is not None else None
    if shape is not None:
        raise _cut(call, shape)
    if text and call.on_delta is not None:
        call.on_delta(text)


def _cut(call: _Call, shape: str) -> DegenerateError:
    error = DegenerateError(detail=shape)
    assert call.loops is not None
    error.saved_tokens = max(call.request.max_output_tokens - call.loops.tokens, 0)
    return error


async def _refused(call: _Call, exchange: Exchange) -> CallError:
    """Make the error for a status other than 200, with what its headers say about a retry."""
    try:
        body = await _read_whole(exchange, MAX_ERROR_BODY_BYTES, call.watch.content)
    except CallError:
        body = b""  # the status says enough
    if call.key:
        body = body.replace(call.key.encode(), b"[key]")
    return refusal(call.family, exchange.status, exchange.headers, body, datetime.now(UTC))


def _answer(call: _Call, prepared: Prepared, reply: Reply, exchange: Response) -> Answer:
    known = bounds(call.input_bytes, len(reply.text.encode()), call.request.max_output_tokens)
    usage, cost_nanousd = call.family.read_usage(reply.raw_usage, known)
    try:
        call.family.examine(call.target, call.request, reply)
    except CallError as error:
        error.usage = usage
        raise
    return Answer(
        text=reply.text,
        stop=reply.stop,
        usage=usage,
        schema_mode=prepared.schema_mode,
        schema_changes=prepared.schema_changes,
        tool_calls=reply.tool_calls,
        carry=reply.carry,
        refusal=reply.refusal,
        request_id=_request_id(exchange) or reply.response_id,
        model=reply.model,
        service_tier=reply.service_tier or _service_tier(exchange),
        first_content_ms=call.watch.first_content_ms,
        took_ms=call.watch.took_ms,
        provider_cost_nanousd=cost_nanousd,
        raw_usage=reply.raw_usage,
        limits=rate_limits(exchange.headers, datetime.now(UTC)),
    )


def _with_stream(error: CallError, call: _Call) -> CallError:
    """Note on *error* what a stream had given before it failed."""
    stream = call.stream
    if stream is None:
        return error
    if isinstance(error, ConnectionLostError) and stream.received_bytes:
        error = StreamBrokenError(request_id=error.request_id, detail=error.detail)
    error.received_bytes = stream.received_bytes
    if stream.raw_usage is not None:
        known = bounds(call.input_bytes, stream.received_bytes, call.request.max_output_tokens)
        usage, _ = call.family.read_usage(stream.raw_usage, known)
        error.usage = with_seen_output(usage, known)
    return error


def _bare(error: CallError) -> CallError:
    """Cut the links to frames and foreign errors, which hold the request."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _request_id(exchange: Response) -> str | None:
    return next((text_of(exchange.headers[name]) for name in _REQUEST_IDS if name in exchange.headers), None)


def _service_tier(exchange: Response) -> str | None:
    tier = text_of(exchange.headers.get("x-gemini-service-tier"))
    return tier.lower() if tier else None


__all__ = ["FAMILIES", "HttpModelClient", "check_target", "family_of"]
