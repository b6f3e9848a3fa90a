"""What Chat Completions and Responses share: keys, errors, headers, limits, prompt cache, models.

Facts from OpenAI's API reference and error guide: `Authorization: Bearer`, `{"error": {message, type, param,
code}}`, `x-ratelimit-*` with durations such as `6m0s`, prompt caching from 1,024 tokens in steps of 128.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from penstock_simulator.ask import Ask, JsonObject, Problem, RefusedError, Request, trouble
from penstock_simulator.bill import BilledCall
from penstock_simulator.prefix_cache import CacheRule
from penstock_simulator.rate import Standing, duration
from penstock_simulator.wire.openai_words import WORDS
from penstock_simulator.wire.words import retry_after_headers, standings

_WRITES_COST = re.compile(r"(?:^|/)gpt-(?:5\.[6-9]|[6-9])")
"""Models whose newly cached tokens have a price of their own: from gpt-5.6 on."""
_RULE, _RULE_WITH_WRITES = CacheRule(), CacheRule(writes_cost=True)


class OpenAIFamily:
    """The ways of OpenAI's API, whatever the endpoint."""

    known_models: tuple[str, ...] = ("gpt-4o-mini", "gpt-4o", "o3-sim", "sim")
    too_long_param = "messages"
    _lists = frozenset({"/v1/models", "/models"})

    def owns(self, request: Request) -> bool:
        """Whatever nobody else owns."""
        return "anthropic-version" not in request.headers and not request.path.startswith(
            ("/openai", "/api", "/v1beta")
        )

    def lists(self, request: Request) -> bool:
        """`GET /v1/models`, unless it is asked in Anthropic's way."""
        return request.path in self._lists and "anthropic-version" not in request.headers

    def authorize(self, request: Request, api_key: str | None) -> None:
        """401 without a bearer token, and 401 `invalid_api_key` with another than *api_key*."""
        if api_key is None:
            return
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            message = "You didn't provide an API key. Send it as `Authorization: Bearer YOUR_KEY`."
            raise RefusedError(Problem(401, message))
        if token.strip() != api_key:
            message = f"Incorrect API key provided: {masked(token.strip())}."
            raise RefusedError(Problem(401, message, code="invalid_api_key"))

    def cache_rule(self, ask: Ask) -> CacheRule | None:
        """By itself for every model; with a price for writing for the newest."""
        return _RULE_WITH_WRITES if _WRITES_COST.search(ask.model) else _RULE

    def too_long(self, ask: Ask, prompt_tokens: int, window: int) -> Problem | None:
        """400 `context_length_exceeded` when prompt and output cap do not fit together."""
        cap = ask.max_output_tokens or 0
        if prompt_tokens + cap <= window:
            return None
        facts = {"limit": window, "prompt": prompt_tokens, "cap": cap, "wanted": prompt_tokens + cap}
        return replace(trouble("context_length", **facts), param=self.too_long_param)

    def headers(self, call: BilledCall, latency_s: float) -> dict[str, str]:
        """The request id, the time it took, the API's version."""
        return {
            "content-type": "application/json",
            "x-request-id": call.id,
            "openai-processing-ms": str(int(latency_s * 1000)),
            "openai-version": "2020-10-01",
            "server": "penstock-simulator",
        }

    def limit_headers(self, standings: Sequence[Standing]) -> dict[str, str]:
        """`x-ratelimit-{limit,remaining,reset}-{requests,tokens}`."""
        headers = {}
        for standing in standings:
            headers[f"x-ratelimit-limit-{standing.name}"] = str(standing.limit)
            headers[f"x-ratelimit-remaining-{standing.name}"] = str(standing.remaining)
            headers[f"x-ratelimit-reset-{standing.name}"] = duration(standing.full_in_s)
        return headers

    def worded(self, problem: Problem) -> Problem:
        """OpenAI's words; a rate limit is of the type of what ran out, `requests` or `tokens`."""
        if problem.kind is None:
            return problem
        if problem.kind == "rate_limit" and not problem.type:
            problem = replace(problem, type=str(problem.facts.get("about", "requests")))
        if problem.kind == "context_length" and "wanted" not in problem.facts:
            problem = replace(problem, facts={**problem.facts, "wanted": problem.facts.get("prompt", 0)})
        headers = {**self.limit_headers(standings(problem)), **retry_after_headers(problem), **problem.headers}
        return replace(WORDS.put(problem), headers=headers)

    def error(self, problem: Problem, request_id: str) -> JsonObject:
        """`{"error": {message, type, param, code}}`."""
        return {
            "error": {
                "message": problem.message,
                "type": problem.type,
                "param": problem.param,
                "code": problem.code,
            }
        }

    def error_event(self, problem: Problem) -> JsonObject:
        """The same object, as an event."""
        return self.error(problem, "")

    def models(self, names: Sequence[str]) -> JsonObject:
        """The list of model objects."""
        data = [{"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "penstock"} for name in names]
        return {"object": "list", "data": data}


def masked(token: str) -> str:
    """*token* with its middle blanked out; all of it if it is short."""
    return f"{token[:3]}{'*' * 8}{token[-4:]}" if len(token) > 12 else "*" * len(token)
