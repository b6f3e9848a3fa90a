"""Tool use with an allow-list: an unknown tool is a typed error to the model, no call, counted; nothing runs twice."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from penstock import Producer
from penstock_schemas import keys
from penstock_simulator.simulator import Simulator
from penstock_worker.crash_points import ALLOWED, ONCE, POINT
from tests.acceptance.conftest import StartWorker
from tests.support.desk.contract import Letter

LETTER = Letter(text="Where is my order 7? I want my money back.")
ORDER = {"order_id": "7", "note": None}
DONE = {"answer": '{"answer": "It is on its way."}'}


def script(*names: str) -> list[Any]:
    """The model asks for these tools, one after the other, and then answers."""
    rounds = [
        {"match": {"told": number}, "tool_calls": [{"name": name, "arguments": ORDER}]}
        for number, name in enumerate(names)
    ]
    return [*rounds, DONE]


@pytest.fixture
def desk(tmp_path: Path, start_worker: StartWorker) -> tuple[Callable[..., Any], Callable[[], list[str]]]:
    """Starts workers whose task offers tools, and tells what these really did."""
    log = tmp_path / "desk.log"
    log.touch()

    def start(env: dict[str, str] | None = None, **worker: Any) -> Any:
        return start_worker(env={"DESK_LOG": str(log), **(env or {})}, tasks=["tests.support.desk.task"], **worker)

    return start, lambda: log.read_text().splitlines()


async def test_an_unknown_tool_is_a_typed_error_and_no_call(
    desk: Any, producer: Producer, simulator: Simulator, redis: Redis
) -> None:
    """The model hears which tools there are, the job goes on, and the round is counted, paid and told."""
    start, done = desk
    simulator.script(script("delete_all_orders", "lookup_order"))
    start()
    job = await producer.enqueue(LETTER)
    result = await job.result(timeout_s=20)
    assert (result.output.answer, result.calls, done()) == ("It is on its way.", 3, ["lookup_order 7"])
    told = [event.data async for event in job.events() if event.data.get("stage") == "tool"]
    assert [(each["tool"], each["code"]) for each in told] == [
        ("delete_all_orders", "unknown_tool"),
        ("lookup_order", "ok"),
    ]
    assert result.cost_nanousd and len(simulator.calls()) == 3


@pytest.mark.parametrize(
    ("tool", "point", "really", "codes", "reasons"),
    [
        ("refund", "tool.pre", 0, ["outcome_unknown"], ("tool_outcome_unknown",)),
        ("refund", "tool.post", 1, ["outcome_unknown"], ("tool_outcome_unknown",)),
        ("refund", "intent.pre", 1, ["ok"], ()),
        ("lookup_order", "tool.post", 2, ["ok"], ()),
    ],
)
async def test_a_killed_worker_calls_no_tool_a_second_time(
    desk: Any,
    producer: Producer,
    simulator: Simulator,
    redis: Redis,
    tmp_path: Path,
    faults: Callable[..., list[str]],
    tool: str,
    point: str,
    really: int,
    codes: list[str],
    reasons: tuple[str, ...],
) -> None:
    """What is in the journal is told again. One that changes something is begun once, whatever happens to it; one that
    only reads is called again if its result was still in the air. No provider call that was answered is repeated."""
    start, done = desk
    simulator.script(script(tool))
    once = tmp_path / "crashed"
    job = await producer.enqueue(LETTER)
    if point == "intent.pre":  # of the second call: the first worker must not crash before the first
        once.touch()
        simulator.script([{**script(tool)[0], "fault": "delay seconds=0.5"}, *script(tool)])
    first = start(env={ALLOWED: "1", POINT: point, ONCE: str(once)}, concurrency=1)
    if point == "intent.pre":
        await simulator.until(lambda stats: stats.requests == 1)
        once.unlink()
    assert await first.ended(20) == -signal.SIGKILL
    start()
    result = await job.result(timeout_s=20)
    assert (result.state, result.calls, result.reasons) == ("succeeded", 2, reasons)
    assert len(done()) == really
    assert len(simulator.calls()) == 2
    journal = await redis.hgetall(keys.journal(job.id))  # type: ignore[misc]
    assert [orjson.loads(journal[name])["code"] for name in journal if name.endswith(b":tool:0")] == codes
    assert faults([job.id]) == []
