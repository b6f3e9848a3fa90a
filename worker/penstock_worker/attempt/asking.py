"""One target, asked: once, and once more when there is a remedy for what was wrong with its answer."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from penstock_schemas.results import MadeBy
from penstock_worker.attempt.attempt import Attempt
from penstock_worker.attempt.calling import Caller, Purpose
from penstock_worker.attempt.deciding import Trouble, trouble_closed, trouble_of
from penstock_worker.attempt.deltas import Deltas
from penstock_worker.attempt.journal import CallEntry
from penstock_worker.attempt.judging import Accepted, Rejected, judge
from penstock_worker.attempt.outcome import Succeeded
from penstock_worker.attempt.reading import Reader
from penstock_worker.attempt.tooling import Toolbox, rounds_of, wants_tools
from penstock_worker.llm.errors import CallError, SchemaUnsupportedError
from penstock_worker.llm.port import Answer, CallRequest, SchemaMode, Target, Turn
from penstock_worker.llm.prefix import LEAST_CHARS
from penstock_worker.reuse.warming import Warming
from penstock_worker.routing.closed import TargetClosed
from penstock_worker.tools.running import ToolRunner

EXCERPT_CHARS = 1_000
"""How much of a rejected answer is shown to the model again; a prompt never grows with its failures."""

LARGER_CAP = 2
"""By how much the output cap grows, once, after a cut-off."""

_REJECTED = "The model's answer could not be used."


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks targets and judges what they answer."""

    caller: Caller
    reader: Reader
    tools: ToolRunner = field(default_factory=ToolRunner)
    warming: Warming | None = None
    """None: calls go as they come."""

    async def ask(self, attempt: Attempt, target: Target, request: CallRequest) -> Succeeded | Trouble:
        """Ask one target, and use the one remedy there may be. Raises NotCalled and BudgetSpent."""
        purpose: Purpose = "ask"
        remedies: set[str] = set()
        doubts: tuple[str, ...] = ()
        told, request = request.stream, streamed(request, target)
        while True:
            try:
                entry, answer = await self._call(attempt, target, request, purpose, told=told)
            except TargetClosed as closed:
                return trouble_closed(closed)
            if isinstance(answer, SchemaUnsupportedError) and "weaker_schema_mode" not in remedies:
                remedies.add("weaker_schema_mode")
                request, purpose = replace(request, schema_mode=SchemaMode.PROMPT), "weaker_schema_mode"
                continue
            if isinstance(answer, CallError):
                return trouble_of(answer, probe=entry.probe)
            if wants_tools(request, answer):
                if request.tool_choice == "none":
                    return Trouble("too_many_tool_rounds", _REJECTED, retry=False, next_target=True)
                request, found = await self._tools_called(attempt, entry, answer, request)
                purpose, doubts = "tool_results", (*doubts, *found)
                continue
            verdict = await judge(attempt, answer, request_schema(request), self.reader)
            if isinstance(verdict, Accepted):
                verdict = verdict.doubted(doubts) if doubts else verdict
                return Succeeded(verdict.output, _made_by(attempt, entry, answer), verdict.quality, verdict.reasons)
            if verdict.remedy is None or remedies & {"reask", "larger_cap"}:
                return Trouble(verdict.code, _REJECTED, verdict.retry, verdict.next_target)
            remedies.add(verdict.remedy)
            request, purpose = remedied(request, verdict, answer), verdict.remedy

    async def kept(self, step: Attempt) -> Succeeded | None:
        """What an earlier attempt of the run was answered for this step, if it is good."""
        past = await self.caller.kept(step)
        if past is None:
            return None
        entry, answer = past
        verdict = await judge(step, answer, step.task.schema(step.asked), self.reader)
        if not isinstance(verdict, Accepted):
            return None
        return Succeeded(verdict.output, _made_by(step, entry, answer), verdict.quality, verdict.reasons)

    async def _tools_called(
        self, attempt: Attempt, entry: CallEntry, answer: Answer, request: CallRequest
    ) -> tuple[CallRequest, tuple[str, ...]]:
        """The request that tells what came of the tools; in its last round it forbids more of them."""
        made = sum(len(turn.calls) for turn in request.turns)
        told = await Toolbox(self.caller.store, self.tools).answer(attempt, entry, answer, made)
        request = replace(request, turns=(*request.turns, *told.turns))
        over = rounds_of(request) >= attempt.task.tool_rounds
        return replace(request, tool_choice="none") if over else request, told.doubts

    async def _call(
        self, attempt: Attempt, target: Target, request: CallRequest, purpose: Purpose, *, told: bool
    ) -> tuple[CallEntry, Answer | CallError]:
        """Make a call, in its turn where it has a long beginning in common with others."""
        if self.warming is None or len(request.system) + request.prefix_chars < LEAST_CHARS:
            return await self._made(attempt, target, request, purpose, told=told)
        async with self.warming.turn(target, request) as turn:
            entry, answer = await self._made(attempt, target, request, purpose, told=told)
            turn.warmed = isinstance(answer, Answer)
        return entry, answer

    async def _made(
        self, attempt: Attempt, target: Target, request: CallRequest, purpose: Purpose, *, told: bool
    ) -> tuple[CallEntry, Answer | CallError]:
        """*told*: whether the pieces of the answer are published."""
        if not told:
            return await self.caller.call(attempt, target, request, purpose)
        async with Deltas(self.caller.store, attempt) as deltas:
            return await self.caller.call(attempt, target, request, purpose, deltas.add)


def first_request(attempt: Attempt) -> CallRequest:
    """What a target is asked first."""
    prompt = attempt.route.prompt or attempt.task.prompt
    task, asked = attempt.task, attempt.asked
    text, variables = task.text(asked), task.variables(asked)
    user = prompt.render(text, variables)
    shared = len(prompt.system) + len(user) - len(text)
    return CallRequest(
        system=prompt.system,
        user=user,
        prefix_chars=len(prompt.prefix(variables)) if shared >= LEAST_CHARS else 0,
        max_output_tokens=attempt.route.max_output_tokens,
        schema=task.schema(asked),
        schema_name=task.name,
        temperature=attempt.route.temperature,
        stream=attempt.request.stream,
        tools=tuple(tool.spec for tool in task.offered()),
        attempt_id=f"{attempt.job_id}:{attempt.journal.next_id()}",
    )


def streamed(request: CallRequest, target: Target) -> CallRequest:
    """The same, streamed where its answer may be long, though nobody listens: one that has stopped to say anything is
    then cut, and not paid for to its cap."""
    least = target.stream_from_tokens
    if request.stream or request.tools or least is None or request.max_output_tokens < least:
        return request
    return replace(request, stream=True)


def request_schema(request: CallRequest) -> dict[str, Any]:
    """The schema that an answer to *request* must satisfy."""
    return dict(request.schema or {})


def remedied(request: CallRequest, verdict: Rejected, answer: Answer) -> CallRequest:
    """The same request, changed in the one way that may help."""
    if verdict.remedy == "larger_cap":
        return replace(request, max_output_tokens=request.max_output_tokens * LARGER_CAP)
    hint = f"That answer cannot be used: {verdict.hint} Answer again, with the JSON object alone."
    return replace(request, turns=(*request.turns, Turn("assistant", answer.text[:EXCERPT_CHARS]), Turn("user", hint)))


def _made_by(attempt: Attempt, entry: CallEntry, answer: Answer) -> MadeBy:
    intent, prompt = entry.intent, attempt.route.prompt or attempt.task.prompt
    digest = prompt.short_digest if prompt.name == intent["prompt"] else None
    return MadeBy(
        kind="model", name=intent["target"], model=answer.model, prompt=intent["prompt"], prompt_digest=digest
    )
