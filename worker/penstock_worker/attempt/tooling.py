"""What becomes of the tools that a model wants called.

1. What the journal has of a call is told again; nothing is called twice for it.
2. A name that the task does not offer, arguments that do not fit, and one call too many are answered with an error;
   nothing is called.
3. A tool that changes something is first written down as begun. Where the job has begun it before with equal
   arguments, in whatever attempt or run, it is not called: its result is told again, or that its end is not known.
4. What came of it is written down, and told as progress: the tool's name, a code and the time, no argument.

Calls that only read run at the same time; if one of an answer's calls changes something, one after the other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from penstock_worker import crash_points
from penstock_worker.attempt.attempt import Attempt
from penstock_worker.attempt.calling import NotCalled
from penstock_worker.attempt.journal import CallEntry
from penstock_worker.attempt.store import AttemptStore
from penstock_worker.llm.port import Answer, CallRequest, StopReason, ToolCall, Turn
from penstock_worker.tools.definition import Tool, ToolContext
from penstock_worker.tools.running import Checked, ToolAnswer, ToolRunner, check, refused, unknown_end

OUTCOME_UNKNOWN = "tool_outcome_unknown"
"""The reason why a result is suspect when nobody knows whether a tool took effect."""

_CALLED = (StopReason.TOOL_CALLS, StopReason.COMPLETE)
"""Some servers call a tool and say ``stop``."""


class Round(NamedTuple):
    """What the model is told of one answer's calls."""

    turns: tuple[Turn, ...]
    doubts: tuple[str, ...] = ()


def wants_tools(request: CallRequest, answer: Answer) -> bool:
    """Whether *answer* is no result yet, for it wants tools called."""
    return bool(request.tools and answer.tool_calls and answer.stop in _CALLED)


def rounds_of(request: CallRequest) -> int:
    """How many answers with calls *request* tells of."""
    return sum(bool(turn.calls) for turn in request.turns)


@dataclass(frozen=True, slots=True)
class Toolbox:
    """Answers the calls of tools, for attempts."""

    store: AttemptStore
    runner: ToolRunner

    async def answer(self, attempt: Attempt, entry: CallEntry, answer: Answer, made: int) -> Round:
        """What is told of all calls in *answer*, which is the end of *entry*; *made* calls were before it.

        Raises NotCalled when the lease is lost.
        """
        offered = {tool.name: tool for tool in attempt.task.offered()}
        calls = [
            _Call(attempt, entry.id, number, call, offered.get(call.name), made + number < attempt.task.tool_calls)
            for number, call in enumerate(answer.tool_calls)
        ]
        told = await self._all(calls)
        said = Turn("assistant", answer.text, answer.tool_calls, carry=answer.carry)
        results = [
            Turn("tool", each.text, call_id=call.wanted.id, failed=each.failed)
            for call, each in zip(calls, told, strict=True)
        ]
        unknown = any(each.code == "outcome_unknown" for each in told)
        return Round((said, *results), (OUTCOME_UNKNOWN,) if unknown else ())

    async def _all(self, calls: Sequence[_Call]) -> list[ToolAnswer]:
        if any(call.changes for call in calls):
            return [await self._one(call) for call in calls]
        return await asyncio.gather(*map(self._one, calls))

    async def _one(self, call: _Call) -> ToolAnswer:
        kept = call.kept()
        if kept is not None:
            return kept
        answer = await self._fresh(call)
        crash_points.reach("tool.post")
        return await self._note(call, answer)

    async def _fresh(self, call: _Call) -> ToolAnswer:
        tool, checked = call.tool, call.checked()
        if isinstance(checked, ToolAnswer) or tool is None:
            return checked if isinstance(checked, ToolAnswer) else call.unknown()
        context = ToolContext(call.attempt.job_id, call.attempt.request.tenant, checked.digest)
        if not tool.read_only and not await self._begin(call, checked):
            return call.begun_before(checked)
        deadline = call.attempt.deadline
        left_s = None if deadline is None else max(0.001, deadline - time.monotonic())
        return await self.runner.run(tool, checked.value, context, left_s)

    async def _begin(self, call: _Call, checked: Checked) -> bool:
        """Write down that it is begun; False when it was before, in this job, with equal arguments."""
        if checked.mark in call.attempt.journal.facts:
            return False
        told = await self._write(call, checked.mark, {"at": call.field, "tool": call.wanted.name}, fenced=True)
        crash_points.reach("tool.pre")
        return told is None

    async def _note(self, call: _Call, answer: ToolAnswer) -> ToolAnswer:
        about = {"tool": call.wanted.name[:64], "code": answer.code, "ms": answer.ms}
        event = {"stage": "tool", "call": call.call_id, **about}
        before = await self._write(call, call.field, {**about, "text": answer.text}, event=event)
        return answer if before is None else _answer_from(before)

    async def _write(self, call: _Call, name: str, fact: dict[str, Any], **options: Any) -> dict[str, Any] | None:
        """Write a fact down; what stood there before, and stays, else None. Raises NotCalled when the lease is lost."""
        attempt = call.attempt
        before = await self.store.note(attempt.lease, attempt.run, name, fact, **options)
        if before is False:
            raise NotCalled("lost")
        attempt.journal.facts[name] = orjson.dumps(fact if before is None else before)
        return before  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class _Call:
    """One call that the model wants made, and where the journal has what came of it."""

    attempt: Attempt
    call_id: str
    number: int
    wanted: ToolCall
    tool: Tool | None
    """None: the task does not offer it."""
    within: bool
    """Whether it is one of those that may be made."""

    @property
    def field(self) -> str:
        return f"{self.call_id}:tool:{self.number}"

    @property
    def changes(self) -> bool:
        return self.tool is not None and not self.tool.read_only

    def kept(self) -> ToolAnswer | None:
        """What was told of it before a crash; None when nothing was."""
        text = self.attempt.journal.facts.get(self.field)
        return None if text is None else _answer_from(orjson.loads(text))

    def checked(self) -> Checked | ToolAnswer:
        if self.tool is None:
            return self.unknown()
        if not self.within:
            return refused("too_many_calls", "No more tools may be called. Answer with what is known.")
        return check(self.tool, self.wanted.arguments)

    def unknown(self) -> ToolAnswer:
        known = ", ".join(tool.name for tool in self.attempt.task.offered())
        return refused("unknown_tool", f"There is no tool {self.wanted.name[:64]!r}. There are: {known}.")

    def begun_before(self, checked: Checked) -> ToolAnswer:
        """What came of the same call, which this job began before."""
        facts = self.attempt.journal.facts
        ended = facts.get(orjson.loads(facts[checked.mark])["at"])
        return unknown_end() if ended is None else _answer_from(orjson.loads(ended))


def _answer_from(fact: dict[str, Any]) -> ToolAnswer:
    return ToolAnswer(fact["code"], fact["text"], fact["ms"])
