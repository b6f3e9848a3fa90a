"""The response object of OpenAI Responses: the same whole, and in the last event of a stream."""

from collections.abc import Mapping
from typing import Any

from penstock_worker.llm.errors import BadResponseError, ServerFailedError
from penstock_worker.llm.family import Reply
from penstock_worker.llm.openai_errors import classify_object
from penstock_worker.llm.openai_tools import responses_calls
from penstock_worker.llm.port import StopReason
from penstock_worker.llm.wire import mapping, objects, sound, text_of

_INCOMPLETE = {
    "max_output_tokens": StopReason.LENGTH,
    "max_tokens": StopReason.LENGTH,
    "content_filter": StopReason.CONTENT_FILTER,
}


def read_response(response: Mapping[str, Any]) -> Reply:
    """Read a response that has ended. Raises CallError for one that failed, was cancelled, or goes on."""
    status = response.get("status")
    if status == "failed" or response.get("error"):
        raise classify_object(response.get("error") or "failed")
    if status == "cancelled":
        raise ServerFailedError(detail="status cancelled")
    if status not in ("completed", "incomplete") or not isinstance(response.get("output"), list):
        raise BadResponseError(detail=f"status {text_of(status)}, or no output")
    if status == "completed" and not response["output"]:
        raise BadResponseError(detail="completed, and no output")
    usage = response.get("usage")
    refusal = text_of(joined(response, "refusal", "refusal"), 256)
    return Reply(
        text=sound(joined(response, "output_text", "text")),
        stop=StopReason.REFUSAL if refusal else _stop(response),
        refusal=refusal,
        response_id=text_of(response.get("id")),
        model=text_of(response.get("model")),
        service_tier=text_of(response.get("service_tier")),
        raw_usage=usage if isinstance(usage, dict) else None,
        tool_calls=responses_calls(response),
    )


def joined(response: Mapping[str, Any], kind: str, field: str) -> str:
    """The parts of *kind* in all messages of the output, as one text."""
    items = (item for item in objects(response.get("output")) if item.get("type") == "message")
    parts = (part for item in items for part in objects(item.get("content")) if part.get("type") == kind)
    return "".join(text for part in parts if isinstance(text := part.get(field), str))


def _stop(response: Mapping[str, Any]) -> StopReason:
    if response.get("status") == "incomplete":
        reason = mapping(response.get("incomplete_details")).get("reason")
        return _INCOMPLETE.get(reason, StopReason.UNKNOWN) if isinstance(reason, str) else StopReason.UNKNOWN
    kinds = {str(item.get("type")) for item in objects(response.get("output"))}
    if "message" not in kinds and any(kind.endswith("_call") for kind in kinds):
        return StopReason.TOOL_CALLS
    return StopReason.COMPLETE
