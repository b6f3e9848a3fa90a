"""Tools: what a model may have called, what it is told, and what is never called."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from penstock import JobHandle, Producer
from penstock_schemas import keys
from penstock_schemas.errors import ConfigurationError
from penstock_simulator.simulator import Simulator
from penstock_worker.settings import Settings
from penstock_worker.tasks import definition
from penstock_worker.tools import definition as tool_definition
from tests.support.desk.contract import Letter, Reply
from tests.support.workers import work_off

MODULE = "tests.support.desk.task"
LETTER = Letter(text="Where is my order 7?")
DONE = {"answer": '{"answer": "It is on its way."}'}


@pytest.fixture
def really_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """The lines that tools wrote when they were called. Other tests do not see the task."""
    log = tmp_path / "desk.log"
    log.touch()
    monkeypatch.setenv("DESK_LOG", str(log))
    module = __import__(MODULE, fromlist=["DeskTask"])
    definition._registry.setdefault("desk_of_tests", module.DeskTask())
    yield lambda: log.read_text().splitlines()
    definition._registry.pop("desk_of_tests")


def ask_for(*calls: tuple[str, Any], told: int | None = 0) -> dict[str, Any]:
    """The model wants these called, when the prompt has so many results."""
    match = {} if told is None else {"told": told}
    return {"match": match, "tool_calls": [{"name": name, "arguments": arguments} for name, arguments in calls]}


ORDER = {"order_id": "7", "note": None}


@pytest.fixture
def work(
    producer: Producer, simulator: Simulator, settings: Callable[..., Settings], really_called: object
) -> Callable[..., Any]:
    """Work a letter off, with the model scripted."""

    async def run(*rules: Any, letter: Letter = LETTER, **options: Any) -> JobHandle[Reply]:
        simulator.script([*rules, DONE])
        job = await producer.enqueue(letter, **options)
        await work_off(settings(tasks=[MODULE]))
        return job

    return run


async def facts(redis: Redis, job: JobHandle[Any]) -> list[dict[str, Any]]:
    """What the journal has of tools, in the order of calls."""
    journal = await redis.hgetall(keys.journal(job.id))  # type: ignore[misc]
    rows = {name.decode(): orjson.loads(value) for name, value in journal.items() if b":tool:" in name}
    return [rows[name] for name in sorted(rows)]


async def test_a_tool_is_called_and_its_result_told(
    work: Callable[..., Any], really_called: Callable[[], list[str]], redis: Redis, producer: Producer
) -> None:
    """Two provider calls, both paid and counted; the result stands between random marks; an event without arguments."""
    job = await work(ask_for(("lookup_order", ORDER)))
    result = await job.result(timeout_s=0)
    assert (result.output.answer, result.quality, result.calls) == ("It is on its way.", "ok", 2)
    assert really_called() == ["lookup_order 7"]
    [fact] = await facts(redis, job)
    first, mark, told, again = fact["text"].split("\n")
    assert (told, mark, again) == ('{"order_id":"7","state":"shipped"}', first[-22:-1], mark)
    assert (mark.startswith("TEXT-"), fact["code"]) == (True, "ok")
    events = [event.data async for event in job.events() if event.data.get("stage") == "tool"]
    assert events == [{"stage": "tool", "call": "1.1.1", "tool": "lookup_order", "code": "ok", "ms": fact["ms"]}]
    ledger = [entry[b"purpose"] for _, entry in await redis.xrange(keys.LEDGER) if entry[b"job"] == job.id.encode()]
    assert ledger == [b"ask", b"tool_results"]


async def test_parallel_calls_are_told_together(
    work: Callable[..., Any], really_called: Callable[[], list[str]], redis: Redis
) -> None:
    """An answer may want several; each result goes to the call that asked for it."""
    job = await work(ask_for(("lookup_order", ORDER), ("lookup_order", {**ORDER, "order_id": "8"})))
    assert (await job.result(timeout_s=0)).calls == 2
    assert sorted(really_called()) == ["lookup_order 7", "lookup_order 8"]
    assert ['"7"' in fact["text"] for fact in await facts(redis, job)] == [True, False]


@pytest.mark.parametrize(
    ("name", "arguments", "code", "says"),
    [
        ("rm_rf", {}, "unknown_tool", "There is no tool 'rm_rf'. There are: lookup_order, refund"),
        ("lookup_order", "{not json", "invalid_arguments", "not valid JSON"),
        ("lookup_order", {"order_id": "123456789"}, "invalid_arguments", "order_id: String should have at most 8"),
        ("lookup_order", [1], "invalid_arguments", "arguments: Input should be"),
        ("lookup_order", '{"order_id": "7", "note": NaN}', "invalid_arguments", "not valid JSON"),
        ("refund", {}, "invalid_arguments", "order_id: Field required"),
    ],
)
async def test_what_may_not_be_called_is_told_and_not_called(
    work: Callable[..., Any],
    really_called: Callable[[], list[str]],
    redis: Redis,
    name: str,
    arguments: Any,
    code: str,
    says: str,
) -> None:
    """A typed error to the model, counted in the journal; the job goes on."""
    job = await work(ask_for((name, arguments)))
    assert (await job.result(timeout_s=0)).state == "succeeded"
    assert really_called() == []
    [fact] = await facts(redis, job)
    assert fact["code"] == code == orjson.loads(fact["text"])["error"]
    assert says in orjson.loads(fact["text"])["message"]


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("slow", "timed_out", "did not answer in time"),
        ("broken", "tool_failed", "The tool failed."),
        ("told", "tool_failed", "that order is archived"),
        ("plain", "tool_failed", "The tool failed."),
        ("long", "ok", "The first 10 of 40 bytes"),
    ],
)
async def test_what_goes_wrong_in_a_tool_is_told(
    work: Callable[..., Any], redis: Redis, capfd: pytest.CaptureFixture[str], name: str, code: str, says: str
) -> None:
    """In our words, or those that the tool raised for the model; never an exception's own."""
    job = await work(ask_for((name, ORDER)))
    result = await job.result(timeout_s=0)
    [fact] = await facts(redis, job)
    assert (fact["code"], says in fact["text"], "hunter2" in fact["text"]) == (code, True, False)
    assert (result.state, result.quality) == ("succeeded", "ok")


async def test_a_tool_that_changes_something_is_called_once_for_equal_arguments(
    work: Callable[..., Any], really_called: Callable[[], list[str]], redis: Redis, producer: Producer
) -> None:
    """In one answer, in later ones, and in the next attempt; it has a key that stays the same."""
    again = {**ORDER, "note": None}
    job = await work(
        ask_for(("refund", ORDER), ("refund", again)),
        {"match": {"told": 2, "nth": 1}, "fault": "500"},
    )
    result = await job.result(timeout_s=0)
    assert (result.state, result.attempts, result.calls) == ("succeeded", 2, 4)
    assert len(really_called()) == 1
    assert [fact["code"] for fact in await facts(redis, job)] == ["ok"] * 4


async def test_a_change_whose_end_nobody_saw_makes_the_result_suspect(
    work: Callable[..., Any], really_called: Callable[[], list[str]], redis: Redis
) -> None:
    """It is not made again, the model is told so, and so is whoever reads the result."""
    job = await work(ask_for(("slow_refund", ORDER)), ask_for(("slow_refund", ORDER), told=1))
    result = await job.result(timeout_s=0)
    assert (result.quality, result.reasons) == ("suspect", ("tool_outcome_unknown",))
    assert really_called() == ["slow_refund 7"]
    assert [fact["code"] for fact in await facts(redis, job)] == ["outcome_unknown"] * 2


async def test_endless_rounds_end(
    work: Callable[..., Any], really_called: Callable[[], list[str]], simulator: Simulator
) -> None:
    """After three rounds the model is told to answer without tools; one that does not heed it gives no result."""
    endless = ask_for(("lookup_order", ORDER), told=None)
    job = await work(endless)
    result = await job.result(timeout_s=0)
    assert (result.state, result.calls, len(really_called())) == ("succeeded", 4, 3)
    job = await work('tool-call name=lookup_order arguments={"order_id":"7","note":null}')
    status = await job.status()
    assert (status.state, status.failure and status.failure.code, status.calls) == ("dead", "too_many_tool_rounds", 4)
    assert simulator.stats().requests == 8


async def test_calls_are_bounded(
    work: Callable[..., Any], really_called: Callable[[], list[str]], redis: Redis
) -> None:
    """The fifth call of a target, in whatever answer, is answered with an error."""
    many = [("lookup_order", {**ORDER, "order_id": str(number)}) for number in range(6)]
    job = await work(ask_for(*many))
    assert len(really_called()) == 4
    assert [fact["code"] for fact in await facts(redis, job)][4:] == ["too_many_calls"] * 2
    assert (await job.result(timeout_s=0)).state == "succeeded"


async def test_the_jobs_limit_of_cost_ends_the_rounds(work: Callable[..., Any], redis: Redis) -> None:
    """Each call must fit what is left, with all that the results add to the prompt."""
    job = await work(ask_for(("lookup_order", ORDER), told=None), max_cost_usd="0.001")
    status = await job.status()
    assert (status.state, status.failure and status.failure.code) == ("dead", "over_budget")
    spent = await redis.hget(keys.record(job.id), "cost_nanousd")  # type: ignore[misc]
    assert 0 < int(spent) <= 1_000_000


async def test_a_streamed_job_may_use_tools(work: Callable[..., Any], simulator: Simulator) -> None:
    """Calls in pieces; the deltas of the last call are the result."""
    job = await work(ask_for(("lookup_order", ORDER)), stream=True)
    assert (await job.result(timeout_s=0)).output.answer == "It is on its way."
    assert [call.stream for call in simulator.calls()] == [True, True]
    deltas = [event.data async for event in job.events() if event.type == "delta"]
    assert {delta["call"] for delta in deltas} == {"1.1.2"}
    assert "".join(delta["text"] for delta in deltas) == DONE["answer"]


@pytest.mark.parametrize(
    ("kind", "path", "options"),
    [
        ("openai-responses", "/v1", {}),
        ("anthropic", "", {}),
        ("anthropic", "", {"body": {"thinking": {"type": "enabled", "budget_tokens": 1024}}}),
        ("azure", "", {}),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_other_formats(
    producer: Producer,
    simulator: Simulator,
    redis_url: str,
    really_called: Callable[[], list[str]],
    kind: str,
    path: str,
    options: dict[str, Any],
    stream: bool,
) -> None:
    """The same over the other formats that have tools, also with a model that wants its thoughts again."""
    from penstock_worker.settings import load_settings

    simulator.script([ask_for(("lookup_order", ORDER)), DONE])
    job = await producer.enqueue(LETTER, stream=stream)
    provider = {"kind": kind, "base_url": simulator.url + path, "allow_private": True, "options": options}
    settings = load_settings(
        redis={"url": redis_url, "allow_volatile": True},
        providers={"p": provider},
        routes={"default": {"targets": ["p/claude-sonnet-4-5"], "max_output_tokens": 2048}},
        worker={"tasks": [MODULE]},
        prices={"p/claude-sonnet-4-5": {"input_per_mtok": "1", "output_per_mtok": "2"}},
    )
    await work_off(settings)
    result = await job.result(timeout_s=0)
    assert (result.output.answer, result.calls) == ("It is on its way.", 2)
    assert really_called() == ["lookup_order 7"]


async def test_a_wrong_configuration_is_refused_at_the_start(
    settings: Callable[..., Settings], really_called: object, monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    """A tool that nobody registered; a target whose format has no tools; answers used again in place of an act."""
    from penstock_worker.settings import load_settings

    gemini = load_settings(
        redis={"url": redis_url, "allow_volatile": True},
        providers={"g": {"kind": "gemini", "base_url": "https://example.com"}},
        routes={"default": {"targets": ["g/m"]}},
        worker={"tasks": [MODULE]},
    )
    with pytest.raises(ConfigurationError, match="is of kind gemini"):
        await work_off(gemini)
    for shared in ({"cache_s": 60}, {"single_flight": True}):
        with pytest.raises(ConfigurationError, match="would leave out what 'refund' does"):
            await work_off(settings(tasks=[MODULE], route=shared))
    monkeypatch.delitem(tool_definition._registry, "refund")
    with pytest.raises(ConfigurationError, match="there is no tool 'refund'"):
        await work_off(settings(tasks=[MODULE]))
