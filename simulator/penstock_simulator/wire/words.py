"""A provider's words for what can go wrong: status, type, code and message of its error answers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from penstock_simulator.ask import Kind, Problem
from penstock_simulator.rate import Standing, duration


@dataclass(frozen=True, slots=True)
class Words:
    """One error of a provider; `{…}` in the message stands for a fact of the problem."""

    status: int
    message: str
    type: str = ""
    code: str | None = None
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """All errors of a provider."""

    kinds: Mapping[Kind, Words]
    statuses: Mapping[int, Words]
    other: Words
    """For a status that is not in the table; its own status does not matter."""

    def put(self, problem: Problem) -> Problem:
        """*problem* with the words that it lacks; one that has all comes back as it is."""
        if problem.kind is None:
            return problem
        words = self.kinds[problem.kind] if problem.kind != "status" else self._of_status(problem.status)
        return replace(
            problem,
            status=problem.status or words.status,
            message=problem.message or words.message.format_map(_facts(problem)),
            type=problem.type or words.type,
            code=problem.code or words.code,
            param=problem.param or words.param,
        )

    def _of_status(self, status: int) -> Words:
        return self.statuses.get(status, self.other)


def wait_s(problem: Problem) -> float | None:
    """How long *problem* says to wait; None when it says nothing that is a number."""
    known = problem.facts.get("wait_s")
    if known is not None:
        return float(known)
    milliseconds, seconds = problem.headers.get("retry-after-ms"), problem.headers.get("retry-after")
    try:
        return float(milliseconds) / 1000 if milliseconds else float(seconds or "")
    except ValueError:
        return None


def retry_after_headers(problem: Problem) -> dict[str, str]:
    """The usual headers of a limit that was really reached; none for a fault, which brings its own."""
    if "wait_s" not in problem.facts:
        return {}
    wait_ms = max(int(float(problem.facts["wait_s"]) * 1000) + 1, 1)
    return {"retry-after": str(-(-wait_ms // 1000)), "retry-after-ms": str(wait_ms)}


def standings(problem: Problem) -> tuple[Standing, ...]:
    """The limits to tell of beside *problem*: those it has, or for a played 429 a limit that is used up."""
    known: tuple[Standing, ...] | None = problem.facts.get("standings")
    if known is not None:
        return known
    return (Standing("requests", 500, 0, wait_s(problem) or 1.0, time.time()),) if problem.kind == "rate_limit" else ()


def _facts(problem: Problem) -> dict[str, Any]:
    wait = wait_s(problem)
    said = {"model": "the model", "about": "requests", "limit": 500, "prompt": 0, "cap": 0, **problem.facts}
    return {**said, "wait": duration(1.0 if wait is None else wait), "wait_s": max(round(wait or 1), 1)}
