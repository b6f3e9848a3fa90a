"""Texts that are too long for one call: each part is asked about once, and the answers become one."""

import re
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from penstock import Classify, Extract, JobDeadError, Producer, Summarize
from penstock.dead_letters import DeadLetters
from penstock_schemas import keys
from penstock_schemas.results import Quality
from penstock_simulator.ask import Ask
from penstock_simulator.simulator import Simulator
from penstock_worker.settings import Settings
from penstock_worker.tasks import definition
from tests.support.wait import until
from tests.support.workers import work_off, working

Make = Callable[..., Settings]
SENTENCES = [
    "Mill {0} by the river turns day and night.",
    "Its miller saw {0} boats.",
    "Flour of {0} sacks went by.",
    "Rain fell.",
]
TEXT = "".join(f"# Letter {n:02}\n\n{' '.join(SENTENCES * 5).replace('{0}', str(n))}\n\n" for n in range(1, 9))
"""Eight sections of some 540 bytes, each a chunk of its own."""
ASKED = Summarize(text=TEXT, max_words=30, focus="the mill")
PARTS: dict[str, Any] = {"chunk_tokens": 200, "chunk_overlap_tokens": 0}
"""Of a route: chunks of 600 bytes."""
CHUNKS, NOTES = 8, 3
"""Chunks of the text; calls that condense and join the notes on them."""


def asked_about(simulator: Simulator) -> list[str]:
    """What each call was about, in the order they came: a letter's number, or "notes"."""
    return [call.caller_id or "" for call in simulator.calls()]


async def steps(redis: Redis, job_id: str) -> list[str]:
    """The steps of the job's calls, oldest first."""
    row = await redis.hgetall(keys.journal(job_id))  # type: ignore[misc]
    calls = {name: orjson.loads(value) for name, value in row.items() if re.fullmatch(rb"\d+\.\d+\.\d+", name)}
    return [
        calls[name].get("step", "") for name in sorted(calls, key=lambda name: [int(part) for part in name.split(b".")])
    ]


async def test_a_long_text_is_summarized_in_parts(
    producer: Producer, redis: Redis, simulator: Simulator, settings: Make
) -> None:
    """Notes on each chunk, and a summary of the notes that keeps the limits; all calls are in usage and cost."""
    job = await producer.enqueue(ASKED)
    await work_off(settings(route=PARTS))
    result = await job.result(timeout_s=0)
    assert (result.state, result.quality, result.chunks, result.attempts) == ("succeeded", Quality.OK, CHUNKS, 1)
    assert 0 < len(result.output.summary.split()) <= 30
    assert result.made_by.prompt == "summarize-join@1"
    made = await steps(redis, job.id)
    assert sorted(made[:CHUNKS]) == [f"chunk:{n}" for n in range(1, CHUNKS + 1)]
    assert made[-1] == "join"
    assert result.calls == len(simulator.calls()) == len(made)
    assert len({call.caller_id for call in simulator.calls()}) == result.calls
    assert result.usage.output_tokens == sum(call.visible_output_tokens for call in simulator.calls())
    rows = [row for _, row in await redis.xrange(keys.LEDGER)]
    assert result.cost_nanousd == sum(int(row[b"cost_nanousd"]) for row in rows) > 0
    journal = b"".join(await redis.hvals(keys.journal(job.id)))  # type: ignore[misc]
    assert b"by the river" not in journal
    assert await redis.hlen(keys.parts(job.id)) == result.calls + 1  # type: ignore[misc]
    assert await redis.pttl(keys.parts(job.id)) > 0


async def test_a_text_below_the_limit_is_asked_about_whole(
    producer: Producer, redis: Redis, simulator: Simulator, settings: Make
) -> None:
    """Nothing is different for it, in the result or in Redis."""
    job = await producer.enqueue(ASKED)
    await work_off(settings(route={"chunk_tokens": 200, "max_input_tokens": 2000}))
    result = await job.result(timeout_s=0)
    assert (result.calls, result.chunks, result.made_by.prompt) == (1, 1, "summarize@1")
    assert not await redis.exists(keys.parts(job.id))


async def test_labels_are_voted_on(producer: Producer, simulator: Simulator, settings: Make) -> None:
    """Each chunk has a vote; parts that are at odds make the result doubtful."""
    one_sided = await producer.enqueue(Classify(text=TEXT, labels=["mill and river", "bug"]))
    simulator.script(
        [
            *({"match": {"contains": f"Letter {n:02}"}, "answer": '{"labels": ["bug"]}'} for n in (1, 3, 5, 8)),
            {"match": {"contains": "Letter 07"}, "answer": '{"labels": []}'},
        ]
    )
    await work_off(settings(route=PARTS))
    result = await one_sided.result(timeout_s=0)
    assert (result.output.labels, result.chunks, result.calls) == (["bug"], CHUNKS, CHUNKS)
    assert (result.quality, result.reasons) == (Quality.OK, ())
    assert result.made_by.prompt == "classify-part@1"

    simulator.script([{"match": {"contains": f"Letter {n:02}"}, "answer": '{"labels": ["bug"]}'} for n in (1, 3, 5, 8)])
    tied = await producer.enqueue(Classify(text=TEXT, labels=["mill and river", "bug"]))
    await work_off(settings(route=PARTS))
    result = await tied.result(timeout_s=0)
    assert (result.quality, result.reasons) == (Quality.SUSPECT, ("close_vote",))


async def test_a_text_that_fits_no_label_has_none_or_no_answer(
    producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """Where none is an answer it is one; else no call more is made for it."""
    simulator.script([{"answer": '{"labels": []}'}])
    labels = ["billing", "bug"]
    none = await producer.enqueue(Classify(text=TEXT, labels=labels, allow_none=True))
    some = await producer.enqueue(Classify(text=TEXT, labels=labels), on_failure="dead_letter")
    await work_off(settings(route=PARTS))
    assert (await none.result(timeout_s=0)).output.labels == []
    with pytest.raises(JobDeadError) as dead:
        await some.result(timeout_s=0)
    assert dead.value.reason == "parts_do_not_fit"
    assert len(simulator.calls()) == 2 * CHUNKS


INVOICE = {
    "type": "object",
    "properties": {
        "number": {"type": "string"},
        "total": {"type": ["number", "null"]},
        "lines": {
            "type": "array",
            "items": {"type": "object", "properties": {"item": {"type": "string"}}, "required": ["item"]},
        },
    },
    "required": ["number", "total", "lines"],
    "additionalProperties": False,
}


def found(n: int, **value: Any) -> dict[str, Any]:
    return {"match": {"contains": f"Letter {n:02}"}, "answer": orjson.dumps(value).decode()}


async def test_what_parts_have_is_merged(producer: Producer, simulator: Simulator, settings: Make) -> None:
    """The whole schema holds for the whole; a contradiction is told with its place."""
    flour, bread = {"item": "flour"}, {"item": "bread"}
    nothing: dict[str, Any] = {"number": None, "lines": []}
    rules = [
        found(1, number="A-1", lines=[flour, flour]),
        found(2, lines=[flour, bread]),
        found(3, number="A-1 ", total=None),
        *(found(n, **nothing) for n in range(4, 9)),
    ]
    simulator.script(rules)
    agreed = await producer.enqueue(Extract(text=TEXT, schema=INVOICE))
    await work_off(settings(route=PARTS))
    result = await agreed.result(timeout_s=0)
    assert result.output == {"number": "A-1", "total": None, "lines": [flour, flour, bread]}
    assert (result.quality, result.calls, result.chunks) == (Quality.OK, CHUNKS, CHUNKS)

    simulator.script([found(4, number="B-2", lines=[]), *rules])
    at_odds = await producer.enqueue(Extract(text=TEXT, schema=INVOICE))
    await work_off(settings(route=PARTS))
    result = await at_odds.result(timeout_s=0)
    assert result.output["number"] == "A-1"
    assert (result.quality, result.reasons) == (Quality.SUSPECT, ("conflict:/number",))


async def test_what_no_part_has_and_the_whole_must_is_no_answer(
    producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """No model is asked to make it up; nor is anything asked again."""
    simulator.script([{"answer": '{"number": null, "total": 3}'}])
    job = await producer.enqueue(Extract(text=TEXT, schema=INVOICE), on_failure="dead_letter")
    await work_off(settings(route=PARTS))
    with pytest.raises(JobDeadError) as dead:
        await job.result(timeout_s=0)
    assert dead.value.reason == "parts_do_not_fit"
    assert len(simulator.calls()) == CHUNKS


async def test_evidence_is_of_the_part_that_a_value_came_from(
    producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """Under the place that the value has in the whole."""

    def quoted(n: int, item: str) -> dict[str, Any]:
        evidence = [{"path": "/lines/0/item", "quote": f"Letter {n:02}"}]
        return found(n, value={"lines": [{"item": item}]}, evidence=evidence)

    rest = {"answer": '{"value": {}, "evidence": []}'}
    simulator.script([quoted(2, "Letter 02"), quoted(5, "Letter 05"), rest])
    schema = {"type": "object", "properties": {"lines": INVOICE["properties"]["lines"]}, "required": ["lines"]}  # type: ignore[index]
    job = await producer.enqueue(Extract(text=TEXT, schema=schema, evidence=True))
    await work_off(settings(route=PARTS))
    result = await job.result(timeout_s=0)
    assert result.quality is Quality.OK
    assert result.output.quotes("/lines/0/item") == ["Letter 02"]
    assert result.output.quotes("/lines/1/item") == ["Letter 05"]


# What is done is done once


async def test_finished_parts_are_not_paid_for_again_in_later_attempts(
    producer: Producer, redis: Redis, simulator: Simulator, settings: Make
) -> None:
    """One part fails, then throttles, then is wrong twice; every other part is asked about once."""
    simulator.script(
        [
            {"match": {"contains": "Letter 05"}, "fault": "500", "times": 1},
            {"match": {"contains": "Letter 06"}, "fault": "429 retry-after-ms=50", "times": 1},
            {"match": {"contains": "Letter 07"}, "fault": "wrong-schema", "times": 2},
        ]
    )
    job = await producer.enqueue(ASKED, max_attempts=2)
    await work_off(settings(route=PARTS))
    result = await job.result(timeout_s=0)
    assert (result.state, result.quality) == ("succeeded", Quality.OK)
    made = await steps(redis, job.id)
    calls = {step: made.count(step) for step in made}
    assert calls.pop("chunk:5") == 2
    assert calls.pop("chunk:6") == 2
    assert calls.pop("chunk:7") == 3
    assert set(calls.values()) == {1}
    assert result.attempts <= 2


async def test_a_part_that_fails_for_good_ends_the_job(
    producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """The fallback answers for the whole text; what is in flight is waited for, and nothing more is begun."""
    simulator.script([{"match": {"contains": "Letter 02"}, "fault": "refusal"}])
    job = await producer.enqueue(ASKED)
    await work_off(settings(route={**PARTS, "chunks_at_once": 2}))
    result = await job.result(timeout_s=0)
    assert (result.state, result.made_by.kind, result.failure and result.failure.code) == (
        "degraded",
        "fallback",
        "refused",
    )
    assert len(simulator.calls()) <= 4


async def test_a_part_that_fails_again_and_again_uses_up_the_attempts(
    producer: Producer, redis: Redis, simulator: Simulator, settings: Make
) -> None:
    """Excused once, then charged; the others are asked about once all the same."""
    simulator.script([{"match": {"contains": "Letter 05"}, "fault": "500"}])
    job = await producer.enqueue(ASKED, max_attempts=2, on_failure="dead_letter")
    await work_off(settings(route=PARTS))
    with pytest.raises(JobDeadError) as dead:
        await job.result(timeout_s=0)
    assert dead.value.reason == "attempts_exhausted"
    made = await steps(redis, job.id)
    assert made.count("chunk:5") == 3
    report = await DeadLetters(producer).show(job.id)
    assert [call.step for attempt in report.runs[0].attempts for call in attempt.calls] == made
    assert len(made) == len(set(made)) + 2


async def test_a_run_stays_with_its_plan(
    producer: Producer, redis: Redis, simulator: Simulator, settings: Make
) -> None:
    """Whatever the settings of the worker that goes on; a replay is planned, and paid, anew."""
    simulator.script([{"match": {"contains": "Letter 08"}, "fault": "429 retry-after=60"}])
    job = await producer.enqueue(Classify(text=TEXT, labels=["mill", "bug"]), on_failure="dead_letter")
    async with working(settings(route=PARTS)):
        await until(lambda: redis.hexists(keys.journal(job.id), "attempt:1.1"))
    made = await steps(redis, job.id)
    assert sorted(made) == [f"chunk:{n}" for n in range(1, CHUNKS + 1)]

    await redis.delete(keys.gate("openai/gpt-4o-mini"))
    await redis.zadd(keys.queue("standard", "acme"), {job.id: 1})
    await redis.zadd(keys.wait("standard"), {"acme": 1})
    simulator.script([{"match": {"contains": "Letter 08"}, "fault": "refusal"}])
    larger = {**PARTS, "chunk_tokens": 400}
    await work_off(settings(route=larger))
    assert (await steps(redis, job.id))[CHUNKS:] == ["chunk:8"]

    simulator.script([])
    assert [one.run async for one in DeadLetters(producer).replay([job.id])] == [2]
    await work_off(settings(route=larger))
    result = await job.result(timeout_s=0)
    assert result.chunks == result.calls == CHUNKS // 2


@pytest.mark.parametrize("foreign", ["a string", {"plan": "{}"}, {"plan": '{"chunk_bytes": 3, "overlap_bytes": 0}'}])
async def test_a_plan_that_cannot_be_read_ends_the_job(
    foreign: str | dict[str, str], producer: Producer, redis: Redis, simulator: Simulator, settings: Make
) -> None:
    """As corrupt, without a call."""
    job = await producer.enqueue(ASKED)
    if isinstance(foreign, str):
        await redis.set(keys.parts(job.id), foreign)
    else:
        await redis.hset(keys.parts(job.id), mapping=foreign)  # type: ignore[misc]
    await work_off(settings(route=PARTS))
    with pytest.raises(JobDeadError) as dead:
        await job.result(timeout_s=0)
    assert (dead.value.reason, simulator.calls()) == ("corrupt_record", [])


async def test_streamed_is_only_what_becomes_the_answer(
    producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """Joined, the deltas are the final text; notes are nobody's business. Progress tells parts done of all."""
    job = await producer.enqueue(ASKED, stream=True)
    await work_off(settings(route=PARTS))
    result = await job.result(timeout_s=0)
    events = [event async for event in job.events()]
    text = "".join(event.data["text"] for event in events if event.type == "delta")
    assert orjson.loads(text) == {"summary": result.output.summary}
    told = [event.data for event in events if event.type == "progress" and event.data["stage"] == "parts"]
    assert told[-1]["done"] == told[-1]["total"] == result.calls
    assert all(a["done"] < b["done"] for a, b in pairwise(told))


async def test_calls_for_parts_are_few_at_a_time(producer: Producer, simulator: Simulator, settings: Make) -> None:
    """As many as the route says, and really as many."""
    simulator.script(["delay seconds=0.1"])
    job = await producer.enqueue(Classify(text=TEXT, labels=["mill", "bug"]))
    await work_off(settings(route={**PARTS, "chunks_at_once": 3}))
    assert (await job.result(timeout_s=0)).calls == CHUNKS
    assert simulator.stats().max_in_flight == 3


async def test_a_limit_on_calls_is_waited_for_in_place(
    producer: Producer, redis: Redis, simulator: Simulator, settings: Make
) -> None:
    """Where it is for moments: the job is not put back into its queue for each of them."""
    job = await producer.enqueue(Classify(text=TEXT, labels=["mill", "bug"]))
    limited = settings(route=PARTS)
    provider = limited.providers["openai"].model_copy(update={"max_in_flight": 1, "requests_per_min": 600})
    simulator.script([{"match": {"contains": "Letter 03"}, "fault": "429 retry-after-ms=200", "times": 1}])
    await work_off(limited.model_copy(update={"providers": {"openai": provider}}))
    result = await job.result(timeout_s=0)
    assert (result.state, result.attempts, result.calls) == ("succeeded", 1, CHUNKS + 1)
    assert simulator.stats().max_in_flight == 1
    assert "scheduled" not in [event.type async for event in job.events()]


async def test_each_part_takes_the_route_by_itself(producer: Producer, simulator: Simulator, settings: Make) -> None:
    """A target that fails for one part is asked about the others."""
    simulator.script([{"match": {"contains": "Letter 03", "model": "gpt-4o-mini"}, "fault": "500"}])
    job = await producer.enqueue(Classify(text=TEXT, labels=["mill", "bug"]))
    await work_off(settings(route=PARTS, targets=["openai/gpt-4o-mini", "openai/gpt-4o"]))
    result = await job.result(timeout_s=0)
    assert (result.attempts, result.calls, result.made_by.name) == (1, CHUNKS + 1, "openai/gpt-4o-mini")
    assert sum(call.model == "gpt-4o" for call in simulator.calls()) == 1


async def test_a_cascade_is_taken_by_each_part(producer: Producer, simulator: Simulator, settings: Make) -> None:
    """Only a part whose answer is not in its text goes on to the stronger model; one with nothing in it does not."""
    schema = {"type": "object", "properties": {"lines": {"type": "array", "items": {"type": "string"}}}}
    simulator.script(
        [
            {"match": {"contains": "Letter 02", "model": "gpt-4o-mini"}, "answer": '{"lines": ["invented"]}'},
            found(2, lines=["Letter 02"]),
            {"answer": '{"lines": []}'},
        ]
    )
    job = await producer.enqueue(Extract(text=TEXT, schema=schema))
    cascade = {"cascade": {"openai/gpt-4o-mini": {"quality": "repaired", "min_confidence": 1.0}}, "chunks_at_once": 1}
    targets = ["openai/gpt-4o-mini", "openai/gpt-4o"]
    await work_off(settings(targets=targets, routes={"extract": {"targets": targets, **PARTS, **cascade}}))
    result = await job.result(timeout_s=0)
    assert (result.output, result.quality, result.calls) == ({"lines": ["Letter 02"]}, Quality.OK, CHUNKS + 1)
    assert [call.model for call in simulator.calls()].index("gpt-4o") == 2


async def test_an_answer_made_of_parts_can_be_used_again(
    producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """It says of how many parts it is; with another prompt or cut it would be another."""
    simulator.script([{"answer": '{"labels": ["mill"]}'}])
    asked = Classify(text=TEXT, labels=["mill", "bug"])
    await producer.enqueue(Classify(text="Short.", labels=["mill", "bug"]))
    await work_off(settings(route={"cache_s": 60}))  # a Redis that knows the scripts keeps each answer
    for route, calls in (PARTS, CHUNKS), (PARTS, 0), ({**PARTS, "chunk_tokens": 400}, CHUNKS // 2):
        before = len(simulator.calls())
        job = await producer.enqueue(asked)
        await work_off(settings(route={**route, "cache_s": 60}))
        result = await job.result(timeout_s=0)
        assert (result.chunks, result.calls) == (calls or CHUNKS, calls)
        assert len(simulator.calls()) == before + calls


# Money


async def test_what_the_job_cannot_pay_for_as_a_whole_is_not_begun(
    producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """Though each call by itself would be within the limit. With room for all of them it is within it."""
    poor = await producer.enqueue(ASKED, max_cost_usd="0.004", on_failure="dead_letter")
    await work_off(settings(route=PARTS))
    with pytest.raises(JobDeadError) as dead:
        await poor.result(timeout_s=0)
    assert dead.value.reason == "over_budget"
    assert simulator.calls() == []
    rich = await producer.enqueue(ASKED, max_cost_usd="0.05")
    await work_off(settings(route=PARTS))
    result = await rich.result(timeout_s=0)
    assert result.state == "succeeded"
    assert 0 < (result.cost_nanousd or 0) <= 50_000_000


async def test_tokens_of_all_calls_are_bounded_likewise(
    producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """By the job's own limit."""
    few = await producer.enqueue(ASKED, max_total_tokens=10_000, on_failure="dead_letter")
    many = await producer.enqueue(ASKED, max_total_tokens=60_000)
    await work_off(settings(route=PARTS))
    with pytest.raises(JobDeadError) as dead:
        await few.result(timeout_s=0)
    assert dead.value.reason == "over_budget"
    result = await many.result(timeout_s=0)
    assert (result.state, result.calls) == ("succeeded", len(simulator.calls()))


async def test_a_target_that_is_too_dear_for_all_parts_is_not_asked(
    producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """One that the job can pay for is."""
    job = await producer.enqueue(ASKED, max_cost_usd="0.05")
    await work_off(settings(route=PARTS, targets=["openai/gpt-4o", "openai/gpt-4o-mini"]))
    assert (await job.result(timeout_s=0)).state == "succeeded"
    assert {call.model for call in simulator.calls()} == {"gpt-4o-mini"}


# Windows


def with_windows(settings: Settings, **windows: int) -> Settings:
    """The same settings, with models of such windows."""
    known = {name.replace("_", "-"): tokens for name, tokens in windows.items()}
    provider = settings.providers["openai"].model_copy(update={"context_windows": known})
    return settings.model_copy(update={"providers": {"openai": provider}})


async def test_a_text_that_fits_no_window_is_worked_on_in_parts(
    producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """Without a word of it in the route; each part fits."""
    job = await producer.enqueue(Classify(text=TEXT, labels=["mill", "bug"]))
    await work_off(with_windows(settings(route={"max_output_tokens": 200}), gpt_4o_mini=1200))
    result = await job.result(timeout_s=0)
    assert result.state == "succeeded"
    assert 2 <= result.chunks == result.calls < CHUNKS


async def test_a_larger_window_is_better_than_parts(producer: Producer, simulator: Simulator, settings: Make) -> None:
    """One call to the target that takes the whole text."""
    job = await producer.enqueue(ASKED)
    both = settings(targets=["openai/small", "openai/gpt-4o-mini"], route={"unknown_price": "allow"})
    await work_off(with_windows(both, small=1800, gpt_4o_mini=128_000))
    result = await job.result(timeout_s=0)
    assert (result.chunks, result.calls, result.made_by.name) == (1, 1, "openai/gpt-4o-mini")


async def test_a_provider_that_finds_the_text_too_long_is_asked_in_parts(
    producer: Producer, redis: Redis, settings: Make, redis_url: str
) -> None:
    """Its window was not known; chunks that are still too long are cut in two until they are not."""
    async with Simulator(context_tokens=900) as simulator:
        local = settings(route={"max_output_tokens": 200, "unknown_price": "allow"}, targets=["openai/unheard-of"])
        provider = local.providers["openai"].model_copy(update={"base_url": simulator.base_url})
        job = await producer.enqueue(Classify(text=TEXT, labels=["mill", "bug"]))
        await work_off(local.model_copy(update={"providers": {"openai": provider}}))
        result = await job.result(timeout_s=0)
        assert (result.state, result.attempts) == ("succeeded", 1)
        made = await steps(redis, job.id)
        assert (made[0], made.count(""), result.chunks) == ("", 1, 2)
        assert {"chunk:1", "chunk:1.1", "chunk:1.2", "chunk:2"} <= set(made)


# Tasks of one's own

MODULE = """
from pydantic import BaseModel
from penstock_schemas.tasks import TaskInput
from penstock_worker.tasks import InParts, Merged, Task, task


class Loud(BaseModel):
    text: str


class Shout(TaskInput[Loud]):
    task = "shout_of_tests"
    text: str


class Whisper(TaskInput[Loud]):
    task = "whisper_of_tests"
    text: str


class ShoutInParts(InParts[Shout]):
    prompt = "shout@1"

    def merge(self, asked, answers):
        return Merged({"text": " ".join(answer.output["text"] for answer in answers)}, ("joined",))


@task(Shout, prompt="shout@1", in_parts=ShoutInParts)
class ShoutTask(Task[Shout]):
    pass


@task(Whisper, prompt="shout@1")
class WhisperTask(Task[Whisper]):
    pass
"""


@pytest.fixture
def own_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two tasks, one of which can be worked on in parts."""
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "shout@1.md").write_text("[system]\nRepeat it in capitals.\n\n[user]\n{{text}}\n")
    (tmp_path / "shouts_of_tests.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__("shouts_of_tests")
    for name in ("shout_of_tests", "whisper_of_tests"):
        definition._registry.pop(name, None)
    sys.modules.pop("shouts_of_tests", None)


async def test_a_task_of_ones_own_says_how_its_parts_become_one(
    own_tasks: Any, producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """One that does not is refused before anything is paid."""

    def answer(ask: Ask) -> str:
        return orjson.dumps({"text": re.findall(r"Letter (\d+)", ask.messages[-1].text)[0]}).decode()

    async with Simulator(answers=answer) as echo:
        made = settings(tasks=["shouts_of_tests"], route=PARTS)
        provider = made.providers["openai"].model_copy(update={"base_url": echo.base_url})
        made = made.model_copy(update={"providers": {"openai": provider}})
        shout = await producer.enqueue(own_tasks.Shout(text=TEXT))
        whisper = await producer.enqueue(own_tasks.Whisper(text=TEXT))
        await work_off(made)
        result = await shout.result(timeout_s=0)
        assert result.output.text == "01 02 03 04 05 06 07 08"
        assert (result.quality, result.reasons, result.chunks) == (Quality.SUSPECT, ("joined",), CHUNKS)
        status = await whisper.status()
        assert (status.state, status.calls, status.failure and status.failure.code) == ("dead", 0, "input_too_long")
        assert len(echo.calls()) == CHUNKS
