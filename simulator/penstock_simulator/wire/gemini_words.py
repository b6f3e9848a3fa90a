"""Gemini's error answers: Google's status names and messages."""

from __future__ import annotations

from penstock_simulator.wire.words import Vocabulary, Words

_QUOTA = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this error, "
    "head to: https://ai.google.dev/gemini-api/docs/rate-limits."
)
_KEY = "API key not valid. Please pass a valid API key."
BLOCKED = "PROHIBITED_CONTENT"

WORDS = Vocabulary(
    kinds={
        "rate_limit": Words(429, _QUOTA, "RESOURCE_EXHAUSTED"),
        "slow_down": Words(429, "Resource has been exhausted (e.g. check quota).", "RESOURCE_EXHAUSTED"),
        "quota": Words(429, _QUOTA, "RESOURCE_EXHAUSTED"),
        "overloaded": Words(503, "The model is overloaded. Please try again later.", "UNAVAILABLE"),
        "invalid_key": Words(400, _KEY, "INVALID_ARGUMENT", "API_KEY_INVALID"),
        "model_not_found": Words(
            404,
            "models/{model} is not found for API version v1beta, or is not supported for generateContent. Call "
            "ListModels to see the list of available models and their supported methods.",
            "NOT_FOUND",
        ),
        "context_length": Words(
            400,
            "The input token count ({prompt}) exceeds the maximum number of tokens allowed ({limit}).",
            "INVALID_ARGUMENT",
        ),
        "schema": Words(
            400,
            'Invalid JSON payload received. Unknown name "additionalProperties" at '
            "'generation_config.response_schema': Cannot find field.",
            "INVALID_ARGUMENT",
        ),
        "content_policy": Words(200, "The prompt was blocked.", BLOCKED),
    },
    statuses={
        400: Words(400, "Request contains an invalid argument.", "INVALID_ARGUMENT"),
        401: Words(401, "Request had invalid authentication credentials.", "UNAUTHENTICATED"),
        403: Words(403, "The caller does not have permission", "PERMISSION_DENIED"),
        404: Words(404, "Requested entity was not found.", "NOT_FOUND"),
        408: Words(408, "The request timed out.", "DEADLINE_EXCEEDED"),
        409: Words(409, "The operation was aborted.", "ABORTED"),
        429: Words(429, "Resource has been exhausted (e.g. check quota).", "RESOURCE_EXHAUSTED"),
        499: Words(499, "The operation was cancelled.", "CANCELLED"),
        503: Words(503, "The model is overloaded. Please try again later.", "UNAVAILABLE"),
        504: Words(504, "Deadline expired before operation could complete.", "DEADLINE_EXCEEDED"),
    },
    other=Words(500, "An internal error has occurred. Please retry or report in Google's forum.", "INTERNAL"),
)
