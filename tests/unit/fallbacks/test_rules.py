"""The degraded extraction."""

from pathlib import Path
from typing import Any

import pytest

from penstock_worker.fallbacks import extract

EXAMPLES = Path(__file__).parents[3] / "simulator" / "penstock_simulator" / "demo" / "inputs"


def example(name: str) -> str:
    return (EXAMPLES / f"{name}.txt").read_text("utf-8")


def one(text: str, name: str, node: dict[str, Any]) -> object:
    """What *text* gives for a single required property."""
    answer = extract(text, {"type": "object", "properties": {name: node}, "required": [name]})
    return None if answer is None else answer[name]


INVOICE: dict[str, Any] = {
    "type": "object",
    "$defs": {
        "Line": {
            "type": "object",
            "properties": {
                "description": {"type": "string"},
                "quantity": {"type": "integer"},
                "unit_price": {"type": "number"},
                "amount": {"type": "number"},
            },
            "required": ["description", "amount"],
            "additionalProperties": False,
        }
    },
    "properties": {
        "kind": {"const": "invoice"},
        "invoiceNumber": {"type": "string"},
        "invoice_date": {"type": "string", "format": "date"},
        "due_date": {"type": "string", "format": "date"},
        "customer": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "email": {"type": "string", "format": "email"}},
            "required": ["name"],
        },
        "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
        "total": {"type": "number"},
        "is_paid": {"type": "boolean"},
        "purchase_order": {"anyOf": [{"type": "string", "pattern": "^PO-\\d+$"}, {"type": "null"}]},
        "discount": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}, "minItems": 1},
        "remark": {"type": "string"},
    },
    "required": ["kind", "invoiceNumber", "total", "lines", "discount"],
    "additionalProperties": False,
}


def test_the_example_invoice_is_read_in_full() -> None:
    answer = extract(example("invoice"), INVOICE)
    assert answer is not None
    lines = answer.pop("lines")
    assert answer == {
        "kind": "invoice",
        "invoiceNumber": "HP-2025-0417",
        "invoice_date": "2025-04-17",
        "due_date": "2025-05-17",
        "customer": {"name": "Skerry Island Ferries Ltd", "email": "ingrid.mowat@skerryferries.example"},
        "currency": "GBP",
        "total": 3106.8,
        "is_paid": False,
        "purchase_order": "PO-88121",
        "discount": None,
    }
    assert lines == [
        {"description": "Larch planking, per metre", "quantity": 36, "unit_price": 21.5, "amount": 774.0},
        {"description": "Copper rivets, box of 500", "quantity": 4, "unit_price": 38.25, "amount": 153.0},
        {"description": "Hull inspection", "quantity": 1, "unit_price": 420.0, "amount": 420.0},
        {"description": "Labour, hours", "quantity": 27, "unit_price": 46.0, "amount": 1242.0},
    ]


def test_the_example_incident_is_read_in_full() -> None:
    schema = {
        "type": "object",
        "properties": {
            "incident_id": {"type": "string", "pattern": "^INC-\\d{4}-\\d+$"},
            "title": {"type": "string"},
            "severity": {"enum": ["low", "medium", "high"]},
            "started_at": {"type": "string", "format": "date-time"},
            "customers_affected": {"type": "integer"},
            "lost_orders": {"type": "integer"},
            "duration_minutes": {"type": "integer"},
            "card_data_exposed": {"type": "boolean"},
            "lead": {"type": ["string", "null"]},
            "actions": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["incident_id", "title", "severity"],
    }
    answer = extract(example("incident"), schema)
    assert answer is not None
    actions = answer.pop("actions")
    assert isinstance(actions, list)
    assert len(actions) == 4
    assert answer == {
        "incident_id": "INC-2025-031",
        "title": "Checkout unavailable for 47 minutes",
        "severity": "high",
        "started_at": "2025-02-11T14:03:00Z",
        "customers_affected": 2300,
        "lost_orders": 412,
        "duration_minutes": 47,
        "card_data_exposed": False,
        "lead": "Dana Whitcombe",
    }


@pytest.mark.parametrize(
    ("name", "node", "value"),
    [
        ("sender_name", {"type": "string"}, "Marta Lindqvist"),
        ("email", {"type": "string", "format": "email"}, "marta.lindqvist@northbaybooks.example"),
        ("subject", {"type": "string"}, "Charged twice for invoice TW-20318"),
        ("sent_at", {"type": "string", "format": "date-time"}, "2025-03-04T09:12:44+01:00"),
        ("invoice_number", {"type": "string"}, "TW-20318"),
        ("phone", {"type": "string"}, "+46 31 555 01 88"),
        ("currency", {"type": "string"}, "EUR"),
    ],
)
def test_a_mail_gives(name: str, node: dict[str, Any], value: str) -> None:
    assert one(example("mail-billing"), name, node) == value


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1,234.50 EUR", 1234.5),
        ("1.234,50 €", 1234.5),
        ("1 234,50", 1234.5),
        ("1'234.50", 1234.5),
        ("$1,234", 1234),
        ("-$5.25", -5.25),
        ("0.125", 0.125),
        ("12", 12),
    ],
)
def test_numbers_are_read_as_they_are_written(written: str, value: float) -> None:
    assert one(f"Total due ..... {written}\n", "total", {"type": "number"}) == value


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("2025-03-04", "2025-03-04"),
        ("4 March 2025", "2025-03-04"),
        ("March 4th, 2025", "2025-03-04"),
        ("04.03.2025", "2025-03-04"),
        ("4. März 2025", "2025-03-04"),
        ("25/03/2025", "2025-03-25"),
        ("03/04/2025", None),  # April or March: not to be guessed
        ("4 March", None),  # no year
        ("31.02.2025", None),
    ],
)
def test_dates_are_read_or_left_alone(written: str, value: str | None) -> None:
    assert one(f"Due date: {written}\n", "due_date", {"type": "string", "format": "date"}) == value


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("uri", "https://example.org/a?b=c"),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000"),
        ("ipv4", "192.0.2.7"),
        ("email", "ann@example.org"),
        ("date-time", "2025-02-11T14:03:00Z"),
    ],
)
def test_formats_are_found_without_a_label(form: str, value: str) -> None:
    assert one(f"Look at ({value}), please.", "it", {"type": "string", "format": form}) == value


def test_an_address_out_of_range_is_no_ipv4() -> None:
    assert one("The host is 999.0.2.7.", "host", {"type": "string", "format": "ipv4"}) is None


@pytest.mark.parametrize(
    "text",
    ["Plan: gold\nSeats: 5", "| Plan | gold |\n| Seats | 5 |", "plan\tgold\nseats\t5", '{"plan": "gold",\n"seats": 5}'],
)
def test_labelled_lines_in_many_spellings(text: str) -> None:
    schema = {"properties": {"plan": {"type": "string"}, "seats": {"type": "integer"}}, "required": ["plan", "seats"]}
    assert extract(text, {"type": "object", **schema}) == {"plan": "gold", "seats": 5}


@pytest.mark.parametrize(
    "table", ["Sku,Qty,Price\nA-1,5,2.50\nB-2,1,10.00", "Sku   Qty   Price\nA-1   5   2.50\nB-2   1   10.00"]
)
def test_rows_of_a_table_without_bars(table: str) -> None:
    item = {"properties": {"sku": {"type": "string"}, "quantity": {"type": "integer"}, "price": {"type": "number"}}}
    rows = one(table, "items", {"type": "array", "items": {"type": "object", **item}})
    assert rows == [{"sku": "A-1", "quantity": 5, "price": 2.5}, {"sku": "B-2", "quantity": 1, "price": 10.0}]


def test_lists_of_strings_inline_and_bulleted() -> None:
    node = {"type": "array", "items": {"type": "string"}}
    assert one("Attendees: Ann Lee, Bob Ray and Cy Poe", "attendees", node) == ["Ann Lee", "Bob Ray", "Cy Poe"]
    assert one("Attendees:\n- Ann Lee\n- Bob Ray\n", "attendees", node) == ["Ann Lee", "Bob Ray"]


def test_enum_needs_its_word_in_the_text() -> None:
    node = {"enum": ["in_progress", "done"]}
    assert one("Status: In progress", "status", node) == "in_progress"
    assert one("It is not known.", "status", node) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Paid: yes", True),
        ("Paid: no", False),
        ("The invoice was paid on Monday.", True),
        ("The invoice has not been paid.", False),
        ("Was the invoice paid?", None),
        ("The invoice is here.", None),
    ],
)
def test_booleans_need_words(text: str, value: bool | None) -> None:
    assert one(text, "is_paid", {"type": "boolean"}) is value


def test_a_label_belongs_to_the_property_that_it_fits_best() -> None:
    schema = {"properties": {"date": {"type": "string"}, "due_date": {"type": "string"}}, "type": "object"}
    assert extract("Due date: 1 May\n", schema) == {"due_date": "1 May"}


def test_nested_objects_read_below_their_heading() -> None:
    text = "Customer:\n  Name: Bob Stone\n\nSupplier:\n  Name: Ann Lee\n"
    party = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    schema = {"type": "object", "properties": {"customer": party, "supplier": party}}
    assert extract(text, schema) == {"customer": {"name": "Bob Stone"}, "supplier": {"name": "Ann Lee"}}


def test_a_label_of_one_object_is_not_taken_for_another() -> None:
    party = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    schema = {"type": "object", "properties": {"customer": party, "supplier": party}}
    assert extract("Customer name: Bob Stone\n", schema) == {"customer": {"name": "Bob Stone"}}


def test_nothing_found_is_no_answer() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"a": {"type": ["integer", "null"]}, "k": {"const": 1}}}
    assert extract("Nothing to see.", schema) is None
    assert extract("", schema) is None


def test_a_missing_required_value_is_no_answer() -> None:
    node = {"type": "object", "properties": {"plan": {"type": "string"}, "age": {"type": "integer"}}}
    assert extract("Plan: gold", {**node, "required": ["plan", "age"]}) is None


def test_a_value_against_its_own_rules_is_not_taken() -> None:
    assert one("Age: 200", "age", {"type": "integer", "maximum": 150}) is None
    assert one("Code: abcdef", "code", {"type": "string", "maxLength": 3}) is None


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"type": "object", "properties": {"n": {"$ref": "http://127.0.0.1:9/x"}, "m": {"type": "integer"}}},
        {"type": "object", "properties": {"n": {"$ref": "file:///etc/hostname"}, "m": {"type": "integer"}}},
        {"type": "object", "properties": {"m": {"type": "integer", "pattern": "(?=a)b"}}},
        {
            "$ref": "#/$defs/a0",
            "properties": {"m": {"type": "integer"}},
            "$defs": {f"a{i}": {"allOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(40)} | {"a40": {}},
        },
    ],
    ids=["self", "self twice", "http", "file", "look-ahead", "doubling"],
)
def test_a_schema_that_cannot_be_checked_safely_is_no_answer(schema: dict[str, Any]) -> None:
    assert extract("m: 5\nn: x\n", schema) is None


def test_a_pattern_that_would_backtrack_for_ever_does_not() -> None:
    """Python's re needs longer than the universe for this one."""
    text = f"code: {'a' * 50}b\n"
    assert one(text, "code", {"type": "string", "pattern": "^(a+)+$"}) is None
    schema = {"type": "object", "patternProperties": {"^(a+)+$": {"type": "integer"}}}
    answer = extract(f"{'a' * 50}b: 5\n", {**schema, "properties": {"a" * 50 + "b": {"type": "string"}}})
    assert answer == {"a" * 50 + "b": "5"}


def test_additional_properties_beside_patterns_are_still_judged() -> None:
    schema = {
        "type": "object",
        "properties": {"plan": {"type": "string"}},
        "allOf": [{"patternProperties": {"^x": {}}, "additionalProperties": False}],
    }
    assert extract("Plan: gold", schema) is None


def test_a_recursive_schema_is_filled_as_deep_as_the_text_goes() -> None:
    schema = {
        "type": "object",
        "properties": {"title": {"type": "string"}, "child": {"$ref": "#"}},
        "required": ["title"],
    }
    answer = extract("Title: Root\n", schema)
    assert answer is not None
    assert answer["title"] == "Root"


def test_half_a_surrogate_pair_is_no_json() -> None:
    assert one("Plan: gold \ud800 plus\n", "plan", {"type": "string", "pattern": "gold"}) == "gold ? plus"


def test_instructions_tip_the_scale_between_labels() -> None:
    text = "Shipping amount: 5.00\nInsurance amount: 7.00\n"
    schema = {"type": "object", "properties": {"amount": {"type": "number"}}}
    assert extract(text, schema) == {"amount": 5.0}
    assert extract(text, schema, instructions="I mean the insurance amount") == {"amount": 7.0}


def test_a_code_is_no_running_text() -> None:
    """A paragraph below "The numbers" is not the invoice's number, however well the heading fits."""
    text = "The numbers\n\nWhat did the rules achieve? The mill ran on 141 days a year, and afterwards on 326."
    schema = {"type": "object", "properties": {"reference": {"type": ["string", "null"]}}, "required": ["reference"]}
    assert extract(text, schema) in (None, {"reference": None})
