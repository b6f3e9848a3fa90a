"""Azure OpenAI's error answers: OpenAI's object, with codes of its own and no type."""

from __future__ import annotations

from penstock_simulator.wire.openai_words import WORDS as OPENAI
from penstock_simulator.wire.words import Vocabulary, Words

_KEY = (
    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an "
    "active subscription and use a correct regional API endpoint for your resource."
)
_DEPLOYMENT = (
    "The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, "
    "please wait a moment and try again."
)
_LIMIT = (
    "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-10-21 have exceeded {about} "
    "rate limit of your current OpenAI S0 pricing tier. Please retry after {wait_s} seconds."
)
_FILTERED = (
    "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify "
    "your prompt and retry. To learn more about our content filtering policies please read our documentation."
)

WORDS = Vocabulary(
    kinds={
        **OPENAI.kinds,
        "rate_limit": Words(429, _LIMIT, "", "429"),
        "slow_down": Words(429, _LIMIT, "", "429"),
        "quota": Words(
            403, "Out of call volume quota. Quota will be replenished when your subscription does.", "", "403"
        ),
        "overloaded": Words(
            503, "The service is temporarily unable to process your request. Please try again later.", "", "503"
        ),
        "invalid_key": Words(401, _KEY, "", "401"),
        "model_not_found": Words(404, _DEPLOYMENT, "", "DeploymentNotFound"),
        "content_policy": Words(400, _FILTERED, "", "content_filter", "prompt"),
    },
    statuses={
        **OPENAI.statuses,
        401: Words(401, _KEY, "", "401"),
        403: Words(403, "Access denied due to Virtual Network/Firewall rules.", "", "403"),
        404: Words(404, "Resource not found", "", "404"),
        408: Words(408, "The operation was timeout.", "Timeout", "Timeout"),
        429: Words(429, _LIMIT, "", "429"),
        503: Words(503, "The service is temporarily unable to process your request.", "", "503"),
    },
    other=Words(500, "The server had an error processing your request.", "server_error", "InternalServerError"),
)
