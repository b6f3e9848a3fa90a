"""Inputs of tasks: what their constructors take, and tasks of one's own."""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from penstock import Classify, Extract, InvalidRequestError, Labels, SchemaRejectedError, Summarize, TaskInput
from penstock_schemas.tasks import read_output, task_input, task_names
from tests.support.tasks import Translate, Translation

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"total": {"type": "number"}}}


class Invoice(BaseModel):
    total: float


def test_a_task_of_ones_own_is_known_by_its_name() -> None:
    """Beside the three."""
    assert {"summarize", "classify", "extract", "reword"} <= set(task_names())
    assert task_input("reword") is Translate
    assert Translate.output_type() is Translation
    assert read_output("reword", {"text": "x", "language": "y"}) == Translation(text="x", language="y")


@pytest.mark.parametrize("name", ["", "Summarize", "two words", "a:b", "ä", "a" * 65, "1st"])
def test_a_task_needs_a_name_that_can_be_one(name: str) -> None:
    """It stands in keys, prompts and metrics."""
    with pytest.raises(InvalidRequestError) as refusal:
        type("Wrong", (TaskInput,), {"task": name, "__module__": __name__})
    assert refusal.value.field == "task"
    assert name not in task_names() or name == ""


def test_two_classes_cannot_have_one_name() -> None:
    """A worker would not know which."""
    with pytest.raises(InvalidRequestError, match="already the task of Summarize"):
        type("Other", (TaskInput,), {"task": "summarize", "__module__": __name__})
    assert task_input("summarize") is Summarize


def test_a_module_that_is_loaded_again_may_define_its_task_again() -> None:
    """Same module, same name: the newer class."""
    kinds = [type("Again", (TaskInput,), {"task": "again", "__module__": __name__}) for _ in range(2)]
    assert task_input("again") is kinds[1]


def test_labels_may_have_descriptions() -> None:
    """A list of names is a mapping without."""
    assert Classify(text="x", labels=["a", "b"]).labels == {"a": None, "b": None}
    assert Classify(text="x", labels={"a": "about a", "b": None}).labels == {"a": "about a", "b": None}
    assert Labels(labels=[]).label is None
    assert Labels(labels=["a", "b"]).label == "a"


def test_inputs_are_values() -> None:
    """Equal by content, and not to be changed."""
    asked = Summarize(text="x")
    assert asked == Summarize(text="x", max_words=120)
    with pytest.raises(ValidationError):
        asked.text = "y"  # type: ignore[misc]


@pytest.mark.parametrize(
    "asked",
    [
        Summarize(text="x"),
        Classify(text="x", labels={"a": None}),
        Extract(text="x", schema=SCHEMA),
        Translate(text="x"),
    ],
    ids=lambda asked: asked.task,
)
def test_plain_json_makes_the_same_input(asked: TaskInput[Any]) -> None:
    """What Redis holds is what the constructor takes."""
    assert type(asked)(**asked.model_dump(mode="json")) == asked


def test_a_copy_with_other_values_is_checked() -> None:
    """Like the constructor; a copy of an extract keeps its model."""
    asked = Extract(text="x", schema=Invoice)
    assert isinstance(asked.model_copy().read_output({"total": 1}), Invoice)
    longer = asked.model_copy(update={"text": "y", "instructions": "Mind the total."})
    assert (longer.text, longer.instructions, longer.json_schema) == ("y", "Mind the total.", asked.json_schema)
    assert isinstance(longer.read_output({"total": 1}), Invoice)
    with pytest.raises(InvalidRequestError, match=r"input\.text"):
        asked.model_copy(update={"text": " "})
    with pytest.raises(SchemaRejectedError):
        asked.model_copy(update={"schema": {"type": "no type"}})


def test_an_error_names_the_field_and_not_its_content() -> None:
    """The path begins with input."""
    with pytest.raises(InvalidRequestError) as refusal:
        Classify(text="x", labels={"secret" * 50: None})
    assert refusal.value.as_dict()["code"] == "invalid_request"
    assert str(refusal.value.field).startswith("input.labels")
    with pytest.raises(InvalidRequestError) as refusal:
        Summarize(text="secret", max_words="secret")  # type: ignore[arg-type]
    assert refusal.value.field == "input.max_words"
    assert "secret" not in str(refusal.value)
