"""What a model's answer is worth: stop reason, JSON, schema, no word of the prompt, then the task's own checks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from penstock_schemas.results import Quality
from penstock_worker.attempt.attempt import Attempt
from penstock_worker.attempt.reading import Invalid, Reader, Valid
from penstock_worker.llm.port import Answer, StopReason
from penstock_worker.prompts.leaks import leaked
from penstock_worker.tasks.definition import Unusable

Remedy = Literal["reask", "larger_cap"]

INLINE_CHARS = 32 * 1024
"""What a longer answer says is examined in a thread, so that the event loop goes on meanwhile."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """An answer that may become the result."""

    output: Any
    quality: Quality
    reasons: tuple[str, ...] = ()

    def doubted(self, why: tuple[str, ...]) -> Accepted:
        """The same, suspect for further reasons."""
        return Accepted(self.output, Quality.SUSPECT, tuple(dict.fromkeys((*self.reasons, *why))))


@dataclass(frozen=True, slots=True)
class Rejected:
    """An answer that may not."""

    code: str
    remedy: Remedy | None = None
    """What may help with the same target, once; None: nothing."""
    hint: str = ""
    """For a re-ask: what was wrong, bounded, in words for the model."""
    next_target: bool = True
    retry: bool = True
    """Whether a later attempt may go better."""


_STOPPED: Mapping[StopReason, Rejected] = {
    StopReason.LENGTH: Rejected("cut_off", remedy="larger_cap"),
    StopReason.REFUSAL: Rejected("refused", next_target=False, retry=False),
    StopReason.CONTENT_FILTER: Rejected("content_filtered", next_target=False, retry=False),
    StopReason.TOOL_CALLS: Rejected("unexpected_tool_call"),
    StopReason.UNKNOWN: Rejected("unknown_stop_reason"),
}


async def judge(attempt: Attempt, answer: Answer, schema: dict[str, Any], reader: Reader) -> Accepted | Rejected:
    """Decide whether *answer* is a result for what was asked."""
    if (stopped := _STOPPED.get(answer.stop)) is not None:
        return stopped
    if not answer.text.strip():
        return Rejected("empty_answer", remedy="reask", hint="The answer was empty.")
    reading = await reader.read(answer.text, schema)
    if isinstance(reading, Invalid):
        return Rejected(reading.code, remedy="reask" if reading.hint else None, hint=reading.hint)
    if len(answer.text) > INLINE_CHARS:
        return await asyncio.to_thread(_examine, attempt, reading)
    return _examine(attempt, reading)


def _examine(attempt: Attempt, reading: Valid) -> Accepted | Rejected:
    """The checks of what an answer says; pure, and linear in its length or worse."""
    if leaked(attempt.route.prompt or attempt.task.prompt, reading.value, lambda: _known(attempt)):
        return Rejected("prompt_leaked", remedy="reask", hint="It repeats its instructions.")
    try:
        doubts = tuple(attempt.task.check(attempt.asked, reading.value))
    except Unusable as error:
        return Rejected("unusable_answer", remedy="reask", hint=str(error))
    if doubts:
        return Accepted(reading.value, Quality.SUSPECT, (*reading.repairs, *doubts))
    if reading.repairs:
        return Accepted(reading.value, Quality.REPAIRED, reading.repairs)
    return Accepted(reading.value, Quality.OK)


def _known(attempt: Attempt) -> str:
    """What the job itself holds, and an answer may therefore repeat."""
    task, asked = attempt.task, attempt.asked
    schema = orjson.dumps(task.schema(asked)).decode()
    return "\n".join([task.text(asked), *task.variables(asked).values(), schema])
