"""Faults are asked for in words or JSON; a wrong one is an error that helps."""

from typing import Any

import pytest

from penstock_simulator.faults import FAULTS, Stage, describe
from penstock_simulator.faults.spec import FaultSpecError, fault_in_model_name, parse


@pytest.mark.parametrize(
    ("spec", "names", "how_often"),
    [
        ("hang", ["hang"], {}),
        ("503", ["status"], {}),
        ("status=503 retry-after=2 times=1", ["status"], {"times": "1"}),
        ('503 retry-after="Wed, 21 Oct 2015 07:28:00 GMT"', ["status"], {}),
        ("fences; usage-negative; drip bytes_per_s=20", ["fences", "usage-negative", "drip"], {}),
        ('{"fault": "cut-middle", "at": 0.3, "times": 2}', ["cut-middle"], {"times": 2}),
        ({"status": 429, "code": "slow_down"}, ["status"], {}),
        (["hang", {"fault": "refusal"}], ["hang", "refusal"], {}),
        ({"fault": "header", "name": "x-a", "value": "b"}, ["header"], {}),
    ],
)
def test_faults_are_read(spec: Any, names: list[str], how_often: dict[str, Any]) -> None:
    """Words, an object, a list."""
    faults, often = parse(spec)
    assert ([fault.name for fault in faults], often) == (names, how_often)


def test_parameters_take_the_type_of_their_default() -> None:
    """A number, a duration, text."""
    (fault,), _ = parse("503 retry-after=date+30")
    assert fault.params.integer("status") == 503
    assert fault.params.text("retry-after") == "date+30"
    (slow,), _ = parse("slow-events every=250ms")
    assert slow.params.number("every") == 0.25


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("hnag", "did you mean 'hang'"),
        ("delay at=1", "delay has no parameter 'at'; it has: seconds"),
        ("hang at=1", "it has: none"),
        ("refusal colour=red", "it has: text"),
        ("drip bytes_per_s=slow", "bytes_per_s='slow'"),
        ("hang refusal", "separate several faults by ;"),
        ("hang billed=maybe", "write true or false"),
        ("{broken", "not JSON"),
        ("", "no fault is named"),
        (7, "words, an object or a list"),
    ],
)
def test_a_wrong_fault_says_what_is_wrong(spec: Any, message: str) -> None:
    """Nothing that was misspelt is silently honest."""
    with pytest.raises(FaultSpecError, match=message):
        parse(spec)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("sim-503", "status"),
        ("gpt-4o-mini-sim-hang", "hang"),
        ("sim-usage-nan", "usage-nan"),
        ("o3-sim", None),
        ("sim-large", None),
        ("gpt-4o", None),
    ],
)
def test_a_model_may_name_its_fault(model: str, name: str | None) -> None:
    """A model that only looks like it is a plain model."""
    fault = fault_in_model_name(model)
    assert (fault.name if fault else None) == name


def test_errors_are_free_and_answers_are_charged() -> None:
    """The table's default; `billed=` overrides it."""
    assert not any(kind.billed for kind in FAULTS.values() if kind.stage is Stage.REFUSE)
    assert all(kind.billed for kind in FAULTS.values() if kind.stage is Stage.ANSWER)
    assert parse("hang billed=true")[0][0].billed
    assert not parse("cut-lost billed=no")[0][0].billed


def test_the_description_has_a_line_for_each_fault() -> None:
    """Help cannot miss one."""
    lines = describe().splitlines()
    assert [line.split()[0] for line in lines] == list(FAULTS)
