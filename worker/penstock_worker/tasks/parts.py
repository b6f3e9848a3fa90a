"""How a text that is too long for one call is worked on in parts; a task's ``in_parts``.

    class TranslateInParts(InParts[Translate]):
        prompt = "translate-part@1"

        def merge(self, asked, answers):
            return Merged({"text": "\\n".join(answer.output["text"] for answer in answers)})

    @task(Translate, prompt="translate@1", in_parts=TranslateInParts)
    class TranslateTask(Task[Translate]): ...

Each part is asked about by a call of its own, several at a time; each answer is kept, so that no part is paid for twice
in a run. Then the answers become one: by :meth:`InParts.merge`, without a model; or, when there is a ``join_prompt``,
by a model that is given notes on all parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from penstock_schemas.errors import ConfigurationError
from penstock_schemas.tasks import TaskInput
from penstock_worker.prompts.prompt import Prompt, load_prompt

if TYPE_CHECKING:
    from penstock_worker.tasks.definition import Task

InputT = TypeVar("InputT", bound=TaskInput[Any])


@dataclass(frozen=True, slots=True)
class Part:
    """One of the parts, or some of the notes on parts, where these are too long in turn."""

    number: int
    """From 1."""
    count: int
    text: str
    bytes: int
    """Size of what is new in it: what it repeats of the part before does not count."""
    answer_bytes: int
    """How long notes on it may be, so that they grow shorter with each pass."""


@dataclass(frozen=True, slots=True)
class PartAnswer:
    """A part, and what a model said of it: JSON that has passed the schema and the check."""

    part: Part
    output: Any


@dataclass(frozen=True, slots=True)
class Merged:
    """The answer for the whole text."""

    output: Any
    """Must fit the task's schema and pass its check."""
    doubts: tuple[str, ...] = ()
    """Codes of what is doubtful about it; empty if nothing is."""


class InParts(Generic[InputT]):
    """What is asked of each part of a text, and how the answers become one. All methods are pure."""

    prompt: ClassVar[str]
    """``name@version`` of the prompt for a part, a file in ``prompts`` beside the module."""
    join_prompt: ClassVar[str | None] = None
    """The same for the notes on all parts, from which the answer is made; None: :meth:`merge` makes it."""

    def __init__(self, task: Task[InputT], folder: Path) -> None:
        """For *task*, with the prompts in *folder*. Raises ConfigurationError for a prompt that is not well-formed."""
        self.task = task
        self.part_prompt: Prompt = load_prompt(folder, self.prompt)
        self.joining: Prompt | None = load_prompt(folder, self.join_prompt) if self.join_prompt else None
        if self.joining is None and type(self).merge is InParts.merge:
            raise ConfigurationError("tasks", f"{type(self).__qualname__} has neither a join_prompt nor a merge method")

    def schema(self, asked: InputT) -> dict[str, Any]:
        """JSON Schema of the answer for a part. Default: the task's own."""
        return self.task.schema(asked)

    def variables(self, asked: InputT, part: Part) -> Mapping[str, str]:
        """Variables of the prompt for a part, but for the text. Default: the task's own."""
        return self.task.variables(asked)

    def check(self, asked: InputT, part: Part, output: Any) -> Sequence[str]:
        """As the task's check, for the answer for a part. Raise Unusable if it is none."""
        return ()

    def confidence(self, asked: InputT, part: Part, output: Any) -> float | None:
        """As the task's, for the answer for a part. Default: the task's own, asked about the part's text.

        1 where that is not known: what is not in one part is in another.
        """
        if "text" not in type(asked).model_fields:
            return self.task.confidence(asked, output)
        own = self.task.confidence(asked.model_copy(update={"text": part.text}), output)
        return 1.0 if own is None else own

    def merge(self, asked: InputT, answers: Sequence[PartAnswer]) -> Merged:
        """The answer for the whole, from those for all parts, in their order.

        Raise :class:`~penstock_worker.tasks.Unusable` when they do not give one.
        """
        raise NotImplementedError

    def notes(self, asked: InputT, output: Any) -> str:
        """With a ``join_prompt``: what an answer for a part gives to the notes that the next call is about."""
        raise NotImplementedError

    def join_variables(self, asked: InputT) -> Mapping[str, str]:
        """Variables of the ``join_prompt`` but for the text. Default: the task's own."""
        return self.task.variables(asked)
