"""SSE streaming: joined deltas are the final text; a reader that is killed and comes back has no gap and no repeat."""

import json
import sys

from penstock import Event, Producer, Summarize
from penstock_simulator.simulator import Simulator
from tests.acceptance.conftest import StartWorker
from tests.support.processes import Processes

ASKED = Summarize(text="The mill stands by the river. Its wheel turns day and night. The miller sleeps well. " * 3)


async def test_a_reader_killed_and_back_has_no_gap_and_no_repeat(
    producer: Producer, simulator: Simulator, start_worker: StartWorker, processes: Processes, redis_url: str
) -> None:
    """The reader is a process; another goes on behind the last event that it showed. The call notices nothing."""
    simulator.script(["slow-events every=60ms"])
    job = await producer.enqueue(ASKED, stream=True)
    follow = [sys.executable, "-m", "penstock", "--redis", redis_url, "--tenant", "acme", "events", job.id, "--json"]
    reader = processes.command(*follow)
    start_worker()
    await reader.line('"type": ?"delta"', timeout_s=30)
    reader.kill()
    seen = [json.loads(line) for line in reader.lines if line.endswith("}")]
    behind = [event async for event in job.events(after=seen[-1]["id"])]
    whole = [event async for event in job.events()]
    assert behind[-1].type == "succeeded"
    assert [event["id"] for event in seen] + [event.id for event in behind] == [event.id for event in whole]
    deltas = [event for event in whole if event.type == "delta"]
    assert len(deltas) > 2
    assert json.loads(text_of(deltas)) == {"summary": (await job.result(timeout_s=0)).output.summary}
    await simulator.until(lambda stats: stats.in_flight == 0)
    assert [call.outcome for call in simulator.calls()] == ["sent"]


async def test_a_late_reader_gets_the_same_bytes(
    producer: Producer, simulator: Simulator, start_worker: StartWorker
) -> None:
    """After the end, and as often as it likes."""
    job = await producer.enqueue(ASKED, stream=True)
    start_worker()
    await job.result(timeout_s=30)
    twice = [text_of([event async for event in job.events() if event.type == "delta"]) for _ in range(2)]
    assert twice[0] == twice[1] != ""


def text_of(deltas: list[Event]) -> str:
    """The pieces, joined."""
    return "".join(event.data["text"] for event in deltas)
