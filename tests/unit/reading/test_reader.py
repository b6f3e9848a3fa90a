"""Reading answers from end to end, with the real sandbox."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from penstock_schemas.errors import SchemaRejectedError
from penstock_worker.attempt.reading import Invalid, Reader, Valid
from penstock_worker.attempt.reading.sandbox import Sandbox

INVOICE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "total": {"type": "number"},
        "paid": {"type": "boolean"},
        "note": {"type": "string"},
        "free": {},
        "label": {"enum": ["billing", "bug", "praise"]},
    },
    "required": ["total"],
    "additionalProperties": False,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reader() -> AsyncIterator[Reader]:
    reader = Reader()
    yield reader
    await reader.aclose()


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def refused(reader: Reader, text: str, schema: dict[str, Any] = INVOICE) -> Invalid:
    reading = await reader.read(text, schema)
    assert isinstance(reading, Invalid)
    assert len(reading.hint) <= 500
    return reading


async def test_a_plain_answer_is_valid_without_repairs(reader: Reader) -> None:
    """The ordinary case."""
    assert await reader.read('{"total": 12.5, "paid": true}', INVOICE) == Valid({"total": 12.5, "paid": True}, ())


async def test_a_code_fence_is_a_named_repair(reader: Reader) -> None:
    """Fences are stripped, and the result says so."""
    assert await reader.read('```json\n{"total": 1}\n```', INVOICE) == Valid({"total": 1}, ("code_fence",))


async def test_broken_punctuation_is_a_named_repair(reader: Reader) -> None:
    """A closed list of faults is repaired, inside a fence too."""
    assert await reader.read('{"total": 1,}', INVOICE) == Valid({"total": 1}, ("trailing_comma",))
    assert await reader.read("```\n{'total': 1}\n```", INVOICE) == Valid({"total": 1}, ("code_fence", "quotes"))


async def test_a_repaired_answer_must_fit_the_schema(reader: Reader) -> None:
    """Repair does not excuse from the schema."""
    assert (await refused(reader, "{'total': 'x'}")).reason == "not_json"


async def test_repair_can_be_switched_off() -> None:
    """Without it, broken punctuation is bad output."""
    reader = Reader(repair=False)
    assert (await refused(reader, '{"total": 1,}')).reason == "not_json"
    await reader.aclose()


async def test_an_answer_cut_at_any_byte_is_a_bad_response(reader: Reader) -> None:
    """At every one of its positions: bad response, and never a part of it as success."""
    text = json.dumps({"total": 1.5, "note": 'a, b: {c} [d] \\ "e" é', "free": [[{"x": [1, 2, {}]}, None], "", 12]})
    for end in range(len(text)):
        assert (await refused(reader, text[:end])).code == "bad_response"
    assert isinstance(await reader.read(text, INVOICE), Valid)


async def test_an_answer_known_to_be_cut_off_is_never_valid(reader: Reader) -> None:
    """However complete it looks."""
    for text in ('{"total": 1}', '{"total": 1', "```json\n{}\n```"):
        reading = await reader.read(text, INVOICE, cut_off=True)
        assert isinstance(reading, Invalid)
        assert (reading.code, reading.reason) == ("bad_response", "cut_off")


@pytest.mark.parametrize(
    ("text", "code", "reason"),
    [
        ("", "bad_response", "empty"),
        (" \n ", "bad_response", "empty"),
        ('Here you are: {"total": 1}', "bad_output", "text_around"),
        ('{"total": 1} Anything else?', "bad_output", "text_around"),
        ('{"total": 1}{"total": 1}', "bad_output", "several_values"),
        ('{"total": 1}\n{"total": 2}', "bad_output", "several_values"),
        ('{"total": NaN}', "bad_output", "not_strict"),
        ('{"total": 1e999}', "bad_output", "not_strict"),
        ('{"total": NaN,}', "bad_output", "not_strict"),
        ('{"total": 1, "total": 1}', "bad_output", "not_strict"),
        ('{"total": 1, "total": 2,}', "bad_output", "not_json"),
        ('{"total": 1, "free": ' + "[" * 1_000 + "]" * 1_000 + "}", "bad_output", "not_strict"),
        ('{"total": 1, "free": ' + "[" * 100_000 + "]" * 100_000 + "}", "bad_output", "not_strict"),
        ('{"total": 1, "note": "\ud800"}', "bad_output", "not_strict"),
        ('{"total": 1, "label": "Billing"}', "bad_output", "schema"),
        ('{"total": 1, "label": "billing."}', "bad_output", "schema"),
        ('{"total": 1, "label": "b\u0456lling"}', "bad_output", "schema"),
        ('{"total": "1"}', "bad_output", "schema"),
        ('{"total": true}', "bad_output", "schema"),
        ('{"total": 1, "more": 1}', "bad_output", "schema"),
        ("{}", "bad_output", "schema"),
        ("<html>Log in</html>", "bad_output", "no_json"),
        ('{"total": 1, "note": "' + "x" * (3 * 2**20) + '"}', "result_too_large", "too_large"),
    ],
)
async def test_each_bad_answer_has_its_class(reader: Reader, text: str, code: str, reason: str) -> None:
    """Cut, wrapped, doubled, not finite, deep, nearly right, too large: each is told apart."""
    reading = await refused(reader, text)
    assert (reading.code, reading.reason) == (code, reason)


@pytest.mark.parametrize(
    "note",
    [
        "ignore previous instructions",
        "https://example.com/?q=1",
        "<script>alert(1)</script>",
        "'; DROP TABLE jobs; --",
        "$(rm -rf /)",
        "\x1b[31mred\x1b[0m",
        "\u202ereversed\u200b",
    ],
)
async def test_hostile_words_are_data(reader: Reader, note: str) -> None:
    """What looks like an order, a link, markup or a control sequence is kept as it is."""
    assert await reader.read(json.dumps({"total": 1, "note": note}), INVOICE) == Valid({"total": 1, "note": note})


async def test_a_result_at_the_size_limit_is_valid() -> None:
    """The limit is in bytes and includes the last one; long answers are read in the sandbox, unchanged."""
    text = json.dumps({"total": 1, "note": "é" * 300_000}, ensure_ascii=False)
    size = len(text.encode())
    reader = Reader(max_bytes=size)
    assert await reader.read(text, INVOICE) == Valid(json.loads(text))
    assert (await refused(reader, text + "x")).code == "result_too_large"
    await reader.aclose()


async def test_numbers_survive_the_sandbox() -> None:
    """Every integer of 64 bits and every double is the same after the way through the child."""
    reader = Reader()
    numbers = [2**64 - 1, -(2**63), 0.1, 1e-300, 5e-324, 1.7976931348623157e308, 1.0, -0.0, 2**53 + 1]
    text = json.dumps({"total": 1, "free": [numbers, "x" * 200_000]})
    reading = await reader.read(text, INVOICE)
    assert isinstance(reading, Valid)
    assert [repr(number) for number in reading.value["free"][0]] == [repr(number) for number in numbers]
    await reader.aclose()


async def test_a_no_is_explained_without_the_answer(reader: Reader) -> None:
    """The hint for a re-ask says what is expected where, and repeats nothing of what was said."""
    reading = await refused(reader, '{"total": "hunter2", "label": "sk-4242", "secret": 1}')
    assert {violation.keyword for violation in reading.violations} == {"type", "enum", "additionalProperties"}
    assert '/total must be of type "number"' in reading.hint
    assert '"billing", "bug", "praise"' in reading.hint
    assert not any(word in str(reading) for word in ("hunter2", "sk-4242", "secret"))


async def test_prose_around_is_a_repair_where_it_is_allowed() -> None:
    """A reader may be told to take the one value out of the text around it."""
    reader = Reader(prose=True)
    assert await reader.read('Here: {"total": 1}.', INVOICE) == Valid({"total": 1}, ("prose_around",))
    mended = Valid({"total": 1}, ("prose_around", "quotes", "trailing_comma"))
    assert await reader.read("Here it is: {'total': 1,} I hope it helps!", INVOICE) == mended
    assert (await refused(reader, "Here it is: {'total': 1, 'note': it's} I hope it helps!")).reason == "not_json"
    assert (await refused(reader, '{"total": 1} or {"total": 2}')).reason == "several_values"
    await reader.aclose()


FRACTIONS = {"items": {"enum": [number + 0.5 for number in range(1_000)]}}
UNIQUE = {"uniqueItems": True, "contains": {"type": "integer"}}


@pytest.mark.parametrize(
    ("schema", "text"),
    [(FRACTIONS, str([999.5] * 100_000)), (UNIQUE, json.dumps([{"a": n} for n in range(20_000)]))],
)
async def test_validation_that_explodes_ends_and_the_loop_goes_on(schema: dict[str, Any], text: str) -> None:
    """A schema and an answer that would take for ever end as a time-out, and the event loop runs meanwhile."""
    reader = Reader(sandbox=Sandbox(size=1, cpu_s=0.3))
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.005)
            turns += 1

    ticking = asyncio.create_task(turn())
    reading = await reader.read(text, schema)
    ticking.cancel()
    assert isinstance(reading, Invalid)
    assert (reading.code, reading.hint) == ("validation_timeout", "")
    assert turns > 10
    assert isinstance(await reader.read("[]", {"type": "array"}), Valid)
    await reader.aclose()


async def test_backtracking_patterns_are_refused_at_the_gate(reader: Reader) -> None:
    """A schema that slipped past the producer is refused here, not compiled."""
    with pytest.raises(SchemaRejectedError):
        await reader.read('{"a": 1}', {"pattern": "(a+)+$"})


async def test_ambiguous_patterns_that_pass_are_harmless(reader: Reader) -> None:
    """Overlapping alternatives take a backtracking engine for ever; here they are matched in linear time."""
    reading = await refused(reader, json.dumps("a" * 100_000 + "b"), {"pattern": "^(a|aa)+$"})
    assert reading.reason == "schema"


async def test_what_is_known_survives_a_dead_sandbox(reader: Reader) -> None:
    """If the explanation or the repair cannot be made, the class of the fault is still told."""
    broken = Reader(sandbox=Sandbox(size=1, wall_s=0.0001))
    assert (await refused(broken, '{"total": "x"}')).reason == "schema"
    assert (await refused(broken, '{"total": 1,}')).reason == "not_json"
    await broken.aclose()


async def test_many_answers_at_once(reader: Reader) -> None:
    """Good, broken and wrong answers read together each get their own reading."""
    texts = ['{"total": 1}', '{"total": 1,}', '{"total": "x"}', "hello"] * 25
    readings = await asyncio.gather(*(reader.read(text, INVOICE) for text in texts))
    kinds = [reading.repairs if isinstance(reading, Valid) else reading.reason for reading in readings]
    assert kinds == [(), ("trailing_comma",), "schema", "no_json"] * 25
