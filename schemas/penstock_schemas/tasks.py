"""What a job can be asked to do: the input of each task, and the output it gives.

A task of your own is a subclass of :class:`TaskInput`, seen by services and workers alike::

    class Translation(BaseModel):
        text: str

    class Translate(TaskInput[Translation]):
        task = "translate"
        text: str
        language: str
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, Self, TypeVar, cast, overload

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
    model_serializer,
)

from penstock_schemas.errors import InvalidRequestError, SchemaRejectedError, UnknownTaskError
from penstock_schemas.evidence import Evidenced, evidence_schema
from penstock_schemas.json_schema import check_schema
from penstock_schemas.limits import TASK_PATTERN
from penstock_schemas.results import Contract
from penstock_schemas.validation import invalid_request

OutputT = TypeVar("OutputT")
ModelT = TypeVar("ModelT", bound=BaseModel)

_registry: dict[str, type[TaskInput[Any]]] = {}


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty or white space only")
    return text


Text = Annotated[str, Field(strict=True), AfterValidator(_not_blank)]
"""A text to work on: a string that is not blank. Its size is checked against :class:`Limits`."""


class TaskInput(Contract, Generic[OutputT]):
    """Base of all task inputs; the parameter is the type of the task's output.

    A subclass names its ``task`` (lower case, digits, underscores; unique in the process) and has a ``text`` or
    any other fields of plain JSON. Making two subclasses with one name is an error. Making an input that is not
    valid raises InvalidRequestError with the field's path.
    """

    model_config = ConfigDict(ser_json_inf_nan="constants")  # to be refused, and not to become null

    task: ClassVar[str]

    if not TYPE_CHECKING:  # so that the signature stays that of the fields

        def __init__(self, /, **fields: Any) -> None:
            try:
                super().__init__(**fields)
            except ValidationError as error:
                raise invalid_request(error, prefix="input") from None

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy, with other values for some fields if *update* has any; these are checked as in the constructor."""
        if not update:
            return super().model_copy(deep=deep)
        return type(self)(**{**self._given(), **update})

    def _given(self) -> dict[str, Any]:
        """What the constructor was given, by its names."""
        return {field.alias or name: getattr(self, name) for name, field in type(self).model_fields.items()}

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        name = cls.__dict__.get("task")
        if name is None:
            return
        if not re.fullmatch(TASK_PATTERN, name):
            raise InvalidRequestError(f"{name!r} is not a task name: use a-z, 0-9 and _", field="task")
        known = _registry.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise InvalidRequestError(f"{name!r} is already the task of {known.__qualname__}", field="task")
        _registry[name] = cls

    @classmethod
    def output_type(cls) -> Any:
        """The type that :meth:`read_output` gives, from the class' parameter."""
        for base in cls.__mro__:
            arguments = getattr(base, "__pydantic_generic_metadata__", {}).get("args")
            if arguments and not isinstance(arguments[0], TypeVar):
                return arguments[0]
        return dict[str, Any]

    def read_output(self, output: Any) -> OutputT:
        """A result's plain JSON ``output`` in the task's own type. Raises ValueError when it does not fit."""
        return cast(OutputT, TypeAdapter(self.output_type()).validate_python(output))


def task_names() -> list[str]:
    """The tasks known to this process, sorted."""
    return sorted(_registry)


def task_input(name: str) -> type[TaskInput[Any]]:
    """The input class of a task. Raises UnknownTaskError naming those that are known."""
    try:
        return _registry[name]
    except KeyError:
        known = ", ".join(task_names())
        raise UnknownTaskError(f"no task {name!r}; known here: {known}", field="task") from None


def read_output(task: str, output: Any) -> Any:
    """A result's plain JSON ``output`` in the type of its task; as it is where that is not known here."""
    kind = _registry.get(task)
    return output if kind is None else TypeAdapter(kind.output_type()).validate_python(output)


class Summary(BaseModel):
    """The output of summarize."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    summary: str
    """At most ``max_words`` words; for ``bullets`` each line begins with ``- ``."""


class Summarize(TaskInput[Summary]):
    """Say what a text says, in fewer words."""

    task = "summarize"

    text: Text
    max_words: Annotated[int, Field(strict=True, ge=5, le=5_000)] = 120
    """Upper bound of the summary's words (what white space separates)."""
    style: Literal["paragraph", "bullets"] = "paragraph"
    language: Annotated[str, Field(min_length=2, max_length=35, pattern=r"^[A-Za-z][A-Za-z0-9 -]*$")] | None = None
    """Language of the summary, as a name or a tag (``German``, ``pt-BR``); None: that of the text."""
    focus: Annotated[str, Field(max_length=500), AfterValidator(_not_blank)] | None = None
    """What the reader cares about; None: the whole."""


class Labels(BaseModel):
    """The output of classify."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    labels: list[str]
    """Each one of the labels asked for, in their order; empty only with ``allow_none``."""

    @property
    def label(self) -> str | None:
        """The first label; None when none fits."""
        return self.labels[0] if self.labels else None


def _labels(value: object) -> object:
    """Names, or names with descriptions, as one mapping."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        names = list(value)
        if len({str(name) for name in names}) != len(names):
            raise ValueError("must not hold a label twice")
        return dict.fromkeys(names)
    raise ValueError("must be a list of names, or a mapping of names to descriptions")


LabelName = Annotated[str, Field(strict=True, min_length=1, max_length=200), AfterValidator(_not_blank)]
LabelDescription = Annotated[str, Field(strict=True, max_length=1_000)] | None


_LabelsGiven = (
    Annotated[dict[LabelName, LabelDescription], Field(min_length=1, max_length=200)]
    | Annotated[list[LabelName], Field(min_length=1, max_length=200)]
)


class Classify(TaskInput[Labels]):
    """Choose which of some labels fit a text."""

    task = "classify"

    text: Text
    labels: Annotated[
        dict[LabelName, LabelDescription],
        Field(min_length=1, max_length=200),
        BeforeValidator(_labels, json_schema_input_type=_LabelsGiven),
    ]
    """Label -> what it stands for, or None. A plain list of names will do."""
    multi_label: Annotated[bool, Field(strict=True)] = False
    """True: every label that fits. False: the one that fits best."""
    allow_none: Annotated[bool, Field(strict=True)] = False
    """True: none of these is an answer too (an empty list)."""

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            text: str,
            labels: Sequence[str] | Mapping[str, str | None],
            multi_label: bool = False,
            allow_none: bool = False,
        ) -> None: ...


def _as_schema(value: object) -> object:
    if isinstance(value, type) and issubclass(value, BaseModel):
        try:
            value = value.model_json_schema()
        except PydanticUserError as error:
            raise SchemaRejectedError(f"the model has no JSON Schema ({error.code})", field="schema") from None
    check_schema(value)
    return value


class Extract(TaskInput[OutputT], Generic[OutputT]):
    """Take facts out of a text, in the shape of a JSON Schema or of a pydantic model.

    With a model the result's ``output`` is an instance of it, with a schema a dict; with ``evidence`` it is an
    :class:`Evidenced` of either. Raises SchemaRejectedError for a schema outside the supported subset.
    """

    task = "extract"

    text: Text
    json_schema: Annotated[dict[str, Any], BeforeValidator(_as_schema), Field(alias="schema")]
    """The JSON Schema of the answer; its root is an object. ``schema`` in the constructor and in JSON."""
    instructions: Annotated[str, Field(max_length=4_000), AfterValidator(_not_blank)] | None = None
    """What to mind, in plain words."""
    evidence: Annotated[bool, Field(strict=True)] = False
    """True: each value comes with a quote, and an answer with a quote that is not in the text is none."""

    _model: type[BaseModel] | None = PrivateAttr(default=None)

    @overload
    def __init__(
        self: Extract[ModelT],
        /,
        *,
        text: str,
        schema: type[ModelT],
        instructions: str | None = None,
        evidence: Literal[False] = False,
    ) -> None: ...
    @overload
    def __init__(
        self: Extract[dict[str, Any]],
        /,
        *,
        text: str,
        schema: Mapping[str, Any],
        instructions: str | None = None,
        evidence: Literal[False] = False,
    ) -> None: ...
    @overload
    def __init__(
        self: Extract[Evidenced[ModelT]],
        /,
        *,
        text: str,
        schema: type[ModelT],
        instructions: str | None = None,
        evidence: Literal[True],
    ) -> None: ...
    @overload
    def __init__(
        self: Extract[Evidenced[dict[str, Any]]],
        /,
        *,
        text: str,
        schema: Mapping[str, Any],
        instructions: str | None = None,
        evidence: Literal[True],
    ) -> None: ...
    def __init__(self, /, **fields: Any) -> None:
        schema = fields.get("schema")
        if isinstance(schema, Mapping):
            fields["schema"] = dict(schema)
        super().__init__(**fields)
        if isinstance(schema, type):
            self._model = schema
        if self.evidence:
            evidence_schema(self.json_schema)

    def _given(self) -> dict[str, Any]:
        return {**super()._given(), "schema": self._model or self.json_schema}

    @model_serializer(mode="plain")
    def _with_alias(self) -> dict[str, Any]:
        fields = {"text": self.text, "schema": self.json_schema, "instructions": self.instructions}
        return {**fields, "evidence": True} if self.evidence else fields

    def read_output(self, output: Any) -> OutputT:
        """The output as an instance of the model that was given as ``schema``, with its evidence if asked for."""
        if self.evidence:
            of_model: Any = Evidenced[self._model or dict[str, Any]]  # type: ignore[misc]
            return cast(OutputT, of_model.model_validate(output))
        return cast(OutputT, output if self._model is None else self._model.model_validate(output))


__all__ = [
    "Classify",
    "Extract",
    "LabelDescription",
    "LabelName",
    "Labels",
    "Summarize",
    "Summary",
    "TaskInput",
    "Text",
    "read_output",
    "task_input",
    "task_names",
]
