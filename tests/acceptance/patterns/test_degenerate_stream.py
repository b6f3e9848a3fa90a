"""Degenerate-stream stop for jobs nobody watches: cut within 200 tokens of white space, and the saving is told."""

import pytest
from redis.asyncio import Redis

from penstock import Producer, Summarize
from penstock_schemas import keys
from penstock_simulator import tokens
from penstock_simulator.simulator import Simulator
from penstock_worker.assembly import make_target
from penstock_worker.attempt.asking import streamed
from penstock_worker.llm.degenerate import LoopFinder
from penstock_worker.llm.port import CallRequest, Target
from penstock_worker.settings import load_settings
from tests.acceptance.conftest import StartWorker

CAP = 4096


async def test_a_loop_of_white_space_is_cut_and_the_saving_told(
    producer: Producer, simulator: Simulator, start_worker: StartWorker, redis: Redis
) -> None:
    """Nobody asked for its pieces, and none is published; the next attempt gives the answer."""
    simulator.script(["whitespace times=1"])
    job = await producer.enqueue(Summarize(text="The mill stands by the river. Its wheel turns."))
    start_worker(route={"max_output_tokens": CAP})
    result = await job.result(timeout_s=30)
    assert (result.state, result.calls) == ("succeeded", 2)
    entries = [row for _, row in await redis.xrange(keys.LEDGER)]
    cut = next(row for row in entries if row[b"kind"] == b"failed")
    assert cut[b"error"] == b"degenerate"
    assert CAP - 400 < int(cut[b"saved_tokens"]) < CAP
    assert int(cut[b"saved_nanousd"]) == int(cut[b"saved_tokens"]) * 600
    assert b"saved_tokens" not in next(row for row in entries if row[b"kind"] == b"answered")
    assert {call.stream for call in simulator.calls()} == {True}
    assert "delta" not in {event.type async for event in job.events()}


@pytest.mark.parametrize("portion", [1, 2, 4, 8])
def test_within_200_tokens(portion: int) -> None:
    """However many tokens the provider puts into a piece."""
    parts = tokens.pieces("\n \t" * 1_000)
    finder, fed = LoopFinder(), 0
    finder.feed('{"summary": "The mill')
    while finder.feed("".join(parts[fed : fed + portion])) is None:
        fed += portion
    assert fed + portion <= 200


@pytest.mark.parametrize(
    ("stream", "cap", "is_streamed"), [("long", 4095, 0), ("long", 4096, 1), ("asked", 9000, 0), ("always", 16, 1)]
)
def test_when_an_answer_is_streamed_to_the_worker(stream: str, cap: int, is_streamed: int) -> None:
    """As the provider's setting says; a job that asks for its pieces always."""
    provider = {"kind": "openai", "base_url": "https://api.openai.com/v1", "stream": stream}
    settings = load_settings(redis={"url": "redis://localhost"}, providers={"openai": provider})
    target: Target = make_target("openai/gpt-4o-mini", settings.providers)
    request = CallRequest(system="s", user="u", max_output_tokens=cap)
    assert streamed(request, target).stream is bool(is_streamed)
    assert streamed(CallRequest(system="s", user="u", max_output_tokens=cap, stream=True), target).stream
