"""Extraction with evidence: the shape of the answer, and quotes that the text must have."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from pydantic import BaseModel

from penstock import Extract
from penstock_schemas.errors import SchemaRejectedError
from penstock_schemas.evidence import Evidence, Evidenced, evidence_schema, leaves
from penstock_schemas.results import Quality
from penstock_worker.attempt.judging import judge
from penstock_worker.attempt.reading import Reader
from penstock_worker.tasks import Unusable, tasks
from penstock_worker.tasks.quotes import check_quotes, with_quotes
from tests.support.attempts import an_answer, an_attempt

TEXT = "Invoice  8812 of 3 May.\nMill wheel: 120.50 EUR\nSluice:\t\t80 EUR\nPaid: yes. The wheel is of oak."


class Line(BaseModel):
    what: str
    price: float


class Invoice(BaseModel):
    number: str
    lines: list[Line]
    paid: bool
    note: str | None = None


ASKED = Extract(text=TEXT, schema=Invoice, evidence=True)
VALUE: dict[str, Any] = {
    "number": "8812",
    "lines": [{"what": "Mill wheel", "price": 120.5}, {"what": "Sluice", "price": 80}],
    "paid": True,
    "note": None,
}
QUOTES = {
    "/number": "Invoice 8812",
    "/lines/0/what": "Mill wheel",
    "/lines/0/price": "120.50 EUR",
    "/lines/1/what": "Sluice",
    "/lines/1/price": "Sluice: 80 EUR",
    "/paid": "Paid:\n yes",
}


@pytest.fixture
async def reader() -> AsyncIterator[Reader]:
    reader = Reader()
    yield reader
    await reader.aclose()


def evidence(**changes: str | None) -> list[dict[str, str]]:
    """The quotes, some of them changed or, with None, left out."""
    quotes: dict[str, str | None] = {**QUOTES, **changes}
    return [{"path": path, "quote": quote} for path, quote in quotes.items() if quote is not None]


def answer(**changes: str | None) -> str:
    return orjson.dumps({"value": VALUE, "evidence": evidence(**changes)}).decode()


async def verdict(reader: Reader, text: str) -> Any:
    return await judge(an_attempt(ASKED), an_answer(text), tasks()["extract"].schema(ASKED), reader)


async def test_quotes_that_the_text_has_are_evidence(reader: Reader) -> None:
    """White space apart; the output is an instance of the model with its quotes."""
    accepted = await verdict(reader, answer())
    assert (accepted.quality, accepted.reasons) == (Quality.OK, ())
    output = ASKED.read_output(accepted.output)
    assert output.value == Invoice.model_validate(VALUE)
    assert output.quotes("/lines/1/price") == ["Sluice: 80 EUR"]
    assert output.quotes("/note") == []


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"/paid": "paid: yes"}, "not in the text, at /paid"),  # another letter
        ({"/paid": "Paid: yes, the wheel"}, "not in the text, at /paid"),
        ({"/lines/0/price": "120.5"}, None),  # a part of what is there
        ({"/lines/0/price": "120,50 EUR"}, "not in the text, at /lines/0/price"),
        ({"/number": " \n\t"}, "not in the text, at /number"),
        ({"/lines/0/what": None}, "gives no evidence, at /lines/0/what"),
        ({"/paid": None}, "gives no evidence, at /paid"),
        ({"/lines/2/what": "Sluice"}, "for what is not there, at /lines/2/what"),
        ({"/lines": "Sluice"}, "for what is not there, at /lines"),
        ({"/number": "Invoice 8812", "/note": "oak"}, None),  # why it is null may be said
    ],
)
async def test_each_value_has_a_quote_and_each_quote_is_in_the_text(
    reader: Reader, changes: dict[str, str | None], what: str | None
) -> None:
    """Letter by letter. What fails is asked for once more, by its place."""
    got = await verdict(reader, answer(**changes))
    if what is None:
        assert got.quality is Quality.OK
    else:
        assert (got.code, got.remedy) == ("unusable_answer", "reask")
        assert what in got.hint


async def test_a_value_that_stands_elsewhere_is_doubtful(reader: Reader) -> None:
    """It is in the text and its quote is, but the one is not in the other."""
    accepted = await verdict(reader, answer(**{"/lines/0/what": "The wheel is of oak"}))
    assert (accepted.quality, accepted.reasons) == (Quality.SUSPECT, ("evidence_elsewhere",))


async def test_an_answer_without_the_evidence_it_was_asked_for_is_none(reader: Reader) -> None:
    """The object alone does not fit the schema."""
    assert (await verdict(reader, orjson.dumps(VALUE).decode())).code == "bad_output"


async def test_without_evidence_nothing_changes(reader: Reader) -> None:
    """Schema, stored request and output are as ever, so that idempotency keys keep their meaning."""
    plain = Extract(text=TEXT, schema=Invoice)
    assert plain.model_dump(mode="json").keys() == {"text", "schema", "instructions"}
    assert tasks()["extract"].schema(plain) == plain.json_schema
    assert ASKED.model_dump(mode="json")["evidence"] is True
    again = Extract[Any].model_validate(ASKED.model_dump(mode="json"))
    assert again.evidence
    assert again.read_output({"value": {"a": 1}, "evidence": []}) == Evidenced(value={"a": 1}, evidence=())


def test_the_schema_keeps_its_definitions() -> None:
    """References are to the root of the whole, where the definitions go."""
    nested = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
        "$ref": "#/$defs/node",
    }
    whole = evidence_schema(nested)
    assert whole["properties"]["value"] == {"$ref": "#/$defs/node"}
    assert whole["$defs"] == nested["$defs"]


def test_a_schema_that_means_its_own_root_is_refused_at_once() -> None:
    """Within another it would mean that; the error says what to write. A property of that name is none."""
    tree = {"type": "object", "properties": {"below": {"type": "array", "items": {"$ref": "#"}}}}
    with pytest.raises(SchemaRejectedError, match=r"#/\$defs/<name>"):
        Extract(text=TEXT, schema=tree, evidence=True)
    Extract(text=TEXT, schema=tree)
    named = {"type": "object", "properties": {"$ref": {"type": "string"}}}
    Extract(text=TEXT, schema=named, evidence=True)


def test_pointers_are_escaped() -> None:
    """As RFC 6901 has it."""
    assert dict(leaves({"a/b": {"~": [1, None]}, "": "x"})) == {"/a~1b/~0/0": 1, "/a~1b/~0/1": None, "/": "x"}


def test_a_fallback_quotes_or_is_none() -> None:
    """A value that does not stand in the text as it is has no evidence, and without it there is no answer."""
    found = with_quotes("Total: 120.5 EUR\n Name:  Jane\n", {"total": 120.5, "name": "Jane", "none": None})
    assert found is not None
    assert check_quotes("Total: 120.5 EUR\n Name:  Jane\n", found["value"], found["evidence"]) == ()
    assert [one["path"] for one in found["evidence"]] == ["/total", "/name"]
    assert with_quotes("Total: 120,50 EUR", {"total": 120.5}) is None


def test_the_fallback_of_the_task_satisfies_its_schema() -> None:
    """Real rules on a real text."""
    asked = Extract(
        text="Total: 120.5\nName: Jane Miller\n",
        schema={"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]},
        evidence=True,
    )
    assert tasks()["extract"].fallback(asked) == {
        "value": {"total": 120.5},
        "evidence": [{"path": "/total", "quote": "Total: 120.5"}],
    }


def test_no_quote_at_all_is_said_for_a_few_places() -> None:
    """A bounded message, however many there are."""
    with pytest.raises(Unusable) as unusable:
        check_quotes("text", {f"name {n}": n for n in range(100)}, [])
    assert str(unusable.value).count("/name") == 3


def test_evidence_is_a_plain_model() -> None:
    """Unknown members are errors; it is immutable."""
    assert Evidence(path="/a", quote="b").quote == "b"
    with pytest.raises(ValueError, match="extra"):
        Evidence.model_validate({"path": "/a", "quote": "b", "at": 3})
