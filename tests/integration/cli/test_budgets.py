"""`penstock budget`: what may be spent, what is, and changes that hold at once."""

import pytest
from redis.asyncio import Redis

from penstock import BudgetExceededError, Producer, Summarize
from penstock_schemas import keys
from penstock_schemas.budgets import Budget, Limit
from penstock_worker.attempt.store import AttemptStore
from penstock_worker.money.budgets import Bound, Budgets, Hold
from tests.integration.cli.conftest import Command
from tests.support.jobs import HandWorker

INTENT = {"target": "openai/gpt-4o-mini", "prompt": "summarize@1", "route": "default", "purpose": "ask", "at_ms": 7}
ASKED = Summarize(text="The mill stands by the river.")


async def called(producer: Producer, worker: HandWorker, **hold: int) -> None:
    """One call is under way."""
    await producer.enqueue(ASKED, user="ann@example.com")
    await worker.store.intend(await worker.claim_one(), "1.1.1", INTENT, 6, hold=Hold(**hold))


async def test_what_is_set_is_shown_with_what_is_taken(
    command: Command, producer: Producer, worker: HandWorker
) -> None:
    """Exact amounts, by scope and window; each kind of limit in a row of its own."""
    (line,) = command("budget", "set", "global", "--day-usd", "5.00", "--json").objects
    assert (line["limit_usd"], line["spent_usd"], line["free_usd"], line["source"]) == ("5", "0", "5", "command")
    command("budget", "set", "global", "--day-tokens", "1_000", "--month-usd", "0.000000001")
    command("budget", "set", "global", "--month-usd", "none")
    await called(producer, worker, nanousd=2_000_000_001, tokens=300)
    (line,) = command("budget", "show", "--json").objects
    assert (line["held_usd"], line["free_usd"]) == ("2.000000001", "2.999999999")
    assert (line["held_tokens"], line["free_tokens"], line["calls"]) == (300, 700, 1)
    assert line["reset_at"].endswith("T00:00:00+00:00")
    money, tokens = command("budget", "show", "global").out.splitlines()
    assert money.split("\t")[:8] == ["global", "day", "USD", "5", "0", "2.000000001", "0", "2.999999999"]
    assert tokens.split("\t")[2:8] == ["tokens", "1000", "0", "300", "0", "700"]


async def test_a_budget_of_each_is_shown_for_each_that_called(
    command: Command, producer: Producer, worker: HandWorker
) -> None:
    """One that has limits of its own is shown by these."""
    for scope in ("tenant:*", "user:*", "tenant:other"):
        command("budget", "set", scope, "--hour-usd", "1")
    await called(producer, worker, nanousd=7)
    shown = {line["scope"]: line["held_usd"] for line in command("budget", "show", "--json").objects}
    assert shown == {
        "tenant:default": "0.000000007",
        "tenant:other": "0",
        "user:default/ann@example.com": "0.000000007",
    }
    (line,) = command("budget", "show", "tenant:never-seen", "--json").objects
    assert (line["limit_usd"], line["free_usd"]) == ("1", "1")


async def test_a_limit_that_is_set_stays_until_it_is_unset(command: Command, redis: Redis, worker: HandWorker) -> None:
    """Workers that start tell those of their configuration; a command's hold before them, and each is noted."""
    store = AttemptStore(
        worker.batcher,
        budgets=Budgets({"global": Budget({"day": Limit(nanousd=9)}), "tenant:*": Budget({"day": Limit(1)})}),
    )
    await store.tell_budgets()
    assert command("budget", "show", "global", "--json").objects[0]["source"] == "file"
    command("budget", "set", "global", "--day-usd", "3")
    await store.tell_budgets()
    assert command("budget", "show", "global", "--json").objects[0]["limit_usd"] == "3"
    assert command("budget", "unset", "global").out == "global\n"
    assert command("budget", "show", "global", "--json").objects[0]["limit_usd"] == "0.000000009"
    assert command("budget", "unset", "global").out == "global\twas not set by a command\n"
    await AttemptStore(worker.batcher, budgets=Budgets({"tenant:*": Budget({"day": Limit(nanousd=2)})})).tell_budgets()
    assert command("budget", "show", "global").err == "no budgets\n"
    notes = [fields[b"what"] for _, fields in await redis.xrange(keys.AUDIT)]
    assert notes == [b"budget", b"budget"]


async def test_enqueue_is_refused_with_the_moment_of_the_reset(
    command: Command, producer: Producer, redis: Redis
) -> None:
    """What a job may cost is held while it is open, and free when it ends; nothing is written of one refused."""
    command("budget", "set", "tenant:default", "--day-usd", "1", "--when-spent", "refuse")
    job = await producer.enqueue(ASKED, max_cost_usd="0.6")
    size = await redis.dbsize()
    with pytest.raises(BudgetExceededError) as refusal:
        await producer.enqueue(ASKED, max_cost_usd="0.6")
    assert refusal.value.retriable
    assert refusal.value.scope == "tenant:default"
    assert refusal.value.reset_at is not None
    assert 0 < (refusal.value.retry_after_s or 0) <= 86_400
    assert refusal.value.as_dict()["reset_at"] == refusal.value.reset_at.isoformat()
    assert await redis.dbsize() == size + 1, "the mark of an alert, and nothing else"
    with pytest.raises(BudgetExceededError) as refusal:
        await producer.enqueue(ASKED, max_cost_usd="1.01")
    assert refusal.value.retry_after_s is None, "it never has room"
    told = command("run", "summarize", "-", "--max-cost", "0.6", "--json", stdin="A text.")
    assert (told.code, '"budget_exceeded"' in told.err, '"reset_at"' in told.err) == (5, True, True)
    await job.cancel()
    await producer.enqueue(ASKED, max_cost_usd="1")


async def test_a_job_without_a_bound_holds_what_a_call_of_its_task_may_cost(
    command: Command, producer: Producer, worker: HandWorker
) -> None:
    """As workers tell it; of a task that no worker has told of, that there is anything left."""
    bounds = {"summarize": Bound(nanousd=1_000, nanousd_per_mb=1_000_000, tokens=50)}
    await AttemptStore(worker.batcher, budgets=Budgets({}, bounds)).tell_budgets()
    command("budget", "set", "task:summarize", "--day-usd", "1", "--day-tokens", "1000", "--when-spent", "refuse")
    command("budget", "set", "task:classify", "--day-usd", "0", "--when-spent", "refuse")
    job = await producer.enqueue(ASKED)
    size = len((await job.request()).model_dump_json(exclude_unset=True))
    (line,) = command("budget", "show", "task:summarize", "--json").objects
    assert 1_000 < round(float(line["held_usd"]) * 1e9) <= 1_000 + size
    assert 50 < line["held_tokens"] <= 50 + size
    with pytest.raises(BudgetExceededError, match="task:summarize"):
        await producer.enqueue(ASKED, max_total_tokens=999)
    await producer.enqueue(ASKED, max_total_tokens=100)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("set", "tenants:acme", "--day-usd", "1"), "must be global, tenant:NAME"),
        (("set", "user:ann", "--day-usd", "1"), "must be global, tenant:NAME"),
        (("set", "global", "--day-usd", "lots"), "--day-usd wants USD such as 5.00"),
        (("set", "global", "--day-usd=-1"), "must not be negative"),
        (("set", "global", "--day-tokens", "1.5"), "--day-tokens wants a number of tokens"),
        (("set", "global", "--when-spent", "panic"), "--when-spent wants one of wait, degrade, refuse"),
        (("set", "global"), "give what to change"),
        (("set", "global", "--day-usd", "none"), "limits nothing"),
        (("set", "prompt:summarize@1", "--day-usd", "1", "--when-spent", "refuse"), "cannot refuse"),
        (("show", "everything"), "must be global, tenant:NAME"),
        (("reset", "tenant:acme"), "must be prompt:NAME@VERSION or route:NAME"),
    ],
)
async def test_what_cannot_be_a_budget_is_wrong_usage(
    command: Command, redis: Redis, arguments: tuple[str, ...], told: str
) -> None:
    """It is said what was expected, and nothing is written."""
    ended = command("budget", *arguments)
    assert (ended.code, told in ended.err) == (2, True), ended.err
    assert await redis.dbsize() == 0
