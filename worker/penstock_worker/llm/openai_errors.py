"""Errors of Chat Completions and of what speaks it, classified.

The provider's own code decides, then its type, then the status, and only for a plain 400 its words. The codes
are those of OpenAI, Azure, Groq, OpenRouter, vLLM, llama.cpp, LiteLLM and DeepSeek.
"""

from collections.abc import Mapping
from typing import Any

from penstock_worker.llm.errors import (
    AuthFailedError,
    BadResponseError,
    CallError,
    ContentFilteredError,
    ContextTooLongError,
    GatewayFailedError,
    ModelNotFoundError,
    OverloadedError,
    QuotaExhaustedError,
    RedirectedError,
    RequestRejectedError,
    SchemaUnsupportedError,
    ServerFailedError,
    ThrottledError,
)
from penstock_worker.llm.wire import excerpt, loads, mapping, scrub

_CODES: dict[type[CallError], tuple[str, ...]] = {
    QuotaExhaustedError: (
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "enforced_spend_limit_reached",
        "insufficient_credits",
        "payment_required",
        "budget_exceeded",
    ),
    ThrottledError: (
        "rate_limit_exceeded",
        "rate_limit_error",
        "slow_down",
        "too_many_requests",
        "throttling_error",
    ),
    OverloadedError: (
        "server_is_overloaded",
        "overloaded_error",
        "overloaded",
        "engine_overloaded",
        "unavailable_error",
        "service_unavailable",
        "capacity_exceeded",
        "insufficient_system_resource",
    ),
    ContextTooLongError: (
        "context_length_exceeded",
        "exceed_context_size_error",
        "string_above_max_length",
        "request_too_large",
        "token_limit_exceeded",
    ),
    ContentFilteredError: (
        "content_filter",
        "content_policy_violation",
        "responsibleaipolicyviolation",
        "moderation_blocked",
    ),
    AuthFailedError: (
        "invalid_api_key",
        "authentication_error",
        "permission_error",
        "permission_denied",
        "account_deactivated",
        "unsupported_country_region_territory",
    ),
    ModelNotFoundError: (
        "model_not_found",
        "model_not_active",
        "model_decommissioned",
        "deploymentnotfound",
        "not_found_error",
    ),
    SchemaUnsupportedError: ("invalid_json_schema", "unsupported_response_format"),
    ServerFailedError: ("server_error", "internal_error", "internal_server_error", "api_error"),
    GatewayFailedError: ("timeout", "timeout_error", "upstream_error", "bad_gateway"),
}
_BY_CODE = {code: kind for kind, codes in _CODES.items() for code in codes}

_BY_STATUS: dict[int, type[CallError]] = {
    401: AuthFailedError,
    402: QuotaExhaustedError,
    403: AuthFailedError,
    404: ModelNotFoundError,
    408: ServerFailedError,
    409: ServerFailedError,
    413: ContextTooLongError,
    425: ServerFailedError,
    429: ThrottledError,
    502: GatewayFailedError,
    503: OverloadedError,
    504: GatewayFailedError,
    529: OverloadedError,
}

_WORDS: tuple[tuple[type[CallError], tuple[str, ...]], ...] = (
    (
        ContextTooLongError,
        ("context length", "context window", "context size", "prompt is too long", "too many tokens"),
    ),
    (
        SchemaUnsupportedError,
        ("response_format", "json_schema", "json schema", "structured output", "structured_outputs", "grammar"),
    ),
    (ContentFilteredError, ("content management policy", "content policy", "safety system")),
)


def classify(status: int, body: bytes) -> CallError:
    """Make the error for a response whose status is not 200."""
    if 300 <= status < 400:
        return RedirectedError(status=status)
    if status < 400:
        return BadResponseError(status=status, detail=excerpt(body))
    try:
        top = mapping(loads(body))
    except BadResponseError:
        top = {}
    if not top:
        return _by_status(status)(status=status, detail=excerpt(body))
    return classify_object(top.get("error", top), status=status)


def classify_object(error: object, *, status: int | None = None) -> CallError:
    """Make the error for an error object, with the response's *status*, or None for one inside a 200.

    A numeric code (OpenRouter) is the status that the response would have had.
    """
    fields = mapping(error)
    names = [str(fields.get(name, "")).lower() for name in ("code", "type")]
    inner = mapping(fields.get("innererror"))
    names.insert(0, str(inner.get("code", "")).lower())
    message = fields.get("message") if fields else error
    known = next((_BY_CODE[name] for name in names if name in _BY_CODE), None)
    effective = status or _numeric(fields.get("code"))
    if known is ServerFailedError and effective not in (None, 500):
        known = None  # "server_error" comes with any status, which then says more
    kind = known or _by_words(fields, effective, str(message)[:4096].lower())
    detail = scrub(" ".join([*(name for name in names if name), str(message)[:1024]]))
    return kind(status=effective, detail=detail)


def _by_words(fields: Mapping[str, Any], status: int | None, message: str) -> type[CallError]:
    if status == 403 and ("reasons" in mapping(fields.get("metadata"))):
        return ContentFilteredError  # OpenRouter: the input was flagged
    if status not in (400, 422):
        return ServerFailedError if status is None else _by_status(status)
    if str(fields.get("param", "")).startswith("response_format"):
        return SchemaUnsupportedError
    return next((kind for kind, words in _WORDS if any(word in message for word in words)), RequestRejectedError)


def _by_status(status: int) -> type[CallError]:
    known = _BY_STATUS.get(status)
    if known is not None:
        return known
    if status >= 500:
        return GatewayFailedError if 520 <= status < 528 else ServerFailedError  # 520 to 527: Cloudflare
    return RequestRejectedError


def _numeric(code: object) -> int | None:
    number = int(code) if isinstance(code, str) and code.isascii() and code.isdigit() else code
    return number if isinstance(number, int) and 400 <= number < 600 else None
