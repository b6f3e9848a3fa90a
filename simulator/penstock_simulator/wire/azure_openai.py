"""Azure OpenAI: Chat Completions under its two path forms, with its key, errors and content filter.

Facts from Microsoft's reference: `/openai/deployments/{deployment}/chat/completions?api-version=…`, or
`/openai/v1/chat/completions` with the deployment as `model`; the header `api-key`, or a bearer token; the
answer names the model behind the deployment; a blocked prompt is a 400 with `innererror`; filter results stand
beside every choice, and a stream opens with an event without choices that has those of the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import parse_qs

from penstock_simulator.ask import Answer, Ask, JsonObject, Problem, RefusedError, Request, Usage, trouble
from penstock_simulator.bill import BilledCall
from penstock_simulator.rate import Standing
from penstock_simulator.wire import openai_fields as fields
from penstock_simulator.wire import openai_request
from penstock_simulator.wire.azure_words import WORDS
from penstock_simulator.wire.openai_chat import OpenAIChat
from penstock_simulator.wire.words import retry_after_headers, standings

_DEPLOYMENT = re.compile(r"^/openai/deployments/([^/]+)/chat/completions$")
_PATH = "/openai/v1/chat/completions"
_BEHIND = "gpt-4o-mini-2024-07-18"
"""The model behind every deployment."""
_CATEGORIES = ("hate", "self_harm", "sexual", "violence")


class AzureOpenAI(OpenAIChat):
    """The wire format of Azure OpenAI's Chat Completions."""

    name = "azure_openai"
    known_models: tuple[str, ...] = ("gpt-4o-mini", "gpt-4o")

    def serves(self, method: str, path: str) -> bool:
        """Both path forms."""
        return method == "POST" and (path == _PATH or _DEPLOYMENT.match(path) is not None)

    def owns(self, request: Request) -> bool:
        """All below `/openai`."""
        return request.path.startswith("/openai")

    def lists(self, request: Request) -> bool:
        """`GET /openai/models` and `/openai/v1/models`."""
        return request.path in {"/openai/models", "/openai/v1/models"}

    def authorize(self, request: Request, api_key: str | None) -> None:
        """401 without `api-key` or a bearer token, and with another than *api_key*."""
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if api_key is not None and (request.headers.get("api-key") or bearer) != api_key:
            raise RefusedError(trouble("invalid_key"))

    def read(self, request: Request) -> Ask:
        """As OpenAI reads it; the model is the deployment, from the path or the body."""
        body = fields.json_object(request.body)
        found = _DEPLOYMENT.match(request.path)
        if found is not None:
            if not parse_qs(request.query).get("api-version"):
                raise RefusedError(Problem(404, "Resource not found", "", "404"))
            body = {**body, "model": found[1]}
        return replace(openai_request.read_body(body), wire=self.name)

    def headers(self, call: BilledCall, _latency_s: float) -> dict[str, str]:
        """The gateway's request id and region beside the model's request id."""
        id = call.id.removeprefix("req_")
        return {
            "content-type": "application/json",
            "apim-request-id": f"{id[:8]}-{id[8:12]}-4{id[13:16]}-8{id[17:20]}-{id[20:32]}",
            "x-request-id": call.id,
            "x-ms-region": "Sweden Central",
            "x-ms-deployment-name": call.model,
            "server": "penstock-simulator",
        }

    def limit_headers(self, standings: Sequence[Standing]) -> dict[str, str]:
        """Limits and what remains of them; no resets."""
        told = super().limit_headers(standings)
        return {name: value for name, value in told.items() if "-reset-" not in name}

    def whole(self, ask: Ask, answer: Answer, usage: Usage, call: BilledCall) -> JsonObject:
        """One `chat.completion` with the results of the content filter."""
        document = super().whole(ask, answer, usage, call)
        document["model"] = _BEHIND
        document["choices"][0]["content_filter_results"] = _results(blocked=answer.finish == "content_filter")
        return {**document, "prompt_filter_results": _prompt_results()}

    def stream(self, ask: Ask, answer: Answer, usage: Usage, call: BilledCall) -> list[JsonObject]:
        """First what the filter found in the prompt, then chunks with what it found in them."""
        events = super().stream(ask, answer, usage, call)
        for event in events:
            event["model"] = _BEHIND
            for choice in event["choices"]:
                blocked = choice["finish_reason"] == "content_filter"
                choice["content_filter_results"] = _results(blocked=blocked) if _says(choice) else {}
        opening = {"id": "", "object": "", "created": 0, "model": "", "choices": []}
        return [{**opening, "prompt_filter_results": _prompt_results()}, *events]

    def worded(self, problem: Problem) -> Problem:
        """Azure's words; how long to wait in three headers."""
        if problem.kind is None:
            return problem
        if problem.kind in {"schema", "context_length"}:
            return super().worded(problem)
        told = {**retry_after_headers(problem), **problem.headers}
        seconds = told.get("retry-after", "")
        if seconds.isdigit() and problem.kind in {"rate_limit", "slow_down"}:
            told.setdefault("retry-after-ms", str(int(seconds) * 1000))
            told["x-ms-retry-after-ms"] = told["retry-after-ms"]
        return replace(WORDS.put(problem), headers={**self.limit_headers(standings(problem)), **told})

    def error(self, problem: Problem, request_id: str) -> JsonObject:
        """`{"error": {code, message}}`, and for a blocked prompt what the filter found."""
        if not problem.type and problem.code != "content_filter":
            return {"error": {"code": problem.code, "message": problem.message}}
        document = super().error(problem, request_id)
        if problem.code == "content_filter":
            document["error"]["type"] = None
            document["error"]["status"] = problem.status
            document["error"]["innererror"] = {
                "code": "ResponsibleAIPolicyViolation",
                "content_filter_result": _results(blocked=True),
            }
        return document


def _says(choice: JsonObject) -> bool:
    return bool(choice["delta"].get("content")) or choice["finish_reason"] == "content_filter"


def _results(*, blocked: bool) -> JsonObject:
    results = {name: {"filtered": False, "severity": "safe"} for name in _CATEGORIES}
    if blocked:
        results["violence"] = {"filtered": True, "severity": "medium"}
    return results


def _prompt_results() -> list[JsonObject]:
    return [{"prompt_index": 0, "content_filter_results": _results(blocked=False)}]
