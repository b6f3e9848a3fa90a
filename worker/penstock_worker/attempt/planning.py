"""Before a text is worked on in parts: how large they may be, and whether the job can pay for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from penstock_schemas.errors import CorruptRecordError
from penstock_schemas.results import JobFailure
from penstock_worker.attempt.attempt import CALLS_PER_ATTEMPT, Attempt
from penstock_worker.attempt.calling import NotCalled
from penstock_worker.attempt.cutting import Plan, make_plan, most_calls, read_plan, slices
from penstock_worker.attempt.walking import Walker
from penstock_worker.documents.chunking import Chunk, size
from penstock_worker.llm.port import Target
from penstock_worker.routing.tokens import Extent, extent
from penstock_worker.tasks.parts import InParts, Part

_IN_THREAD_CHARS = 100_000
"""Longer texts are looked at in a thread, so that the jobs beside this one go on."""

_TOO_SMALL = JobFailure(
    code="input_too_long", message="The text is too long for one call, and the models' windows too small for its parts."
)
_NO_MONEY = {
    "over_budget": "The calls that the text needs might cost more than the job's limit leaves.",
    "unknown_price": "The job has a cost limit, and the price of the model is unknown.",
}


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans the work on one text."""

    walker: Walker
    attempt: Attempt
    in_parts: InParts[Any]

    async def plan(self) -> Plan | JobFailure:
        """The run's plan: the one that is kept, else one that is made and kept now.

        Raises NotCalled, and CorruptRecordError for what cannot be read.
        """
        attempt, text = self.attempt, self._text
        room = await asyncio.to_thread(self._room_bytes) if len(text) > _IN_THREAD_CHARS else self._room_bytes()
        plan = make_plan(attempt.route, text, room)
        if plan is None:
            return _TOO_SMALL
        kept = await self.walker.asker.caller.store.plan(attempt.lease, plan.as_json())
        if kept is None:
            raise NotCalled("lost")
        try:
            return read_plan(kept)
        except ValueError:
            raise CorruptRecordError(attempt.job_id, "its plan cannot be read") from None

    async def cut(self, plan: Plan) -> Sequence[Chunk]:
        """The chunks of the text."""
        text = self._text
        return await asyncio.to_thread(plan.cut, text) if len(text) > _IN_THREAD_CHARS else plan.cut(text)

    def affordable(self, plan: Plan, cut: Sequence[Chunk]) -> Attempt | JobFailure:
        """The attempt with the calls it needs, and on its route those targets that the job can pay for all of them.

        Once the first calls are made it goes on with what is left of its money.
        """
        attempt = self.attempt
        calls = most_calls(len(cut), joined=self.in_parts.joining is not None)
        attempt.step_calls = calls * CALLS_PER_ATTEMPT
        if not attempt.request.bounded:
            return attempt
        done = len({call.step for call in attempt.journal.of_run() if call.step and call.kind == "answered"})
        sent = Extent(plan.chunk_bytes + size(self._beside()), extent(self._text).kind)
        refused = {target.name: self._refused(target, sent, max(calls - done, 1)) for target in attempt.route.targets}
        payable = tuple(target for target in attempt.route.targets if refused[target.name] is None)
        if payable:
            return replace(attempt, route=replace(attempt.route, targets=payable))
        if done:
            return attempt
        code = "unknown_price" if "unknown_price" in refused.values() else "over_budget"
        return JobFailure(code=code, message=_NO_MONEY[code])

    def _refused(self, target: Target, sent: Extent, calls: int) -> str | None:
        """Why the job cannot pay for so many calls to *target*; None when it can.

        Before a call of a job with limits a token is reckoned for each byte; by then it is known what those before it
        took. So only calls at the same time are reckoned so here, and the others as the model has counted such texts.
        """
        tokens, strict = self.walker.tokens, min(self.attempt.route.chunks_at_once, calls)
        worst = [
            (strict, tokens.of_extent(target, sent, strict=True)),
            (calls - strict, tokens.of_extent(target, sent)),
        ]
        attempt, cap = self.attempt, self.attempt.route.max_output_tokens
        request, costing = attempt.request, self.walker.asker.caller.prices
        if request.max_total_tokens is not None:
            taken = sum(count * (input_tokens + cap) for count, input_tokens in worst)
            if attempt.taken_tokens() + taken > request.max_total_tokens:
                return "over_budget"
        if request.max_cost_nanousd is None:
            return None
        costs = [(count, costing.bound(target, input_tokens, cap).nanousd) for count, input_tokens in worst]
        if any(cost is None for _, cost in costs):
            return "unknown_price"
        most = sum(count * (cost or 0) for count, cost in costs)
        return "over_budget" if attempt.spent_nanousd() + most > request.max_cost_nanousd else None

    def _room_bytes(self) -> int | None:
        """What every target with a known window has room for beside the prompt; None when none is known."""
        rooms = [room for target in self.attempt.route.targets for room in self._rooms(target)]
        return min(rooms, default=None)

    def _rooms(self, target: Target) -> Iterator[int]:
        """For each piece of the text, what *target* has room for of such text; nothing where that is not known."""
        if target.context_window is None:
            return
        tokens, cap = self.walker.tokens, self.attempt.route.max_output_tokens
        other_tokens = tokens.tokens(target, self._beside())
        for piece in slices(self._text):
            room = tokens.room_bytes(target, piece, max_output_tokens=cap, other_tokens=other_tokens)
            if room is not None:
                yield room

    def _beside(self) -> str:
        """About what is sent with each part."""
        part = Part(999, 999, "", 0, 10_000)
        asked, prompt = self.attempt.asked, self.in_parts.part_prompt
        variables = self.in_parts.variables(asked, part)
        schema = orjson.dumps(self.in_parts.schema(asked)).decode()
        return "\n".join([prompt.system, prompt.user, *variables.values(), schema, " " * 200])

    @property
    def _text(self) -> str:
        return self.attempt.task.text(self.attempt.asked)
