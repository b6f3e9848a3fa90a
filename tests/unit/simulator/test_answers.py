"""Honest answers follow the schema and come from the text."""

from typing import Any

import orjson
import pytest

from penstock_schemas.evidence import evidence_schema
from penstock_simulator.answers import FixedAnswers, named_answers, real_answer
from penstock_simulator.ask import Ask, JsonObject, Message
from penstock_simulator.schema_fill import is_valid
from penstock_worker.tasks.quotes import check_quotes

NEWS = (
    "The harbour bridge closes for repairs on Monday. Engineers found cracks in two of its steel girders last week. "
    "The repairs will cost four million euros and take six months. Ferries will run every ten minutes until the "
    "bridge opens again. A local baker said that the weather was nice. Drivers are asked to use the tunnel."
)
MAIL = "Hello, I was charged twice on my last invoice. Please refund the second payment. Thanks, Jo"
INVOICE = "Invoice number: INV-8812\nDate: 2024-03-05\nTotal: 120.50 EUR\nContact: ada@example.com\n"


def _object(**properties: Any) -> JsonObject:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _ask(text: str, schema: JsonObject | None = None, said: str = "", json_mode: bool = False) -> Ask:
    prompt = f"{said}\n<<<9f8e7d6c>>>\n{text}\n<<<9f8e7d6c>>>"
    messages = (Message("system", "You are exact."), Message("user", prompt))
    return Ask("w", "m", messages, schema=schema, json_mode=json_mode)


def _answered(ask: Ask) -> Any:
    return orjson.loads(real_answer(ask))


def test_a_summary_is_sentences_of_the_text_within_the_limit() -> None:
    """Extractive: nothing is said that the text does not say."""
    answer = _answered(_ask(NEWS, _object(summary={"type": "string"}), "Summarize in at most 30 words."))
    sentences = [part for part in answer["summary"].split(". ") if part]
    assert 5 < len(answer["summary"].split()) <= 30
    assert all(sentence.rstrip(".") in NEWS for sentence in sentences)


def test_free_text_is_answered_with_a_summary() -> None:
    """No schema, no JSON."""
    assert real_answer(_ask(NEWS, said="Summarize in at most 20 words.")).rstrip(".").split(". ")[0] in NEWS


def test_labels_come_from_what_the_prompt_says_of_them() -> None:
    """The descriptions decide where the names alone do not."""
    labels = {"type": "array", "items": {"type": "string", "enum": ["a1", "b2", "c3"]}, "minItems": 1, "maxItems": 1}
    said = "Choose one:\n- a1: crashes and error messages\n- b2: invoices, charges and refunds\n- c3: praise"
    assert _answered(_ask(MAIL, _object(labels=labels), said)) == {"labels": ["b2"]}


def test_one_label_is_a_string() -> None:
    """A field of enum values called `label`."""
    schema = _object(label={"enum": ["praise", "billing", "bug"]})
    said = "- praise: joy\n- billing: invoices and refunds\n- bug: crashes"
    assert _answered(_ask(MAIL, schema, said)) == {"label": "billing"}


def test_facts_are_extracted_and_the_rest_is_null() -> None:
    """In a lowered schema, where all is required and the optional is nullable."""
    schema = _object(
        invoice_number={"type": "string"},
        date={"type": "string", "format": "date"},
        email={"type": "string", "format": "email"},
        phone={"anyOf": [{"type": "string"}, {"type": "null"}]},
    )
    assert _answered(_ask(INVOICE, schema)) == {
        "invoice_number": "INV-8812",
        "date": "2024-03-05",
        "email": "ada@example.com",
        "phone": None,
    }


def test_what_is_not_found_but_required_is_completed() -> None:
    """What was found stays."""
    schema = _object(invoice_number={"type": "string"}, colour={"type": "string", "enum": ["teal", "mauve"]})
    assert _answered(_ask(INVOICE, schema)) == {"invoice_number": "INV-8812", "colour": "teal"}


def test_a_schema_in_the_prompt_is_followed_in_json_mode() -> None:
    """For providers that take no schema."""
    said = f"Answer in JSON after this schema: {orjson.dumps(_object(email={'type': 'string'})).decode()}"
    assert _answered(_ask(INVOICE, said=said, json_mode=True)) == {"email": "ada@example.com"}


@pytest.mark.parametrize("answers", [real_answer, FixedAnswers()])
def test_any_schema_gets_a_valid_answer(answers: Any) -> None:
    """Nested, referenced, bounded."""
    schema = _object(
        items={"type": "array", "items": {"$ref": "#/$defs/item"}, "minItems": 2},
        score={"type": "number", "minimum": 0, "maximum": 1},
        code={"type": "string", "pattern": "^[A-Z]{3}[0-9]{2}$"},
    ) | {"$defs": {"item": _object(id={"type": "integer", "minimum": 1}, tag={"enum": ["x", "y"]})}}
    assert is_valid(schema, orjson.loads(answers(_ask(NEWS, schema))))


def test_fixed_answers_do_not_depend_on_the_text() -> None:
    """Only on the schema."""
    fixed, schema = FixedAnswers(), _object(summary={"type": "string"}, label={"enum": ["a", "b"]})
    assert fixed(_ask(NEWS, schema)) == fixed(_ask(MAIL, schema))
    assert orjson.loads(fixed(_ask(NEWS, schema))) == {"summary": "A fixed answer.", "label": "a"}


def test_answers_have_names() -> None:
    """A misspelt one is an error."""
    assert named_answers("real") is real_answer
    with pytest.raises(ValueError, match="'real', 'fixed' or 'obedient'"):
        named_answers("reel")  # type: ignore[arg-type]


def test_values_with_evidence_have_the_line_they_stand_in() -> None:
    """As a model does that is asked for quotes."""
    text = "Dear miller.\nTotal:  120.50 EUR\nName: Jane Miller\n"
    schema = {"type": "object", "properties": {"total": {"type": "number"}, "name": {"type": ["string", "null"]}}}
    ask = Ask("openai_chat", "m", (Message("user", text),), schema=evidence_schema(schema))
    answer = orjson.loads(real_answer(ask))
    assert answer["value"]["total"] == 120.5
    assert check_quotes(text, answer["value"], answer["evidence"]) == ()
