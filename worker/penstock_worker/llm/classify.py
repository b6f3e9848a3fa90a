"""From what a provider says went wrong to our errors: one table for all families.

The provider's own code decides, then its type, then the status, and only for a request it refused its words. The
codes are those of OpenAI, Azure, Anthropic, Gemini, Groq, OpenRouter, vLLM, llama.cpp, LiteLLM and DeepSeek.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

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
        "billing_error",
        "billing_disabled",
    ),
    ThrottledError: (
        "rate_limit_exceeded",
        "rate_limit_error",
        "slow_down",
        "too_many_requests",
        "throttling_error",
        "resource_exhausted",
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
        "unavailable",
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
        "invalid_prompt",
        "bio_policy",
    ),
    AuthFailedError: (
        "invalid_api_key",
        "authentication_error",
        "permission_error",
        "permission_denied",
        "account_deactivated",
        "unsupported_country_region_territory",
        "api_key_invalid",
        "api_key_service_blocked",
        "unauthenticated",
    ),
    ModelNotFoundError: (
        "model_not_found",
        "model_not_active",
        "model_decommissioned",
        "deploymentnotfound",
        "not_found_error",
        "not_found",
    ),
    SchemaUnsupportedError: ("invalid_json_schema", "unsupported_response_format"),
    ServerFailedError: ("server_error", "internal_error", "internal_server_error", "api_error", "internal"),
    GatewayFailedError: ("timeout", "timeout_error", "upstream_error", "bad_gateway", "deadline_exceeded"),
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

_REFUSED_NAMES = frozenset({"invalid_request_error", "invalid_argument", "failed_precondition"})
"""What says, inside a stream, that it is the request that is at fault."""

_SCHEMA_PARAMS = ("response_format", "text.format", "output_config", "output_format")

_WORDS: tuple[tuple[type[CallError], tuple[str, ...]], ...] = (
    (QuotaExhaustedError, ("credit balance", "api usage limits", "spending cap", "enable billing", "volume quota")),
    (AuthFailedError, ("user location is not supported",)),
    (
        ContextTooLongError,
        (
            "context length",
            "context window",
            "context size",
            "prompt is too long",
            "too many tokens",
            "input token count",
            "exceed context limit",
        ),
    ),
    (
        SchemaUnsupportedError,
        (
            "response_format",
            "json_schema",
            "json schema",
            "jsonschema",
            "structured output",
            "structured_outputs",
            "output_config",
            "response_schema",
            "responseschema",
            "specified schema",
            "schema is too complex",
            "too many states",
            "grammar",
            "vocabulary required for format",
            "invalid format",
        ),
    ),
    (
        ContentFilteredError,
        ("content management policy", "content policy", "content filtering policy", "safety system"),
    ),
)


class Clue(NamedTuple):
    """What a family read in an error."""

    names: tuple[str, ...]
    """The provider's codes and types, the most specific first; in lower case, empty ones among them."""
    message: str
    status: int | None
    """The HTTP status, or the one that it would have been; None for an error inside a 200."""
    param: str = ""
    """The field of the request that is at fault, where it is named."""
    words_decide: bool = False
    """The provider gives neither codes nor types, and its statuses say little (Ollama): look at its words always."""


def error_of(clue: Clue) -> CallError:
    """Make the error that *clue* tells of."""
    known = next((_BY_CODE[name] for name in clue.names if name in _BY_CODE), None)
    if known is ServerFailedError and clue.status not in (None, 500):
        known = None  # "server_error" comes with any status, which then says more
    kind = known or _by_words(clue)
    detail = scrub(" ".join([*(name for name in clue.names if name), clue.message[:1024]]))
    return kind(status=clue.status, detail=detail)


def of_response(
    status: int, body: bytes, read: Callable[[Mapping[str, Any], int], CallError], *, listed: bool = False
) -> CallError:
    """Make the error for a response whose status is not 200; *read* classifies a body that is an object.

    With *listed* an object may stand in a list (Gemini's streams).
    """
    if 300 <= status < 400:
        return RedirectedError(status=status)
    if status < 400:
        return BadResponseError(status=status, detail=excerpt(body))
    try:
        top = loads(body)
    except BadResponseError:
        top = None
    if listed and isinstance(top, list) and top:
        top = top[0]
    if not mapping(top):
        return by_status(status)(status=status, detail=excerpt(body))
    return read(mapping(top), status)


def by_status(status: int) -> type[CallError]:
    """The error that a status of 400 or more stands for, when nothing else is known."""
    known = _BY_STATUS.get(status)
    if known is not None:
        return known
    if status >= 500:
        return GatewayFailedError if 520 <= status < 528 else ServerFailedError  # 520 to 527: Cloudflare
    return RequestRejectedError


def lower(value: object) -> str:
    """A code or type as it stands in a clue; empty when it is no text and no number."""
    return str(value).lower()[:64] if isinstance(value, str | int) else ""


def words(value: object) -> str:
    """A provider's message, bounded."""
    return str(value)[:4096] if value is not None else ""


def _by_words(clue: Clue) -> type[CallError]:
    refused = clue.status in (400, 422) or (clue.status is None and not _REFUSED_NAMES.isdisjoint(clue.names))
    plain = ServerFailedError if clue.status is None else by_status(clue.status)
    if clue.status == 403 and _spoken(clue.message) is QuotaExhaustedError:
        return QuotaExhaustedError
    if not (refused or clue.words_decide):
        return plain
    if clue.param.startswith(_SCHEMA_PARAMS):
        return SchemaUnsupportedError
    found = _spoken(clue.message)
    return found or (RequestRejectedError if refused else plain)


def _spoken(message: str) -> type[CallError] | None:
    said = message.lower()
    return next((kind for kind, texts in _WORDS if any(text in said for text in texts)), None)
