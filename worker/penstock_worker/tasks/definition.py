"""What a worker has to know of a task. Summarize, classify and extract are written with this, as yours are.

    from penstock_worker.tasks import Task, task

    @task(Translate, prompt="translate@1")
    class TranslateTask(Task[Translate]):
        def fallback(self, asked):
            return None

The input class (a :class:`penstock_schemas.tasks.TaskInput`) is shared with the services that enqueue it. The
prompt is a file ``prompts/translate@1.md`` beside the module that holds the class.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import TypeAdapter

from penstock_schemas.errors import ConfigurationError
from penstock_schemas.tasks import TaskInput
from penstock_worker.prompts.prompt import Prompt, load_prompt
from penstock_worker.tasks.parts import InParts
from penstock_worker.tools.definition import Tool, tools_named

InputT = TypeVar("InputT", bound=TaskInput[Any])
TaskT = TypeVar("TaskT", bound="type[Task[Any]]")


class Unusable(Exception):
    """An answer fits the schema and still is no answer to what was asked; its text goes into the re-ask."""


class Task(Generic[InputT]):
    """How one kind of job is put to a model, how its answer is judged, and what stands in when there is none."""

    name: ClassVar[str]
    input_type: ClassVar[type[TaskInput[Any]]]
    prompt: ClassVar[Prompt]
    in_parts: ClassVar[InParts[Any] | None] = None
    """How a text is worked on that is too long for one call; None: not at all."""
    fallback_name: ClassVar[str | None] = None
    """Name and version of the fallback, such as ``extractive@1``; None: the task has none."""
    tools: ClassVar[tuple[str, ...]] = ()
    """Names of the tools that its model may ask to have called; nothing else is ever called."""
    tool_rounds: ClassVar[int] = 8
    """Answers of one target that may ask for tools; after so many it is told to answer without."""
    tool_calls: ClassVar[int] = 32
    """Calls of tools that one target may have made; each that comes after is answered with an error."""

    def offered(self) -> tuple[Tool, ...]:
        """The tools it offers. Raises ConfigurationError for one that is not registered."""
        return tools_named(self.tools) if self.tools else ()

    @property
    def most_rounds(self) -> int:
        """Provider calls that tools may make necessary in an attempt."""
        return self.tool_rounds if self.tools else 0

    def schema(self, asked: InputT) -> dict[str, Any]:
        """JSON Schema of the answer. Default: that of the task's output type."""
        return TypeAdapter(asked.output_type()).json_schema()

    def variables(self, asked: InputT) -> Mapping[str, str]:
        """The prompt's variables but for the text. Default: the input's other fields, as text."""
        fields = asked.model_dump(mode="json", exclude={"text"})
        return {name: "" if value is None else str(value) for name, value in fields.items()}

    def text(self, asked: InputT) -> str:
        """The untrusted text that is fenced in the prompt. Default: the field ``text``."""
        return str(getattr(asked, "text", ""))

    def check(self, asked: InputT, output: Any) -> Sequence[str]:
        """Look at an answer that fits the schema: codes of what is doubtful about it; empty if nothing is.

        Raise :class:`Unusable` if it is no answer at all. Must not do I/O; of answers over 32 KiB it runs in a thread.
        """
        return ()

    def confidence(self, asked: InputT, output: Any) -> float | None:
        """How sure an answer that passed every check is, from 0 to 1, where a route asks (``cascade``). Default: None,
        which is not known, and passes no ``min_confidence``.
        """
        return None

    def fallback(self, asked: InputT) -> Any | None:
        """An answer without a model, as plain JSON that fits the schema; None: there is none worth having.

        Runs in a thread; must not do I/O.
        """
        return None


_registry: dict[str, Task[Any]] = {}


def task(
    input_type: type[TaskInput[Any]],
    *,
    prompt: str,
    in_parts: type[InParts[Any]] | None = None,
    fallback: str | None = None,
    tools: Sequence[str] = (),
    tool_rounds: int = Task.tool_rounds,
    tool_calls: int = Task.tool_calls,
) -> Callable[[TaskT], TaskT]:
    """Register a :class:`Task` for *input_type*.

    *prompt* is the ``name@version`` of a file in ``prompts`` beside the module, *in_parts* how a text is worked on that
    is too long for one call (None: such a text is refused as ``input_too_long``), *fallback* the name and version
    of what its ``fallback`` does. *tools* names what its model may ask to have called, in at most *tool_rounds* answers
    and *tool_calls* calls of one target; a name that is not registered ends the worker at its start.

    Raises ConfigurationError for a second task of the same name, or when the
    prompt's file is missing or malformed.
    """

    def register(kind: TaskT) -> TaskT:
        name = input_type.task
        known = _registry.get(name)
        if known is not None and type(known).__qualname__ != kind.__qualname__:
            raise ConfigurationError("tasks", f"{name!r} is already the task of {type(known).__qualname__}")
        kind.name = name
        kind.input_type = input_type
        kind.prompt = load_prompt(_beside(kind), prompt)
        kind.fallback_name = fallback
        kind.tools, kind.tool_rounds, kind.tool_calls = tuple(tools), tool_rounds, tool_calls
        registered = _registry[name] = kind()
        kind.in_parts = in_parts(registered, _beside(kind)) if in_parts else None
        return kind

    return register


def _beside(kind: type) -> Path:
    return Path(sys.modules[kind.__module__].__file__ or ".").parent / "prompts"


def tasks() -> Mapping[str, Task[Any]]:
    """The tasks registered in this process, by name."""
    return _registry
