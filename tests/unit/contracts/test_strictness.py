"""Every contract refuses what it does not know, and no error of one repeats what somebody wrote."""

import importlib
import pkgutil
from collections.abc import Iterator

import pytest
from pydantic import BaseModel, ValidationError

import penstock_schemas
from penstock_schemas.evidence import Evidence
from penstock_schemas.limits import Limits
from penstock_schemas.tasks import Labels, Summary
from penstock_schemas.workers import WorkerReport
from penstock_store.settings import Section

CANARY = "canary-of-an-answer"


def models(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """All models of ours below *base*."""
    for kind in base.__subclasses__():
        yield kind
        yield from models(kind)


def test_every_contract_is_closed_and_discreet() -> None:
    """Fields that are not there are errors; errors show no input."""
    for module in pkgutil.iter_modules(penstock_schemas.__path__, "penstock_schemas."):
        importlib.import_module(module.name)
    ours = [kind for kind in models(BaseModel) if kind.__module__.startswith("penstock_schemas.")]
    assert len(ours) > 15
    told = [WorkerReport]  # by workers of any version, about themselves
    assert [kind for kind in ours if kind.model_config.get("extra") != "forbid"] == told
    numbers = [Limits]  # a service's own settings
    open_hearted = [kind for kind in ours if not kind.model_config.get("hide_input_in_errors")]
    assert [kind for kind in open_hearted if kind not in (*told, *numbers)] == []
    assert Section.model_config.get("extra") == "forbid"


@pytest.mark.parametrize(
    ("model", "value"),
    [
        (Summary, {"summary": [CANARY]}),
        (Labels, {"labels": CANARY}),
        (Evidence, {"path": "/a", "quote": {CANARY: 1}}),
        (Summary, {"summary": "a", CANARY: CANARY}),
    ],
)
def test_an_error_does_not_repeat_an_answer(model: type[BaseModel], value: object) -> None:
    """Neither its text nor its repr; names of members that nobody asked for are all that it may show."""
    with pytest.raises(ValidationError) as caught:
        model.model_validate(value)
    said = str(caught.value).replace(f"\n{CANARY}\n", "")
    assert CANARY not in said.replace(f"quote.{CANARY}", "")
