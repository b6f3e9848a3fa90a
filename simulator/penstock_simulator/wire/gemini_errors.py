"""Gemini's error documents and their details."""

from __future__ import annotations

from typing import Any

from penstock_simulator.ask import JsonObject, Problem
from penstock_simulator.wire.gemini_words import BLOCKED
from penstock_simulator.wire.words import wait_s

_RPC = "type.googleapis.com/google.rpc."
_METRIC = "generativelanguage.googleapis.com/generate_content_free_tier_requests"


def error_document(problem: Problem) -> JsonObject:
    """The document of *problem*: an error, or for a blocked prompt an answer without candidates."""
    if problem.type == BLOCKED:
        usage = {"promptTokenCount": 0, "totalTokenCount": 0}
        return {"promptFeedback": {"blockReason": BLOCKED}, "usageMetadata": usage, "modelVersion": _model(problem)}
    error: JsonObject = {"code": problem.status, "message": problem.message, "status": problem.type or "INTERNAL"}
    details = _details(problem)
    return {"error": {**error, "details": details} if details else error}


def _details(problem: Problem) -> list[JsonObject]:
    details: list[JsonObject] = []
    violations = problem.facts.get("violations")
    if violations:
        fields = [{"field": place, "description": text} for place, text in violations]
        details.append({"@type": f"{_RPC}BadRequest", "fieldViolations": fields})
    if problem.code == "API_KEY_INVALID":
        service = {"service": "generativelanguage.googleapis.com"}
        domain = {"reason": problem.code, "domain": "googleapis.com", "metadata": service}
        details.append({"@type": f"{_RPC}ErrorInfo", **domain})
    if problem.kind in {"rate_limit", "quota"}:
        details.append({"@type": f"{_RPC}QuotaFailure", "violations": [_violation(problem)]})
    wait = _told_wait_s(problem)
    if wait is not None:
        details.append({"@type": f"{_RPC}RetryInfo", "retryDelay": f"{wait:g}s"})
    return details


def _violation(problem: Problem) -> JsonObject:
    period = "Day" if problem.kind == "quota" else "Minute"
    return {
        "quotaMetric": _METRIC,
        "quotaId": f"GenerateRequestsPer{period}PerProjectPerModel-FreeTier",
        "quotaDimensions": {"location": "global", "model": _model(problem)},
        "quotaValue": str(problem.facts.get("limit", 50)),
    }


def _told_wait_s(problem: Problem) -> float | None:
    told: dict[str, Any] = problem.facts.get("told") or {}
    plain = Problem(problem.status, "", headers=told, facts=problem.facts)
    wait = wait_s(plain)
    return None if wait is None else round(wait + 0.0005, 3) if "wait_s" in problem.facts else wait


def _model(problem: Problem) -> str:
    return str(problem.facts.get("model", "gemini"))
