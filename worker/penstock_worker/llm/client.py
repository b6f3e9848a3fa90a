"""One call to a model, from request to answer; the only place where a family's parsers meet the network.

1. The family puts the request into its wire format; the key is read by reference.
2. One POST, over the pool of the target's endpoint, under the clocks of :class:`Watchdog`; for work in the background
   as many GETs as it takes.
3. A status other than 200 is classified by the family; a 200 is read whole or as a stream, and can still fail.
4. Whatever happened becomes a value: an Answer, or a CallError that holds no request, no URL and no key.

Nothing is retried and nothing is logged here.
"""

import time
from datetime import UTC, datetime
from functools import partial
from typing import Final

import orjson

from penstock_worker.llm.anthropic import AnthropicMessages
from penstock_worker.llm.azure import AzureOpenAI
from penstock_worker.llm.background import Response, withdraw, work_out
from penstock_worker.llm.endpoint import check_base_url
from penstock_worker.llm.errors import (
    AuthFailedError,
    CallDeadlineError,
    CallError,
    ConnectionLostError,
    RequestRejectedError,
    StreamBrokenError,
)
from penstock_worker.llm.family import Family, Prepared, Reply
from penstock_worker.llm.gemini import Gemini
from penstock_worker.llm.http import Connections, Exchange, PoolSettings, tls_context
from penstock_worker.llm.ollama import OllamaChat
from penstock_worker.llm.openai_chat import OpenAIChat
from penstock_worker.llm.openai_responses import OpenAIResponses
from penstock_worker.llm.port import Answer, CallRequest, KeptId, Target
from penstock_worker.llm.rate_limits import rate_limits
from penstock_worker.llm.receiving import Call, OnDelta, read, read_whole, refused, worked_out
from penstock_worker.llm.secrets import SecretReader, SecretUnavailableError
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
        call = Call(target, request, family_of(target), deadline, on_delta, kept)
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
        asked = CallRequest(system="", user="", max_output_tokens=1)
        call = Call(target, asked, family_of(target), kept=KeptId(kept_id))
        path = call.family.prepare(target, call.request).path
        await withdraw(partial(self._sent, call), path, kept_id)

    async def _guarded(self, call: Call) -> Answer | CallError:
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

    async def _run(self, call: Call) -> Answer:
        prepared, body = self._prepare(call)
        if call.kept is not None:
            look = await work_out(partial(self._sent, call), prepared.path, body, call.kept)
            call.watch.content()
            return _answer(call, prepared, worked_out(call, look.body), look.response)
        exchange = await self._send(call, "POST", prepared.path, body)
        try:
            return _answer(call, prepared, await read(call, exchange), exchange)
        except CallError as error:
            error.request_id = error.request_id or _request_id(exchange)
            if exchange.status == 200 and error.if_sent == "no":
                error.if_sent = "unknown"  # it may have worked before it failed
            raise
        finally:
            await exchange.aclose()

    async def _send(self, call: Call, method: str, path: str, body: bytes) -> Exchange:
        headers = self._headers(call)
        endpoint = self._connections.endpoint(call.target)
        return await endpoint.send(method, path, headers, body, call.target.limits.connect_s, call.progress)

    async def _sent(self, call: Call, method: str, path: str, body: bytes) -> tuple[bytes, Exchange]:
        """One request about work in the background, and the whole body of its 200."""
        exchange = await self._send(call, method, path, body)
        try:
            if exchange.status != 200:
                raise await refused(call, exchange)
            return await read_whole(exchange, call.target.limits.max_body_bytes), exchange
        except AuthFailedError:
            if call.target.api_key is not None:
                self._secrets.forget(call.target.api_key)
            raise
        finally:
            await exchange.aclose()

    def _prepare(self, call: Call) -> tuple[Prepared, bytes]:
        if call.request.tools and not call.family.takes_tools:
            raise RequestRejectedError(sent=False, detail=f"{call.target.kind} has no tools here")
        prepared = call.family.prepare(call.target, call.request)
        try:
            body = orjson.dumps(prepared.body)
        except TypeError:
            raise RequestRejectedError(sent=False, detail="the prompt is not valid Unicode") from None
        call.input_bytes = len(body)
        return prepared, body

    def _headers(self, call: Call) -> dict[str, str]:
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


def _answer(call: Call, prepared: Prepared, reply: Reply, exchange: Response) -> Answer:
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


def _with_stream(error: CallError, call: Call) -> CallError:
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
