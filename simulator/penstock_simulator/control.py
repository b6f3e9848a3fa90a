"""What generates nothing: the endpoints under `/_simulator`, stored responses, lists of models.

Those under `/_simulator` are for tests and people, not part of any provider's API:

| request | answer |
|---|---|
| `GET /_simulator/health` | `{"ok": true}` |
| `GET /_simulator/bill` | `{"calls": [...]}`: the calls in memory |
| `GET /_simulator/stats` | the counters |
| `GET /_simulator/script` | the rules, with how often each was looked at and played |
| `POST /_simulator/script` | sets the rules: a list, or `{"rules": [...]}` |
| `GET /_simulator/faults` | the fault table |
| `POST /_simulator/reset` | forgets rules, calls and counters |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import orjson

from penstock_simulator.ask import Problem, RefusedError, Request
from penstock_simulator.bill import call_to_json
from penstock_simulator.faults import FAULTS
from penstock_simulator.provider import Provider
from penstock_simulator.script import Rule
from penstock_simulator.wire import openai_kept

PREFIX = "/_simulator/"


class Control:
    """Answers what is not a request for a generation."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._routes: dict[tuple[str, str], Callable[[Request], Any]] = {
            ("GET", "health"): lambda _request: {"ok": True},
            ("GET", "bill"): self._bill,
            ("GET", "stats"): lambda _request: provider.stats.as_json(),
            ("GET", "script"): lambda _request: {"rules": [_rule_row(rule) for rule in provider.script.rules]},
            ("POST", "script"): self._set_script,
            ("GET", "faults"): lambda _request: fault_rows(),
            ("POST", "reset"): self._reset,
        }

    def __call__(self, request: Request) -> tuple[int, bytes]:
        """Status and JSON for *request*: 404 for an unknown path, 400 for a bad script."""
        try:
            if request.path.startswith(PREFIX):
                return self._own(request)
            return self._others(request)
        except RefusedError as refused:
            wire = self._provider.wire_like(request)
            problem = wire.worded(refused.problem)
            return problem.status, orjson.dumps(wire.error(problem, ""))

    def _own(self, request: Request) -> tuple[int, bytes]:
        route = self._routes.get((request.method, request.path.removeprefix(PREFIX).rstrip("/")))
        if route is None:
            raise RefusedError(Problem(404, f"no control endpoint {request.method} {request.path}"))
        try:
            return 200, orjson.dumps(route(request), default=float)  # durations are a kind of float
        except ValueError as error:
            raise RefusedError(Problem(400, f"simulator: {error}", type="simulator_error")) from error

    def _others(self, request: Request) -> tuple[int, bytes]:
        """What belongs to a provider's API and generates nothing: kept answers, lists of models."""
        api_key = self._provider.settings.api_key
        kept = openai_kept.answer(request, self._provider.stored, api_key)
        if kept is not None:
            return 200, orjson.dumps(kept)
        for wire in self._provider.wires:
            if request.method == "GET" and wire.lists(request):
                wire.authorize(request, api_key)
                names = self._provider.settings.models or wire.known_models
                return 200, orjson.dumps(wire.models(names))
        message = f"Invalid URL ({request.method} {request.path})"
        raise RefusedError(Problem(404, message, code="unknown_url"))

    def _bill(self, _request: Request) -> Any:
        return {"calls": [call_to_json(call) for call in self._provider.bill.calls()]}

    def _set_script(self, request: Request) -> Any:
        self._provider.script.set(orjson.loads(request.body), self._provider.settings.clock())
        return {"rules": len(self._provider.script.rules)}

    def _reset(self, _request: Request) -> Any:
        self._provider.reset()
        return {"ok": True}


def fault_rows() -> list[dict[str, Any]]:
    """The fault table as plain objects."""
    return [
        {
            "name": kind.name,
            "stage": kind.stage.value,
            "billed": kind.billed,
            "params": dict(kind.params),
            "doc": kind.doc,
        }
        for kind in FAULTS.values()
    ]


def _rule_row(rule: Rule) -> dict[str, Any]:
    match = {key: value for key, value in asdict(rule.match).items() if value is not None}
    if "nth" in match:
        match["nth"] = sorted(match["nth"])
    return {
        "match": match,
        "faults": [{"fault": fault.name, **fault.params.as_dict()} for fault in rule.faults],
        "one_of": [[fault.name for fault in faults] for faults in rule.one_of],
        "answer": rule.answer,
        "tool_calls": [asdict(call) for call in rule.tool_calls],
        "times": rule.times,
        "seen": rule.seen,
        "hits": rule.hits,
    }
