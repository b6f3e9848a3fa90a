"""What is wrong is refused with a code and a field, and then the database is what it was, byte for byte."""

import math
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel
from redis.asyncio import Redis

from penstock import (
    Classify,
    EnqueueManyError,
    Extract,
    IdempotencyConflictError,
    InvalidRequestError,
    Limits,
    PayloadTooLargeError,
    Producer,
    QueueFullError,
    RequestError,
    SchemaRejectedError,
    Summarize,
    TooDeepError,
    UnknownTaskError,
)
from penstock.requests import parse_input, read_input
from tests.support.jobs import dump
from tests.support.tasks import Translate

KIB = 1024
Case = Callable[[Producer], Awaitable[Any]]
OBJECT = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def endless() -> Any:
    value: dict[str, Any] = {}
    value["again"] = value
    return value


class Callback(BaseModel):
    done: Callable[[], None]


def summarize(**options: Any) -> Case:
    return lambda producer: producer.enqueue(Summarize(text="A text."), **options)


def asked(**fields: Any) -> Case:
    return lambda producer: producer.enqueue(Summarize(**fields))


def about(value: Any) -> Case:
    return lambda producer: producer.enqueue(Translate(text="A text.", about=value))


def read(task: str, text: str | bytes) -> Case:
    return lambda producer: producer.enqueue(read_input(task, text))


def parsed(task: str, fields: Any) -> Case:
    return lambda producer: producer.enqueue(parse_input(task, fields))


def extract(schema: Any, **fields: Any) -> Case:
    return lambda producer: producer.enqueue(Extract(text="A text.", schema=schema, **fields))


TASKS: dict[str, tuple[Case, type[RequestError], str | None]] = {
    "unknown task": (parsed("no_such", {"text": "x"}), UnknownTaskError, "task"),
    "not a task at all": (lambda p: p.enqueue({"text": "x"}), InvalidRequestError, "task"),  # type: ignore[arg-type]
    "extra field": (asked(text="x", status="done"), InvalidRequestError, "input.status"),
    "extra field, cost": (asked(text="x", cost=1), InvalidRequestError, "input.cost"),
    "extra field, self": (parsed("summarize", {"text": "x", "self": 1}), InvalidRequestError, "input.self"),
    "fields that are no object": (parsed("summarize", ["text"]), InvalidRequestError, "input"),
    "keys that are not text": (parsed("summarize", {1: "x"}), InvalidRequestError, "input"),
    "missing field": (asked(), InvalidRequestError, "input.text"),
    "empty text": (asked(text=""), InvalidRequestError, "input.text"),
    "white space only": (asked(text=" \n\t\u00a0\u2003"), InvalidRequestError, "input.text"),
    "text that is no string": (asked(text=5), InvalidRequestError, "input.text"),
    "emptied in a copy": (
        lambda p: p.enqueue(Summarize(text="x").model_copy(update={"text": ""})),
        InvalidRequestError,
        "input.text",
    ),
    "words 0": (asked(text="x", max_words=0), InvalidRequestError, "input.max_words"),
    "words -1": (asked(text="x", max_words=-1), InvalidRequestError, "input.max_words"),
    "words 10**9": (asked(text="x", max_words=10**9), InvalidRequestError, "input.max_words"),
    "words of 5,000 digits": (asked(text="x", max_words=10**5_000), InvalidRequestError, "input.max_words"),
    "words as text": (asked(text="x", max_words="100"), InvalidRequestError, "input.max_words"),
    "words true": (asked(text="x", max_words=True), InvalidRequestError, "input.max_words"),
    "words 10.5": (asked(text="x", max_words=10.5), InvalidRequestError, "input.max_words"),
    "unknown style": (asked(text="x", style="haiku"), InvalidRequestError, "input.style"),
    "language with a line break": (asked(text="x", language="de\nfr"), InvalidRequestError, "input.language"),
    "blank focus": (asked(text="x", focus=" "), InvalidRequestError, "input.focus"),
    "no labels": (lambda p: p.enqueue(Classify(text="x", labels=[])), InvalidRequestError, "input.labels"),
    "a label twice": (lambda p: p.enqueue(Classify(text="x", labels=["a", "a"])), InvalidRequestError, "input.labels"),
    "labels as one text": (lambda p: p.enqueue(Classify(text="x", labels="ab")), InvalidRequestError, "input.labels"),
    "201 labels": (
        lambda p: p.enqueue(Classify(text="x", labels=[str(n) for n in range(201)])),
        InvalidRequestError,
        "input.labels",
    ),
}

SIZES: dict[str, tuple[Case, type[RequestError], str | None]] = {
    "text of 256 KiB + 1": (asked(text="a" * (256 * KIB + 1)), PayloadTooLargeError, "input.text"),
    "text of 256 KiB + 1 in UTF-8": (asked(text="ä" * (128 * KIB) + "a"), PayloadTooLargeError, "input.text"),
    "request of 1 MiB + 1": (about("a" * (KIB * KIB + 1)), PayloadTooLargeError, "input.about"),
    "request of 1 MiB in many parts": (about(["a" * KIB] * KIB), PayloadTooLargeError, None),
    "33 deep": (about(nested(32)), TooDeepError, "input.about" + "[0]" * 31),
    "100,000 deep": (about(nested(100_000)), TooDeepError, "input"),
    "holds itself": (about(endless()), TooDeepError, "input"),
    "JSON text 33 deep": (read("reword", "[" * 33 + "]" * 33), TooDeepError, "input"),
    "JSON text of 100,000 brackets": (read("reword", "[" * 100_000), TooDeepError, "input"),
    "JSON text of 1 MiB + 1": (read("reword", " " * (KIB * KIB + 1)), PayloadTooLargeError, "input"),
}

VALUES: dict[str, tuple[Case, type[RequestError], str | None]] = {
    "NaN": (about(math.nan), InvalidRequestError, "input.about"),
    "Infinity deep inside": (about({"a": [1, math.inf]}), InvalidRequestError, "input.about.a[1]"),
    "NaN in JSON text": (read("reword", '{"text":"x","about":NaN}'), InvalidRequestError, "about"),
    "1e999 in JSON text": (read("reword", '{"text":"x","about":[1e999]}'), InvalidRequestError, "about[0]"),
    "integer of 5,000 digits": (about(10**5_000), InvalidRequestError, "input.about"),
    "integer of 5,000 digits in JSON text": (
        read("reword", '{"text":"x","about":' + "9" * 5_000 + "}"),
        InvalidRequestError,
        "about",
    ),
    "equal keys in JSON text": (read("reword", '{"text":"x","text":"y"}'), InvalidRequestError, "text"),
    "not JSON": (read("reword", "{text}"), InvalidRequestError, "input"),
    "lone surrogate": (asked(text="a\ud800"), InvalidRequestError, "input.text"),
    "lone surrogate elsewhere": (about("a\udfff"), InvalidRequestError, "input.about"),
    "unpaired UTF-16 in JSON text": (read("reword", '{"text":"\\ud800"}'), InvalidRequestError, "text"),
    "NUL": (asked(text="a\0b"), InvalidRequestError, "input.text"),
    "what JSON has not": (about(object()), InvalidRequestError, "input"),
    "bytes that are no text": (about(b"\xff"), InvalidRequestError, "input"),
    "wrong types, past the constructor": (
        lambda p: p.enqueue(Summarize.model_construct(text="x", max_words="many")),
        InvalidRequestError,
        "input",
    ),
}

OPTIONS: dict[str, tuple[Case, type[RequestError], str | None]] = {
    "job id": (summarize(job_id="mine"), InvalidRequestError, "job_id"),
    "moment of creation": (summarize(created_at=0), InvalidRequestError, "created_at"),
    "reserved budget": (summarize(budget_reserved=1), InvalidRequestError, "budget_reserved"),
    "another tenant": (summarize(tenant="rival"), InvalidRequestError, "tenant"),
    "another task": (summarize(task="extract"), InvalidRequestError, "task"),
    "another input": (summarize(input={}), InvalidRequestError, "input"),
    "another version": (summarize(version=2), InvalidRequestError, "version"),
    "cost in nano-USD": (summarize(max_cost_nanousd=1), InvalidRequestError, "max_cost_nanousd"),
    "limits": (summarize(limits=Limits()), InvalidRequestError, "limits"),
    "0 attempts": (summarize(max_attempts=0), InvalidRequestError, "max_attempts"),
    "21 attempts": (summarize(max_attempts=21), InvalidRequestError, "max_attempts"),
    "attempts as text": (summarize(max_attempts="3"), InvalidRequestError, "max_attempts"),
    "attempts true": (summarize(max_attempts=True), InvalidRequestError, "max_attempts"),
    "attempts 1.5": (summarize(max_attempts=1.5), InvalidRequestError, "max_attempts"),
    "deadline now": (summarize(deadline_s=0), InvalidRequestError, "deadline_s"),
    "deadline in the past": (summarize(deadline_s=-1), InvalidRequestError, "deadline_s"),
    "deadline in ten years": (summarize(deadline_s=10 * 365 * 86_400), InvalidRequestError, "deadline_s"),
    "deadline NaN": (summarize(deadline_s=math.nan), InvalidRequestError, "deadline_s"),
    "deadline before the delay is over": (summarize(deadline_s=5, delay_s=5), InvalidRequestError, "deadline_s"),
    "negative delay": (summarize(delay_s=-0.1), InvalidRequestError, "delay_s"),
    "delay NaN": (summarize(delay_s=math.nan), InvalidRequestError, "delay_s"),
    "delay infinite": (summarize(delay_s=math.inf), InvalidRequestError, "delay_s"),
    "delay as text": (summarize(delay_s="5"), InvalidRequestError, "delay_s"),
    "delay true": (summarize(delay_s=True), InvalidRequestError, "delay_s"),
    "unknown lane": (summarize(lane="urgent"), InvalidRequestError, "lane"),
    "lane as a number": (summarize(lane=1), InvalidRequestError, "lane"),
    "negative cost": (summarize(max_cost_usd="-0.01"), InvalidRequestError, "max_cost_usd"),
    "infinite cost": (summarize(max_cost_usd="Infinity"), InvalidRequestError, "max_cost_usd"),
    "cost NaN": (summarize(max_cost_usd=Decimal("NaN")), InvalidRequestError, "max_cost_usd"),
    "cost sNaN": (summarize(max_cost_usd=Decimal("sNaN")), InvalidRequestError, "max_cost_usd"),
    "cost as a float": (summarize(max_cost_usd=0.02), InvalidRequestError, "max_cost_usd"),
    "cost true": (summarize(max_cost_usd=True), InvalidRequestError, "max_cost_usd"),
    "cost in words": (summarize(max_cost_usd="two cents"), InvalidRequestError, "max_cost_usd"),
    "cost as a list": (summarize(max_cost_usd=["1"]), InvalidRequestError, "max_cost_usd"),
    "cost of a part of a nano-dollar": (summarize(max_cost_usd="0.0000000001"), InvalidRequestError, "max_cost_usd"),
    "cost beyond all money": (summarize(max_cost_usd="1e999999999"), InvalidRequestError, "max_cost_usd"),
    "unknown failure policy": (summarize(on_failure="ignore"), InvalidRequestError, "on_failure"),
    "stream as a number": (summarize(stream=1), InvalidRequestError, "stream"),
    "33 notes": (summarize(metadata={str(n): "x" for n in range(33)}), InvalidRequestError, "metadata"),
    "long note": (summarize(metadata={"a": "x" * 257}), InvalidRequestError, "metadata.a"),
    "NUL in a note": (summarize(metadata={"a": "x\0"}), InvalidRequestError, "metadata.a"),
    "note that is no text": (summarize(metadata={"a": 1}), InvalidRequestError, "metadata.a"),
    "empty key": (summarize(idempotency_key=""), InvalidRequestError, "idempotency_key"),
    "key of 256": (summarize(idempotency_key="k" * 256), InvalidRequestError, "idempotency_key"),
    "key with a line break": (summarize(idempotency_key="a\n"), InvalidRequestError, "idempotency_key"),
    "key with an escape": (summarize(idempotency_key="\x1b[1m"), InvalidRequestError, "idempotency_key"),
    "key not in ASCII": (summarize(idempotency_key="schlüssel"), InvalidRequestError, "idempotency_key"),
    "key that is no text": (summarize(idempotency_key=7), InvalidRequestError, "idempotency_key"),
}

SCHEMAS: dict[str, tuple[Case, type[RequestError], str | None]] = {
    "true": (extract(True), SchemaRejectedError, "schema#"),
    "list": (extract([OBJECT]), SchemaRejectedError, "schema#"),
    "a type that is no model": (extract(int), SchemaRejectedError, "schema#"),
    "a model without a schema": (extract(Callback), SchemaRejectedError, "schema"),
    "remote reference": (
        extract({"type": "object", "$ref": "http://localhost/x.json"}),
        SchemaRejectedError,
        "schema#/$ref",
    ),
    "file reference": (extract({"type": "object", "$ref": "file:///etc/passwd"}), SchemaRejectedError, "schema#/$ref"),
    "reference to itself": (extract({"type": "object", "$ref": "#"}), SchemaRejectedError, "schema#/$ref"),
    "catastrophic pattern": (
        extract({"type": "object", "properties": {"a": {"type": "string", "pattern": "(a+)+$"}}}),
        SchemaRejectedError,
        "schema#/properties/a/pattern",
    ),
    "misspelt keyword": (extract({**OBJECT, "requried": ["total"]}), SchemaRejectedError, "schema#/requried"),
    "draft-04": (
        extract({**OBJECT, "$schema": "http://json-schema.org/draft-04/schema#"}),
        SchemaRejectedError,
        "schema#/$schema",
    ),
    "format that is not enforced": (
        extract({"type": "object", "properties": {"a": {"type": "string", "format": "iban"}}}),
        SchemaRejectedError,
        "schema#/properties/a/format",
    ),
    "enum of 100,000": (
        extract({"type": "object", "properties": {"a": {"enum": list(range(100_000))}}}),
        SchemaRejectedError,
        "schema",
    ),
    "dynamic reference": (extract({**OBJECT, "$dynamicRef": "#x"}), SchemaRejectedError, "schema#/$dynamicRef"),
    "both names of the schema": (
        lambda p: p.enqueue(Extract(text="x", schema=OBJECT, json_schema=OBJECT)),  # type: ignore[call-overload]
        InvalidRequestError,
        "input.json_schema",
    ),
    "blank instructions": (extract(OBJECT, instructions=" "), InvalidRequestError, "input.instructions"),
}


def cases(*tables: dict[str, tuple[Case, type[RequestError], str | None]]) -> list[Any]:
    return [pytest.param(*case, id=name) for table in tables for name, case in table.items()]


@pytest.mark.parametrize(("case", "error", "field"), cases(TASKS, SIZES, VALUES, OPTIONS, SCHEMAS))
async def test_a_wrong_request_writes_nothing(
    producer: Producer, redis: Redis, case: Case, error: type[RequestError], field: str | None
) -> None:
    """Its class, its code and the field at fault are told; the content is not."""
    await producer.enqueue(Summarize(text="One that is there before."), idempotency_key="before")
    before = await dump(redis)
    with pytest.raises(RequestError) as refusal:
        await case(producer)
    assert type(refusal.value) is error
    assert refusal.value.field == field
    assert not refusal.value.retriable
    assert len(str(refusal.value)) < 600
    assert await dump(redis) == before


@pytest.mark.parametrize("tenant", ["../../x", "a:b", "*", "{x}", "", "a" * 65, "ä", "a\n", None, 7])
def test_a_tenant_that_is_no_name_is_refused(tenant: Any) -> None:
    """It becomes part of Redis keys: no glob, no slot tag, no other key."""
    with pytest.raises(InvalidRequestError, match="tenant") as refusal:
        Producer.connect("redis://localhost:1", tenant=tenant)
    assert refusal.value.field == "tenant"


@pytest.mark.parametrize("job_id", ["../../x", "a:b", "*", "{x}", "", "a\nb", "\x1b[1m", "a" * 65])
async def test_a_job_id_that_is_no_name_is_refused(producer: Producer, job_id: str) -> None:
    """Nothing is asked of Redis for it."""
    for ask in (producer.status, producer.cancel):
        with pytest.raises(InvalidRequestError, match="job_id"):
            await ask(job_id)
    with pytest.raises(InvalidRequestError, match="job_id"):
        producer.job(job_id)
    assert producer.batcher.calls == 0


@pytest.mark.parametrize(
    "text",
    [
        "\u202edrawkcab\u202c and \u200b\u200dzero\ufeff",
        "a" + "\u0301" * 100_000,
        "\x1b[31mred\x07 \r\n\t",
        "𝄞" * 60_000,
    ],
)
async def test_strange_but_valid_text_is_kept_as_it_is(producer: Producer, text: str) -> None:
    """Directions, zero widths, combining marks, control characters: data."""
    job = await producer.enqueue(Summarize(text=text), metadata={"note": text[:200]})
    request = await job.request()
    assert request.input["text"] == text
    assert request.metadata == {"note": text[:200]}


async def test_what_lies_at_the_limit_is_accepted(producer: Producer) -> None:
    """One more byte, level, character or note is too many; this is not."""
    await producer.enqueue(Summarize(text="ä" * (128 * KIB)))
    await producer.enqueue(Translate(text="x", about=nested(31)))
    await producer.enqueue(
        Summarize(text="x"),
        idempotency_key="k" * 255,
        metadata={f"{n:064}": "x" * 256 for n in range(32)},
        max_attempts=20,
        deadline_s=30 * 86_400,
        delay_s=30 * 86_400 - 1,
        max_cost_usd="0",
    )


async def test_a_property_named_like_a_keyword_is_data(producer: Producer) -> None:
    """What stands below properties is a name."""
    properties = {name: {"type": "string"} for name in ("pattern", "$ref", "requried", "default")}
    await producer.enqueue(Extract(text="x", schema={"type": "object", "properties": properties}))


async def test_a_lower_limit_is_kept(redis_url: str, redis: Redis) -> None:
    """Each of the configured limits, not only the default ones."""
    limits = Limits(text_bytes=10, request_bytes=600, schema_bytes=60, depth=3)
    async with Producer.connect(redis_url, limits=limits) as producer:
        for case, error in (
            (Summarize(text="elf Zeichen"), PayloadTooLargeError),
            (Translate(text="x", about=["a" * 100] * 5), PayloadTooLargeError),
            (Extract(text="x", schema=OBJECT), SchemaRejectedError),
            (Translate(text="x", about=nested(3)), TooDeepError),
        ):
            with pytest.raises(error):
                await producer.enqueue(case)
    assert await dump(redis) == {}


async def test_a_known_key_with_another_request_writes_nothing(producer: Producer, redis: Redis) -> None:
    """The conflict names the job that has the key; any difference of the request counts."""
    job = await producer.enqueue(Summarize(text="A"), idempotency_key="k")
    before = await dump(redis)
    for other in (
        producer.enqueue(Summarize(text="B"), idempotency_key="k"),
        producer.enqueue(Summarize(text="A", max_words=50), idempotency_key="k"),
        producer.enqueue(Summarize(text="A"), idempotency_key="k", lane="bulk"),
        producer.enqueue(Summarize(text="A"), idempotency_key="k", max_cost_usd="1"),
        producer.enqueue(Translate(text="A"), idempotency_key="k"),
    ):
        with pytest.raises(IdempotencyConflictError) as conflict:
            await other
        assert conflict.value.job_id == job.id
        assert job.id in str(conflict.value)
    assert await dump(redis) == before


async def test_a_full_queue_writes_nothing(redis_url: str, redis: Redis) -> None:
    """The bound counts open jobs of all tenants; a known key is answered all the same."""
    async with Producer.connect(redis_url, limits=Limits(queued_jobs=2)) as producer:
        first = await producer.enqueue(Summarize(text="1"), idempotency_key="k")
        second = await producer.enqueue(Summarize(text="2"), delay_s=60)
        before = await dump(redis)
        with pytest.raises(QueueFullError) as refusal:
            await producer.enqueue(Summarize(text="3"))
        assert refusal.value.retriable
        assert refusal.value.retry_after_s is not None
        assert await dump(redis) == before
        assert (await producer.enqueue(Summarize(text="1"), idempotency_key="k")).id == first.id
        await second.cancel()
        assert (await producer.enqueue(Summarize(text="3"))).created


async def test_one_wrong_item_keeps_a_bulk_enqueue_from_writing(producer: Producer, redis: Redis) -> None:
    """Every item at fault is named by its place."""
    texts = ["good", "bad\0", "good", "too large" * 100_000]
    with pytest.raises(EnqueueManyError) as refusal:
        await producer.enqueue_many([Summarize(text=text) for text in texts])
    assert refusal.value.jobs == [None] * 4
    assert {i: type(error) for i, error in refusal.value.errors.items()} == {
        1: InvalidRequestError,
        3: PayloadTooLargeError,
    }
    with pytest.raises(InvalidRequestError, match="idempotency_keys"):
        await producer.enqueue_many([Summarize(text="x")], idempotency_keys=["a", "b"])
    with pytest.raises(InvalidRequestError, match="lane"):
        await producer.enqueue_many([Summarize(text="x")], lane="urgent")  # type: ignore[arg-type]
    assert await dump(redis) == {}
