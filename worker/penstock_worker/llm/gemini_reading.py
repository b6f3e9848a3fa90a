"""What Gemini answers: documents of one shape, whole or in a stream, and errors with the wait in their details.

A blocked prompt is a 200 without candidates. A stream has no end marker but the finish reason of its last text;
documents may follow it with nothing but usage, so that the stream is read to its end. Usage is cumulative.
"""

import re
from collections.abc import Mapping
from typing import Any

from penstock_worker.llm.classify import Clue, error_of, lower, of_response, words
from penstock_worker.llm.errors import BadResponseError, CallError
from penstock_worker.llm.family import Reply
from penstock_worker.llm.port import StopReason
from penstock_worker.llm.retry_after import MAX_WAIT_S
from penstock_worker.llm.streaming import Accumulator
from penstock_worker.llm.wire import mapping, objects, sound, text_of

_FILTERED = ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "IMAGE_RECITATION")
_STOP_REASONS = {
    "STOP": StopReason.COMPLETE,
    "MAX_TOKENS": StopReason.LENGTH,
    "MALFORMED_FUNCTION_CALL": StopReason.TOOL_CALLS,
    "UNEXPECTED_TOOL_CALL": StopReason.TOOL_CALLS,
    "TOO_MANY_TOOL_CALLS": StopReason.TOOL_CALLS,
    **dict.fromkeys(_FILTERED, StopReason.CONTENT_FILTER),
}
_DELAY = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")


def read_document(top: Mapping[str, Any]) -> Reply:
    """Read a whole answer. Raises BadResponseError when there is neither a candidate nor a blocked prompt."""
    candidate, blocked = _candidate(top), _blocked(top)
    if candidate is None and not blocked:
        raise BadResponseError(detail="no candidates")
    usage = top.get("usageMetadata")
    return Reply(
        text=sound(_text(candidate)),
        stop=StopReason.CONTENT_FILTER if candidate is None else _stop(candidate),
        response_id=text_of(top.get("responseId")),
        model=text_of(top.get("modelVersion")),
        service_tier=_tier(mapping(usage)),
        raw_usage=usage if isinstance(usage, dict) else None,
    )


class CandidateAccumulator(Accumulator):
    """Takes one document after the other."""

    def __init__(self, *, max_text_bytes: int) -> None:
        super().__init__(max_text_bytes=max_text_bytes)
        self._stop: StopReason | None = None
        self._called = False

    def _take(self, name: str, document: dict[str, Any]) -> str | None:
        if document.get("error"):
            raise classify_object(document["error"])
        usage = document.get("usageMetadata")
        if isinstance(usage, dict):
            self.raw_usage = usage
            self._note("service_tier", _tier(usage))
        self._note("id", document.get("responseId"))
        self._note("model", document.get("modelVersion"))
        if _blocked(document):
            self._stop = StopReason.CONTENT_FILTER
        candidate = _candidate(document)
        return None if candidate is None else self._piece(candidate)

    def _piece(self, candidate: Mapping[str, Any]) -> str | None:
        text = _text(candidate)
        self._called = self._called or _calls(candidate)
        if text:
            self._add(text)
        if candidate.get("finishReason") is not None:
            self._stop = StopReason.TOOL_CALLS if self._called else _stop(candidate)
        elif text:
            self._stop = None  # older models give a finish reason with each piece: only the last one's counts
        return text or ("" if _parts(candidate) else None)

    def _is_whole(self) -> bool:
        return self._stop is not None

    def _reply(self) -> Reply:
        return self._made(self._stop or StopReason.UNKNOWN)


def classify(status: int, body: bytes) -> CallError:
    """Make the error for a response whose status is not 200."""
    return of_response(status, body, lambda top, code: classify_object(top.get("error", top), status=code), listed=True)


def classify_object(error: object, *, status: int | None = None) -> CallError:
    """Make the error for an error object, with the response's *status*, or None for one inside a 200."""
    fields = mapping(error)
    details = objects(fields.get("details"))
    code = fields.get("code")
    effective = status or (code if isinstance(code, int) and 400 <= code < 600 else None)
    daily = "insufficient_quota" if _is_daily(details) else ""
    names = (daily, *(lower(detail.get("reason")) for detail in details), lower(fields.get("status")))
    found = error_of(Clue(names, _message(error, details), effective))
    found.retry_after_s = _retry_delay_s(details)
    return found


def _is_daily(details: list[Mapping[str, Any]]) -> bool:
    """Whether a quota of the day is used up; the wait that is named beside it does not help then."""
    violations = (row for detail in details for row in objects(detail.get("violations")))
    return any("PerDay" in str(row.get("quotaId", "")) for row in violations)


def _message(error: object, details: list[Mapping[str, Any]]) -> str:
    violations = (row for detail in details for row in objects(detail.get("fieldViolations")))
    said = mapping(error).get("message") if mapping(error) else error
    return " ".join([words(said), *(words(row.get("description")) for row in violations)])


def _retry_delay_s(details: list[Mapping[str, Any]]) -> float | None:
    for detail in details:
        delay = detail.get("retryDelay")
        match = _DELAY.fullmatch(delay) if isinstance(delay, str) else None
        if match:
            return min(float(match[1]), MAX_WAIT_S)
    return None


def _candidate(top: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return next((row for row in objects(top.get("candidates")) if row.get("index", 0) == 0), None)


def _blocked(top: Mapping[str, Any]) -> bool:
    return bool(mapping(top.get("promptFeedback")).get("blockReason"))


def _parts(candidate: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    return objects(mapping((candidate or {}).get("content")).get("parts"))


def _text(candidate: Mapping[str, Any] | None) -> str:
    """The visible text; thoughts are parts of their own."""
    visible = (part.get("text") for part in _parts(candidate) if not part.get("thought"))
    return "".join(text for text in visible if isinstance(text, str))


def _calls(candidate: Mapping[str, Any]) -> bool:
    return any("functionCall" in part for part in _parts(candidate))


def _stop(candidate: Mapping[str, Any]) -> StopReason:
    reason = candidate.get("finishReason")
    known = _STOP_REASONS.get(reason, StopReason.UNKNOWN) if isinstance(reason, str) else StopReason.UNKNOWN
    return StopReason.TOOL_CALLS if known is StopReason.COMPLETE and _calls(candidate) else known


def _tier(usage: Mapping[str, Any]) -> str | None:
    tier = text_of(usage.get("serviceTier"))
    return tier.lower() if tier else None
