"""The words of Chat Completions for why a model stopped."""

from penstock_worker.llm.errors import CallError, OverloadedError, ServerFailedError
from penstock_worker.llm.port import StopReason

_STOP_REASONS = {
    "stop": StopReason.COMPLETE,
    "eos": StopReason.COMPLETE,
    "eos_token": StopReason.COMPLETE,
    "stop_sequence": StopReason.COMPLETE,
    "end_turn": StopReason.COMPLETE,
    "length": StopReason.LENGTH,
    "max_tokens": StopReason.LENGTH,
    "model_length": StopReason.LENGTH,
    "content_filter": StopReason.CONTENT_FILTER,
    "tool_calls": StopReason.TOOL_CALLS,
    "function_call": StopReason.TOOL_CALLS,
}

_FAILED: dict[str, type[CallError]] = {
    "error": ServerFailedError,  # OpenRouter
    "abort": ServerFailedError,  # vLLM, SGLang
    "insufficient_system_resource": OverloadedError,  # DeepSeek
}


def stop_reason(word: object) -> StopReason:
    """Translate ``finish_reason``. Raises CallError for those that say the provider failed."""
    if not isinstance(word, str):
        return StopReason.UNKNOWN
    if word in _FAILED:
        raise _FAILED[word](detail=f"finish_reason {word}")
    return _STOP_REASONS.get(word, StopReason.UNKNOWN)
