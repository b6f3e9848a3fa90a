"""Anthropic's error answers, from its API reference."""

from __future__ import annotations

from penstock_simulator.wire.words import Vocabulary, Words

_INVALID = "invalid_request_error"
SPEND_LIMIT = "enforced_spend_limit_reached"

WORDS = Vocabulary(
    kinds={
        "rate_limit": Words(
            429,
            "This request would exceed your organization's rate limit of {limit} {about} per minute "
            "(model: {model}). Please reduce the prompt length or the maximum tokens requested, or try again later.",
            "rate_limit_error",
        ),
        "slow_down": Words(
            429,
            "This request would exceed your organization's maximum usage increase rate. Please scale up your "
            "usage more gradually.",
            "rate_limit_error",
        ),
        "quota": Words(429, "Your organization has reached its monthly spend limit.", "rate_limit_error", SPEND_LIMIT),
        "overloaded": Words(529, "Overloaded", "overloaded_error"),
        "invalid_key": Words(401, "invalid x-api-key", "authentication_error"),
        "model_not_found": Words(404, "model: {model}", "not_found_error"),
        "context_length": Words(400, "prompt is too long: {prompt} tokens > {limit} maximum", _INVALID),
        "schema": Words(
            400,
            "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false",
            _INVALID,
        ),
        "content_policy": Words(400, "Output blocked by content filtering policy", _INVALID),
    },
    statuses={
        400: Words(400, "The request was turned down by the simulator.", _INVALID),
        401: Words(401, "invalid x-api-key", "authentication_error"),
        402: Words(402, "There is an issue with your billing or payment information.", "billing_error"),
        403: Words(403, "Your API key does not have permission to use this resource.", "permission_error"),
        404: Words(404, "The requested resource could not be found.", "not_found_error"),
        413: Words(413, "Request exceeds the maximum size", "request_too_large"),
        422: Words(422, "The request could not be processed.", _INVALID),
        429: Words(429, "This request would exceed your organization's rate limit.", "rate_limit_error"),
        504: Words(504, "The request timed out while processing.", "timeout_error"),
        529: Words(529, "Overloaded", "overloaded_error"),
    },
    other=Words(500, "Internal server error", "api_error"),
)
