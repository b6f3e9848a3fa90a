"""Never user text in the system prompt: it is the file's to the letter, whatever a text says; the fence stays shut."""

from collections.abc import AsyncIterator, Callable

import pytest

from penstock import Classify, Producer
from penstock_simulator.ask import Ask
from penstock_simulator.obedient import obedient_answer
from penstock_simulator.simulator import Simulator
from penstock_worker.settings import Settings
from penstock_worker.tasks import tasks
from tests.integration.attempt.injections import CASES, LETTER
from tests.support.workers import work_off, worker_settings

LABELS = ["repair", "complaint", "praise"]


@pytest.fixture
def asks() -> list[Ask]:
    """What the provider was asked."""
    return []


@pytest.fixture
async def simulator(asks: list[Ask]) -> AsyncIterator[Simulator]:
    """A model that obeys its text, and notes what it was asked."""

    def answer(ask: Ask) -> str:
        asks.append(ask)
        return obedient_answer(ask)

    async with Simulator(answers=answer) as simulator:
        yield simulator


@pytest.fixture
def settings(redis_url: str, simulator: Simulator) -> Callable[..., Settings]:
    """Settings of a worker between the two."""
    return lambda **options: worker_settings(redis_url, simulator.base_url, **options)


async def test_the_injection_corpus(
    producer: Producer, simulator: Simulator, asks: list[Ask], settings: Callable[..., Settings]
) -> None:
    """All that is sent, re-asks too: one system message, the file's; enum tasks stay in their enum."""
    jobs = [await producer.enqueue(Classify(text=text, labels=LABELS), max_attempts=1) for text in CASES.values()]
    await work_off(settings(breaker={"enabled": False}))
    assert len(asks) > len(CASES)  # some were asked again
    for ask in asks:
        roles = [message.role for message in ask.messages]
        assert (roles[0], roles.count("system")) == ("system", 1)
        assert ask.messages[0].text == tasks()["classify"].prompt.system
        first = ask.messages[1].text
        mark = first.rstrip("\n").splitlines()[-1]
        assert first.count(f"\n{mark}") == 2
        assert LETTER in first.split(f"\n{mark}\n")[1]
    for job in jobs:
        result = (await job.status()).result
        assert result is not None
        assert set(result.output["labels"]) <= set(LABELS)
