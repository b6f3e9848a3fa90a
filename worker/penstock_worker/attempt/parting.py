"""A text that is too long for one call, worked on in parts.

    text ─► chunks ─┬─► a step each, several at a time ─┬─► merged, by the task's own rules ──────────────► answer
                    │   (kept when answered before)     └─► notes ─► too long for one call? condensed again
                    │                                                        └─► joined by a last step ───► answer
                    └─► one that gets no answer: no more are begun, those in flight are waited for;
                        the job comes again later and keeps what it has

1. Before the first call: what all steps can cost at most must be within the job's own limit.
2. Each step is a walk along the route of its own, with the guards, limits and budgets of every call; a few seconds are
   waited for a target that is closed. A chunk that turns out to be too long for every target is cut in two.
3. An attempt that brought the job further is not charged for a step that failed for the first time: a text of a hundred
   parts meets more failures than one of one part. Each step can be excused so once, so it comes to an end.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from penstock_schemas.errors import SchemaRejectedError
from penstock_schemas.results import JobFailure, MadeBy, Quality
from penstock_worker.attempt.attempt import Attempt
from penstock_worker.attempt.calling import NotCalled
from penstock_worker.attempt.cutting import LEAST_CHUNK_BYTES, Plan, most_calls, over_limit, packed
from penstock_worker.attempt.deciding import Trouble
from penstock_worker.attempt.outcome import Succeeded
from penstock_worker.attempt.planning import Planner
from penstock_worker.attempt.progress import Progress
from penstock_worker.attempt.reading import Invalid
from penstock_worker.attempt.stepping import Stepper, Unfinished, all_too_long, gravity
from penstock_worker.attempt.steps import StepTask, step_of
from penstock_worker.attempt.walking import Walk, Walker
from penstock_worker.documents.chunking import Chunk, chunks, size
from penstock_worker.tasks.definition import Unusable
from penstock_worker.tasks.parts import InParts, Part, PartAnswer

PASSES = 8
"""Times that notes are condensed at most; each makes them about three times shorter."""


def begun_in_parts(attempt: Attempt) -> bool:
    """Whether a text is worked on in parts without asking whether it fits: its route or its run says so."""
    limit = attempt.route.whole_bytes
    return attempt.journal.in_parts or (limit is not None and over_limit(limit, attempt.task.text(attempt.asked)))


def wants_parts(walk: Walk) -> bool:
    """Whether the text is too long for all targets of its walk, by what they said or by what is known of them."""
    if not walk.troubles:
        return begun_in_parts(walk.attempt)
    return walk.attempt.task.in_parts is not None and all_too_long(walk.troubles)


@dataclass(frozen=True, slots=True)
class Parting:
    """Works on texts in parts; one for all attempts of a process."""

    walker: Walker

    async def answer(self, attempt: Attempt) -> Succeeded | JobFailure | list[Trouble]:
        """The answer to a text that is too long; why there will be none; or what kept a step from getting one.

        Raises NotCalled, when no step is in flight any more; of ``leaving`` when its worker was told to stop.
        """
        in_parts = attempt.task.in_parts
        if in_parts is None:
            return _failure("input_too_long")
        try:
            planner = Planner(self.walker, attempt, in_parts)
            plan = await planner.plan()
            if isinstance(plan, JobFailure):
                return plan
            cut = await planner.cut(plan)
            job = planner.affordable(plan, cut)
            if isinstance(job, JobFailure):
                return job
            return replace(await _Work(Stepper(self.walker), job, plan, in_parts).answer(cut), chunks=len(cut))
        except Unfinished as unfinished:
            return unfinished.troubles
        except SchemaRejectedError:
            return _failure("schema_too_large")
        except Unusable:
            return _failure("parts_do_not_fit")


def _failure(code: str) -> JobFailure:
    return JobFailure(code=code, message=_MESSAGES[code])


_MESSAGES = {
    "input_too_long": "The text is too long for one call, and its task cannot be worked on in parts.",
    "schema_too_large": "The text is too long for one call, and its schema too large to be asked for in parts.",
    "parts_do_not_fit": "What was found in the parts of the text does not make an answer to what was asked.",
}


@dataclass(slots=True)
class _Work:
    """The steps of one attempt."""

    stepper: Stepper
    job: Attempt
    plan: Plan
    in_parts: InParts[Any]

    async def answer(self, cut: Sequence[Chunk]) -> Succeeded:
        joined = self.in_parts.joining is not None
        progress = Progress(self.stepper.walker.asker.caller.store, self.job, most_calls(len(cut), joined=joined))
        parts = [
            Part(number, len(cut), each.under_headings, each.bytes, self.plan.answer_bytes)
            for number, each in enumerate(cut, 1)
        ]
        answers = await self._all("chunk", parts, progress)
        return await (self._joined(answers, progress) if joined else self._merged(answers))

    async def _joined(self, answers: Sequence[PartAnswer], progress: Progress) -> Succeeded:
        """The answer that a model makes of notes. Raises Unusable when these do not grow shorter."""
        for level in range(1, PASSES + 1):
            groups = packed(
                [self.in_parts.notes(self.job.asked, each.output) for each in answers], self.plan.chunk_bytes
            )
            if len(groups) == 1:
                progress.expect(1)
                return await self._join(groups[0], progress)
            progress.expect(most_calls(len(groups), joined=True))
            parts = [
                Part(number, len(groups), group, size(group), self.plan.answer_bytes)
                for number, group in enumerate(groups, 1)
            ]
            answers = await self._all(f"notes{level}", parts, progress)
        raise Unusable("the notes do not grow shorter")

    async def _join(self, notes: str, progress: Progress) -> Succeeded:
        in_parts, job = self.in_parts, self.job
        assert in_parts.joining is not None
        task = StepTask(
            job.task,
            in_parts.joining,
            notes,
            in_parts.join_variables(job.asked),
            job.task.schema(job.asked),
            lambda output: job.task.check(job.asked, output),
            lambda output: job.task.confidence(job.asked, output),
        )
        got = await self.stepper.answer(step_of(job, "join", task, stream=True))
        await progress.one_done()
        return self._worth(got.output, got.made_by, ())

    async def _merged(self, answers: Sequence[PartAnswer]) -> Succeeded:
        """The answer that the task's rules make. Raises Unusable when it is not one to what was asked."""
        job, reader = self.job, self.stepper.walker.asker.reader
        merged = await asyncio.to_thread(self.in_parts.merge, job.asked, answers)
        reading = await reader.read(orjson.dumps(merged.output).decode(), job.task.schema(job.asked))
        if isinstance(reading, Invalid):
            raise Unusable(reading.code)
        doubts = (*merged.doubts, *job.task.check(job.asked, reading.value))
        made_by = Counter(step.made_by for step in self.stepper.done).most_common(1)[0][0]
        return self._worth(reading.value, made_by, doubts)

    def _worth(self, output: Any, made_by: MadeBy, doubts: tuple[str, ...]) -> Succeeded:
        """The answer, as doubtful as the most doubtful step."""
        reasons = dict.fromkeys([*(reason for step in self.stepper.done for reason in step.reasons), *doubts])
        qualities = {step.quality for step in self.stepper.done} | ({Quality.SUSPECT} if doubts else set())
        worst = next(each for each in (Quality.SUSPECT, Quality.REPAIRED, Quality.OK) if each in qualities)
        return Succeeded(output, made_by, worst, tuple(reasons))

    async def _all(self, name: str, parts: Sequence[Part], progress: Progress) -> list[PartAnswer]:
        """The answers for all parts, in their order, several asked for at a time."""
        waiting = iter(parts)
        answers: dict[int, list[PartAnswer]] = {}
        stopped: list[Exception] = []

        async def work() -> None:
            for part in waiting:
                try:
                    if self.job.lease.leaving:
                        raise NotCalled("leaving")
                    answers[part.number] = await self._part(f"{name}:{part.number}", part)
                    await progress.one_done()
                except Exception as error:  # what is in flight is paid for, and waited for
                    stopped.append(error)
                if stopped:
                    return

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self.job.route.chunks_at_once, len(parts))):
                group.create_task(work())
        if stopped:
            raise self._excused(min(stopped, key=gravity))
        return [answer for part in parts for answer in answers[part.number]]

    def _excused(self, error: Exception) -> Exception:
        if isinstance(error, Unfinished) and self.stepper.fresh and not error.tried_before:
            error.troubles = [replace(each, charged=False) for each in error.troubles]
        return error

    async def _part(self, name: str, part: Part) -> list[PartAnswer]:
        """The answer for one part, or for its halves where it is too long."""
        in_parts, asked = self.in_parts, self.job.asked
        task = StepTask(
            self.job.task,
            in_parts.part_prompt,
            part.text,
            in_parts.variables(asked, part),
            in_parts.schema(asked),
            lambda output: in_parts.check(asked, part, output),
            lambda output: in_parts.confidence(asked, part, output),
        )
        try:
            return [PartAnswer(part, (await self.stepper.answer(step_of(self.job, name, task))).output)]
        except Unfinished as unfinished:
            if not unfinished.too_long or part.bytes < 2 * LEAST_CHUNK_BYTES:
                raise
        halves = chunks(part.text, size(part.text) * 5 // 8)
        return [
            answer
            for half in halves
            for answer in await self._part(
                f"{name}.{half.number}", replace(part, text=half.text, bytes=min(half.bytes, part.bytes))
            )
        ]
