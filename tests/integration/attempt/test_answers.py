"""The corpus of broken answers: each reaches its exact state, attempts, calls and cost, and none ends as ``ok``."""

from collections.abc import AsyncIterator, Callable

import pytest
from redis.asyncio import Redis

from penstock import JobHandle, Producer
from penstock_schemas.jobs import JobStatus
from penstock_simulator.ask import Ask
from penstock_simulator.bill import BilledCall
from penstock_simulator.reading import source_text
from penstock_simulator.simulator import Simulator
from penstock_worker.settings import Settings
from tests.integration.attempt.answers import CORPUS, TEXT, Row, usual
from tests.integration.attempt.test_corpus import bill_of, ledger_of, price_nanousd
from tests.support.workers import work_off

CASE = " Case "


def answered(ask: Ask) -> str:
    """What the row says whose task and name the text ends with."""
    task, _, name = source_text(ask).rpartition(CASE)[2].partition("/")
    return CORPUS[task][name].answer


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A model that says what the corpus says."""
    async with Simulator(answers=answered) as simulator:
        yield simulator


@pytest.mark.parametrize("task", CORPUS)
def test_the_corpus_has_sixty_rows_for_each_task(task: str) -> None:
    """And none of them is about an answer that is in order."""
    assert len(CORPUS[task]) >= 60
    assert all(row.error or row.reasons for row in CORPUS[task].values())


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("task", CORPUS)
async def test_each_broken_answer_ends_in_its_own_way(
    task: str, stream: bool, producer: Producer, redis: Redis, simulator: Simulator, settings: Callable[..., Settings]
) -> None:
    """In the job, in the ledger and in the provider's bill; what was paid is known to the nano-USD."""
    rows = CORPUS[task]
    jobs = {name: await enqueued(producer, task, name, row, stream) for name, row in rows.items()}
    await work_off(settings(route={"max_output_tokens": 3_000}, breaker={"enabled": False}))
    ledger, bill = await ledger_of(redis), bill_of(simulator)
    wrong = []
    for name, job in jobs.items():
        told = faults(rows[name], await job.status(), ledger.get(job.id, []), bill.get(job.id, []))
        wrong += [f"{name}: {fault}" for fault in told]
    assert not wrong, "\n".join(wrong)


async def enqueued(producer: Producer, task: str, name: str, row: Row, stream: bool) -> JobHandle[object]:
    """A job of two attempts and no fallback that gets the row's answer."""
    asked = row.asked or usual(task, TEXT)
    marked = f"{asked.model_dump()['text']}{CASE}{task}/{name}" + (f" [[simulate: {row.fault}]]" if row.fault else "")
    asked = asked.model_copy(update={"text": marked})
    return await producer.enqueue(asked, max_attempts=2, on_failure="dead_letter", stream=stream)


def faults(row: Row, job: JobStatus, ledger: list[dict[str, str]], bill: list[BilledCall]) -> list[str]:
    """In what the job differs from its row, and the books from each other."""
    wrong = []
    if (job.attempts, job.calls, len(ledger), len(bill)) != (row.attempts, row.calls, row.calls, row.calls):
        wrong.append(f"{job.attempts} attempts, {job.calls} calls, {len(ledger)} in the ledger, {len(bill)} billed")
    end: tuple[str, object] = (job.state, job.failure and (job.failure.code, job.failure.last_error))
    if job.result is not None:
        end = (job.result.quality.value, job.result.reasons)
    if end != expected(row):
        wrong.append(f"{end}, not {expected(row)}")
    cost, uncertain = (sum(int(entry[name]) for entry in ledger) for name in ("cost_nanousd", "uncertain_nanousd"))
    if not 0 < cost == sum(map(price_nanousd, bill)) or uncertain:
        wrong.append(f"cost {cost}, uncertain {uncertain}, charged {sum(map(price_nanousd, bill))}")
    return wrong


def expected(row: Row) -> tuple[str, object]:
    """State and failure of a dead letter, or quality and reasons of a result."""
    if row.error is None:
        return row.quality, row.reasons
    return "dead", (row.error if row.final else "attempts_exhausted", row.error)
