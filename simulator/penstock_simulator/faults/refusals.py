"""Faults that answer with an error instead of a generation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from penstock_simulator.ask import Ask, Problem
from penstock_simulator.faults.kinds import Params

_SERVER_ERROR = "The server had an error while processing your request. Sorry about that!"
_KNOWN: dict[int, tuple[str, str, str | None]] = {
    400: ("invalid_request_error", "The request was turned down by the simulator.", None),
    401: ("invalid_request_error", "Incorrect API key provided.", "invalid_api_key"),
    402: ("insufficient_quota", "Your credits are used up.", "insufficient_quota"),
    403: ("invalid_request_error", "You are not allowed to use this model.", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "The model does not exist or you do not have access to it.", "model_not_found"),
    408: ("server_error", "The request took too long to arrive.", None),
    409: ("invalid_request_error", "The request conflicts with another.", "conflict"),
    413: ("invalid_request_error", "The request is too large.", "request_too_large"),
    422: ("invalid_request_error", "The request could not be processed.", None),
    429: ("requests", "Rate limit reached for requests.", "rate_limit_exceeded"),
    503: ("service_unavailable_error", "The server is currently overloaded.", "server_is_overloaded"),
    529: ("overloaded_error", "The server is currently overloaded.", "server_is_overloaded"),
}


def status(params: Params, _ask: Ask) -> Problem:
    """The error of a status, with whatever was given in its place."""
    code = params.integer("status")
    kind, message, error_code = _KNOWN.get(code, ("server_error", _SERVER_ERROR, None))
    return Problem(
        status=code,
        message=params.text("message") or message,
        type=params.text("type") or kind,
        code=params.text("code") or error_code,
        headers=_retry_headers(params),
    )


def rate_limit(params: Params, ask: Ask) -> Problem:
    """429 as of a model's rate limit."""
    message = f"Rate limit reached for {ask.model} in organization org-penstock on requests per min (RPM)."
    headers = {"x-ratelimit-remaining-requests": "0", **_retry_headers(params)}
    return Problem(429, message, "requests", "rate_limit_exceeded", headers=headers)


def slow_down(params: Params, _ask: Ask) -> Problem:
    """429 as of a caller whose rate went up too fast."""
    message = "Please slow down: your request rate rose too fast."
    return Problem(429, message, "requests", "slow_down", headers=_retry_headers(params))


def quota(params: Params, _ask: Ask) -> Problem:
    """429 that no waiting helps against."""
    message = "You exceeded your current quota, please check your plan and billing details."
    return Problem(429, message, "insufficient_quota", "insufficient_quota", headers=_retry_headers(params))


def invalid_key(_params: Params, _ask: Ask) -> Problem:
    """401 as of a wrong key."""
    return Problem(401, "Incorrect API key provided: sk-sim********.", code="invalid_api_key")


def model_not_found(_params: Params, ask: Ask) -> Problem:
    """404 as of an unknown model."""
    message = f"The model `{ask.model}` does not exist or you do not have access to it."
    return Problem(404, message, code="model_not_found")


def context_length(params: Params, _ask: Ask) -> Problem:
    """400 as of a prompt too long for the model."""
    limit = params.integer("limit")
    message = (
        f"This model's maximum context length is {limit} tokens. However, your messages resulted in "
        f"{limit + 1000} tokens. Please reduce the length of the messages."
    )
    return Problem(400, message, param="messages", code="context_length_exceeded")


def schema_unsupported(_params: Params, _ask: Ask) -> Problem:
    """400 as of a schema outside the strict subset."""
    message = (
        "Invalid schema for response_format 'answer': In context=(), 'additionalProperties' is required to be "
        "supplied and to be false."
    )
    return Problem(400, message, param="response_format")


def content_policy(_params: Params, _ask: Ask) -> Problem:
    """400 as of a prompt that was flagged."""
    message = (
        "Invalid prompt: your prompt was flagged as potentially violating our usage policy. Please try again "
        "with a different prompt."
    )
    return Problem(400, message, code="invalid_prompt")


def overloaded(params: Params, _ask: Ask) -> Problem:
    """503 as of a provider short of machines."""
    message = "The server is currently overloaded. Please try again later."
    return Problem(503, message, "service_unavailable_error", "server_is_overloaded", headers=_retry_headers(params))


def _retry_headers(params: Params) -> dict[str, str]:
    headers = {}
    if params.text("retry-after"):
        headers["retry-after"] = _retry_after(params.text("retry-after"))
    if params.text("retry-after-ms"):
        headers["retry-after-ms"] = params.text("retry-after-ms")
    if params.text("should-retry"):
        headers["x-should-retry"] = params.text("should-retry")
    return headers


def _retry_after(text: str) -> str:
    """The header's value: as given, or an HTTP date for `date+30` and `date-30` (seconds from now)."""
    if not text.startswith("date"):
        return text
    moment = datetime.now(UTC) + timedelta(seconds=float(text.removeprefix("date") or 0))
    return format_datetime(moment.replace(microsecond=0), usegmt=True)
