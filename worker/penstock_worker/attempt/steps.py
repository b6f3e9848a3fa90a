"""A part of a job, put to a model just as a job is: by an attempt of its own, within that of the job.

It has its own text, prompt, schema and check, and its own walk in the journal; lease, request, deadline, limits and all
that is counted are the job's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from penstock_worker.attempt.attempt import Attempt
from penstock_worker.attempt.journal import Step
from penstock_worker.prompts.prompt import Prompt
from penstock_worker.tasks.definition import Task

Check = Callable[[Any], Sequence[str]]
Confidence = Callable[[Any], float | None]


class StepTask(Task[Any]):
    """What a step asks."""

    def __init__(
        self,
        task: Task[Any],
        prompt: Prompt,
        text: str,
        variables: Mapping[str, str],
        schema: dict[str, Any],
        check: Check,
        confidence: Confidence,
    ) -> None:
        vars(self).update(name=task.name, prompt=prompt)
        self._text, self._variables, self._schema = text, variables, schema
        self._check, self._confidence = check, confidence

    def text(self, asked: Any) -> str:
        """That of the step."""
        return self._text

    def variables(self, asked: Any) -> Mapping[str, str]:
        """Those of the step."""
        return self._variables

    def schema(self, asked: Any) -> dict[str, Any]:
        """That of the step."""
        return self._schema

    def check(self, asked: Any, output: Any) -> Sequence[str]:
        """That of the step."""
        return self._check(output)

    def confidence(self, asked: Any, output: Any) -> float | None:
        """That of the step."""
        return self._confidence(output)

    @property
    def digest(self) -> str:
        """The same for the same question: prompt, text, variables and schema."""
        asked = [self.prompt.digest, *sorted(self._variables.items()), self._text]
        schema = orjson.dumps(self._schema, option=orjson.OPT_SORT_KEYS)
        data = repr(asked).encode("utf-8", "surrogatepass") + schema
        return hashlib.blake2b(data, digest_size=9).hexdigest()


def step_of(attempt: Attempt, name: str, task: StepTask, *, stream: bool = False) -> Attempt:
    """The attempt at one step of *attempt*'s job. *stream*: whether its answer is the job's, and so may be streamed."""
    request = attempt.request
    if request.stream and not stream:
        request = request.model_copy(update={"stream": False})
    return replace(
        attempt,
        request=request,
        task=task,
        route=replace(attempt.route, prompt=None),
        step=Step(name, task.digest),
    )
