"""Errors of each provider, as they were recorded, classified."""

from typing import Any

import pytest

from penstock_worker.llm.client import FAMILIES
from penstock_worker.llm.errors import CallError
from penstock_worker.llm.port import Target
from tests.support.formats import FORMATS
from tests.support.provider import dumped

TOO_MANY_STATES = "The specified schema produces a constraint that has too many states for serving."

ROWS = [
    # kind, status, code, type, words -> code
    ("anthropic", 400, "", "invalid_request_error", "prompt is too long: 210000 tokens > 200000", "context_too_long"),
    (
        "anthropic",
        400,
        "",
        "invalid_request_error",
        "output_config.format: Schema is too complex",
        "schema_unsupported",
    ),
    ("anthropic", 400, "", "invalid_request_error", "max_tokens: must be greater than 0", "request_rejected"),
    ("anthropic", 400, "", "invalid_request_error", "Your credit balance is too low", "quota_exhausted"),
    (
        "anthropic",
        400,
        "",
        "invalid_request_error",
        "You have reached your specified API usage limits.",
        "quota_exhausted",
    ),
    ("anthropic", 400, "", "invalid_request_error", "Output blocked by content filtering policy", "content_filtered"),
    ("anthropic", 401, "", "authentication_error", "invalid x-api-key", "auth_failed"),
    ("anthropic", 402, "", "billing_error", "x", "quota_exhausted"),
    ("anthropic", 403, "", "permission_error", "x", "auth_failed"),
    ("anthropic", 404, "", "not_found_error", "model: claude-none", "model_not_found"),
    ("anthropic", 413, "", "request_too_large", "x", "context_too_long"),
    ("anthropic", 429, "", "rate_limit_error", "x", "throttled"),
    ("anthropic", 429, "enforced_spend_limit_reached", "rate_limit_error", "x", "quota_exhausted"),
    ("anthropic", 500, "", "api_error", "x", "server_error"),
    ("anthropic", 504, "", "timeout_error", "x", "gateway_error"),
    ("anthropic", 529, "", "overloaded_error", "x", "overloaded"),
    ("gemini", 400, "", "INVALID_ARGUMENT", "x", "request_rejected"),
    ("gemini", 400, "", "INVALID_ARGUMENT", "The input token count (2) exceeds the maximum", "context_too_long"),
    ("gemini", 400, "", "INVALID_ARGUMENT", TOO_MANY_STATES, "schema_unsupported"),
    ("gemini", 400, "API_KEY_INVALID", "INVALID_ARGUMENT", "API key not valid.", "auth_failed"),
    ("gemini", 400, "", "FAILED_PRECONDITION", "User location is not supported for the API use.", "auth_failed"),
    ("gemini", 403, "", "PERMISSION_DENIED", "x", "auth_failed"),
    ("gemini", 404, "", "NOT_FOUND", "models/x is not found", "model_not_found"),
    ("gemini", 429, "", "RESOURCE_EXHAUSTED", "x", "throttled"),
    ("gemini", 500, "", "INTERNAL", "x", "server_error"),
    ("gemini", 503, "", "UNAVAILABLE", "The model is overloaded.", "overloaded"),
    ("gemini", 504, "", "DEADLINE_EXCEEDED", "x", "gateway_error"),
    ("ollama", 400, "", "", "the input length exceeds the context length", "context_too_long"),
    ("ollama", 400, "", "", "invalid JSON schema in format", "schema_unsupported"),
    ("ollama", 500, "", "", "failed to load model vocabulary required for format", "schema_unsupported"),
    ("ollama", 404, "", "", 'model "x" not found, try pulling it first', "model_not_found"),
    ("ollama", 500, "", "", "llama runner process has terminated", "server_error"),
    ("ollama", 503, "", "", "server busy, please try again. maximum pending requests exceeded", "overloaded"),
    ("azure", 404, "DeploymentNotFound", "", "x", "model_not_found"),
    ("azure", 429, "429", "", "x", "throttled"),
    ("azure", 403, "403", "", "Out of call volume quota.", "quota_exhausted"),
    ("azure", 403, "403", "", "Access denied due to Virtual Network/Firewall rules.", "auth_failed"),
    ("azure", 401, "401", "", "Access denied due to invalid subscription key", "auth_failed"),
    ("openai-responses", 400, "", "invalid_request_error", "x", "request_rejected"),
    ("openai-responses", 400, "context_length_exceeded", "invalid_request_error", "x", "context_too_long"),
    ("openai-responses", 400, "invalid_json_schema", "invalid_request_error", "x", "schema_unsupported"),
    ("openai-responses", 429, "insufficient_quota", "insufficient_quota", "x", "quota_exhausted"),
    ("openai-responses", 429, "rate_limit_exceeded", "requests", "x", "throttled"),
    ("openai-responses", 500, "server_error", "server_error", "x", "server_error"),
]


@pytest.mark.parametrize(("kind", "status", "code", "type_", "words", "expected"), ROWS)
def test_every_error_has_its_code(kind: str, status: int, code: str, type_: str, words: str, expected: str) -> None:
    """The provider's code, type, status and words, in the body it writes them in, mean one of our errors."""
    error = FAMILIES[kind].read_error(status, dumped(FORMATS[kind].error(code, type_, words)))
    assert (error.code, error.status) == (expected, status)
    assert words in error.detail or len(words) > 200


@pytest.mark.parametrize("kind", sorted(FAMILIES))
@pytest.mark.parametrize(
    ("status", "expected"), [(401, "auth_failed"), (429, "throttled"), (502, "gateway_error"), (503, "overloaded")]
)
def test_a_page_is_classified_by_its_status(kind: str, status: int, expected: str) -> None:
    """What a proxy in front answers has no format."""
    assert FAMILIES[kind].read_error(status, b"<html>").code == expected
    assert FAMILIES[kind].read_error(307, b"").code == "redirected"
    assert FAMILIES[kind].read_error(204, b"").code == "bad_response"


def test_azure_blocked_prompt() -> None:
    """Azure's inner error tells a blocked prompt from a bad request."""
    body = {
        "error": {
            "message": "The response was filtered due to the prompt triggering Azure's content management policy.",
            "type": None,
            "param": "prompt",
            "code": "content_filter",
            "status": 400,
            "innererror": {
                "code": "ResponsibleAIPolicyViolation",
                "content_filter_result": {"jailbreak": {"filtered": True, "detected": True}},
            },
        }
    }
    error = FAMILIES["azure"].read_error(400, dumped(body))
    assert (error.code, error.retry, error.billed) == ("content_filtered", False, "no")


def retry_info(delay: Any) -> dict[str, Any]:
    return {
        "error": {
            "code": 429,
            "message": "You exceeded your current quota.",
            "status": "RESOURCE_EXHAUSTED",
            "details": [
                {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": "PerMinute"}]},
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
            ],
        }
    }


@pytest.mark.parametrize(
    ("delay", "wait_s"),
    [("34s", 34.0), ("34.07s", 34.07), ("0s", 0.0), ("999999999s", 86_400.0), ("-1s", None), ("soon", None), (5, None)],
)
def test_gemini_says_the_wait_in_the_body(delay: Any, wait_s: float | None) -> None:
    """RetryInfo is read, bounded, and left alone when it is nonsense."""
    error = FAMILIES["gemini"].read_error(429, dumped(retry_info(delay)))
    assert (error.code, error.retry_after_s) == ("throttled", wait_s)


def test_gemini_error_in_a_list() -> None:
    """A refused stream may answer with a list of one error."""
    error = FAMILIES["gemini"].read_error(429, dumped([retry_info("3s")]))
    assert (error.code, error.retry_after_s) == ("throttled", 3.0)


def test_gemini_quota_of_the_day() -> None:
    """The wait that stands beside a daily quota does not help; another target does."""
    body = retry_info("30s")
    body["error"]["details"][0]["violations"][0]["quotaId"] = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"
    error = FAMILIES["gemini"].read_error(429, dumped(body))
    assert (error.code, error.retry, error.next_target) == ("quota_exhausted", False, True)


def test_gemini_says_it_in_a_violation() -> None:
    """Some models give the reason in the details alone."""
    violation = {"fieldViolations": [{"description": TOO_MANY_STATES}]}
    body = {"error": {"code": 400, "message": "Invalid.", "status": "INVALID_ARGUMENT", "details": [violation]}}
    assert FAMILIES["gemini"].read_error(400, dumped(body)).code == "schema_unsupported"


INSIDE = [
    ("anthropic", {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}, "overloaded"),
    ("anthropic", {"type": "error", "error": {"type": "invalid_request_error", "message": "x"}}, "request_rejected"),
    ("gemini", {"error": {"code": 503, "status": "UNAVAILABLE", "message": "x"}}, "overloaded"),
    ("gemini", retry_info("9s"), "throttled"),
    ("ollama", {"error": "an error was encountered while running the model"}, "server_error"),
    ("openai-responses", {"type": "error", "code": "rate_limit_exceeded", "message": "x"}, "throttled"),
    (
        "openai-responses",
        {
            "type": "response.failed",
            "response": {"status": "failed", "error": {"code": "server_error", "message": "x"}},
        },
        "server_error",
    ),
    (
        "openai-responses",
        {"type": "response.failed", "response": {"status": "failed", "error": {"code": "invalid_prompt"}}},
        "content_filtered",
    ),
]


@pytest.mark.parametrize(("kind", "event", "expected"), INSIDE)
def test_an_error_inside_a_stream(kind: str, event: dict[str, Any], expected: str) -> None:
    """A stream that began with 200 can still fail, by its own words."""
    stream = FAMILIES[kind].open_stream(Target("t/m", kind, "m", "https://example.com"))
    start = b"" if kind == "ollama" else b"data: "
    with pytest.raises(CallError) as caught:
        list(stream.feed(start + dumped(event) + b"\n\n"))
    assert caught.value.code == expected


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("anthropic", {"type": "error", "error": {"type": "api_error", "message": "x"}}, "server_error"),
        ("gemini", {"error": {"code": 500, "status": "INTERNAL", "message": "x"}}, "server_error"),
        ("ollama", {"error": "boom"}, "server_error"),
        ("openai-responses", {"status": "failed", "error": {"code": "server_error", "message": "x"}}, "server_error"),
        ("openai-responses", {"error": {"code": "rate_limit_exceeded", "message": "x"}}, "throttled"),
        ("openai-responses", {"status": "cancelled"}, "server_error"),
        ("openai-responses", {"status": "in_progress", "output": []}, "bad_response"),
        ("openai-responses", {"status": "completed"}, "bad_response"),
        ("anthropic", {"type": "message"}, "bad_response"),
        ("gemini", {"candidates": []}, "bad_response"),
        ("ollama", {"model": "m", "done": True}, "bad_response"),
        ("ollama", {"model": "m"}, "stream_broken"),
        ("openai-responses", {"status": "completed", "output": []}, "bad_response"),
        ("ollama", {"message": {"content": "a"}, "done": False}, "stream_broken"),
    ],
)
def test_an_error_inside_a_whole_answer(kind: str, body: dict[str, Any], expected: str) -> None:
    """A 200 with an error, or with no answer, is not an answer."""
    with pytest.raises(CallError) as caught:
        FAMILIES[kind].read_answer(dumped(body))
    assert caught.value.code == expected
