"""OpenAI's error answers, from its API reference and error guide."""

from __future__ import annotations

from penstock_simulator.wire.words import Vocabulary, Words

_INVALID = "invalid_request_error"
SERVER_ERROR = "The server had an error while processing your request. Sorry about that!"

WORDS = Vocabulary(
    kinds={
        "rate_limit": Words(
            429,
            "Rate limit reached for {model} in organization org-penstock on {about} per min: Limit {limit}. "
            "Please try again in {wait}.",
            "requests",
            "rate_limit_exceeded",
        ),
        "slow_down": Words(429, "Please slow down: your request rate rose too fast.", "requests", "slow_down"),
        "quota": Words(
            429,
            "You exceeded your current quota, please check your plan and billing details.",
            "insufficient_quota",
            "insufficient_quota",
        ),
        "overloaded": Words(
            503,
            "The server is currently overloaded. Please try again later.",
            "service_unavailable_error",
            "server_is_overloaded",
        ),
        "invalid_key": Words(401, "Incorrect API key provided: sk-sim********.", _INVALID, "invalid_api_key"),
        "model_not_found": Words(
            404, "The model `{model}` does not exist or you do not have access to it.", _INVALID, "model_not_found"
        ),
        "context_length": Words(
            400,
            "This model's maximum context length is {limit} tokens. However, you requested {wanted} tokens "
            "({prompt} in the messages, {cap} in the completion). Please reduce the length of the messages or "
            "completion.",
            _INVALID,
            "context_length_exceeded",
            "messages",
        ),
        "schema": Words(
            400,
            "Invalid schema for response_format 'answer': In context=(), 'additionalProperties' is required to be "
            "supplied and to be false.",
            _INVALID,
            None,
            "response_format",
        ),
        "content_policy": Words(
            400,
            "Invalid prompt: your prompt was flagged as potentially violating our usage policy. Please try again "
            "with a different prompt.",
            _INVALID,
            "invalid_prompt",
        ),
    },
    statuses={
        400: Words(400, "The request was turned down by the simulator.", _INVALID),
        401: Words(401, "Incorrect API key provided.", _INVALID, "invalid_api_key"),
        402: Words(402, "Your credits are used up.", "insufficient_quota", "insufficient_quota"),
        403: Words(403, "You are not allowed to use this model.", _INVALID, "unsupported_country_region_territory"),
        404: Words(404, "The model does not exist or you do not have access to it.", _INVALID, "model_not_found"),
        408: Words(408, "The request took too long to arrive.", "server_error"),
        409: Words(409, "The request conflicts with another.", _INVALID, "conflict"),
        413: Words(413, "The request is too large.", _INVALID, "request_too_large"),
        422: Words(422, "The request could not be processed.", _INVALID),
        429: Words(429, "Rate limit reached for requests.", "requests", "rate_limit_exceeded"),
        503: Words(503, "The server is currently overloaded.", "service_unavailable_error", "server_is_overloaded"),
        529: Words(529, "The server is currently overloaded.", "overloaded_error", "server_is_overloaded"),
    },
    other=Words(500, SERVER_ERROR, "server_error"),
)
