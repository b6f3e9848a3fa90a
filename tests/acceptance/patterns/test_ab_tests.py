"""A/B tests: the same key is always in the same arm, and the split is within 1 % at 10,000 keys."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from penstock import Classify, Producer
from penstock.dead_letters import DeadLetters
from penstock_schemas import keys
from penstock_simulator.simulator import Simulator
from penstock_worker.assembly import make_routes
from penstock_worker.routing.experiment import Arm, Experiment
from penstock_worker.routing.routes import Route
from penstock_worker.settings import Settings
from tests.support.attempts import TARGET
from tests.support.workers import work_off, worker_settings

MODEL, OTHER = "openai/gpt-4o-mini", "openai/gpt-4o"
FIRST_EIGHT = "baaaaaba"
KEYS = [f"order-{number}" for number in range(10_000)]


def experiment(name: str = "labels", **weights: float) -> Experiment:
    """Arms with these weights."""
    arms = [Arm(arm, weight, Route("default", (TARGET,), arm=f"{name}/{arm}")) for arm, weight in weights.items()]
    return Experiment(name, arms)


def asks(count: int) -> list[Classify]:
    return [Classify(text=f"mail {number}", labels=["billing", "bug"]) for number in range(count)]


def settings_of(redis_url: str, simulator: Simulator, name: str = "models", **weights: float) -> Settings:
    """Two arms: the route's own target, and another."""
    weights = weights or {"control": 50, "other": 50}
    arms: dict[str, Any] = {arm: {"weight": weight} for arm, weight in weights.items()}
    arms["other"]["targets"] = [OTHER]
    return worker_settings(redis_url, simulator.base_url, targets=[MODEL], route={"experiment": name, "arms": arms})


@pytest.mark.parametrize("weights", [{"a": 50, "b": 50}, {"a": 9, "b": 1}, {"a": 0.2, "b": 0.3, "c": 0.5}])
def test_the_split_is_within_one_percent_at_ten_thousand(weights: dict[str, float]) -> None:
    """Of all keys, for even and uneven weights, whatever they sum to."""
    parted = experiment(**weights)
    counts = Counter(parted.arm(key).name for key in KEYS)
    for arm, weight in weights.items():
        assert abs(counts[arm] / len(KEYS) - weight / sum(weights.values())) <= 0.01


def test_the_same_key_is_always_in_the_same_arm() -> None:
    """It follows from the names alone: another process says the same, today and in a year."""
    first, second = experiment(a=1, b=1), experiment(a=1, b=1)
    assert [first.arm(key).name for key in KEYS] == [second.arm(key).name for key in KEYS]
    assert [first.arm(key).name for key in KEYS[:8]] == list(FIRST_EIGHT)


def test_another_experiment_parts_the_same_keys_anew() -> None:
    """Half of those who were in an arm are in the other one's namesake."""
    one, two = experiment("one", a=1, b=1), experiment("two", a=1, b=1)
    same = sum(one.arm(key).name == two.arm(key).name for key in KEYS)
    assert abs(same / len(KEYS) - 0.5) < 0.02


def test_an_arm_that_grows_takes_of_the_others_only() -> None:
    """From a tenth to a half: nobody leaves it."""
    small, large = experiment(new=1, old=9), experiment(new=5, old=5)
    assert all(large.arm(key).name == "new" for key in KEYS if small.arm(key).name == "new")


def test_whose_calls_were_made_in_an_arm_stays_there() -> None:
    """Also when the weights change; an arm that is no more is left."""
    changed = experiment(a=0.0001, b=1)
    assert changed.arm(KEYS[0]).name == "b"
    assert changed.arm(KEYS[0], ["labels/a"]).name == "a"
    assert changed.arm(KEYS[0], [None, "labels/gone", "other/a"]).name == "b"


async def test_the_arm_is_on_the_result_in_the_ledger_and_in_the_events(
    redis_url: str, redis: Redis, producer: Producer, simulator: Simulator
) -> None:
    """And it decides who is asked."""
    jobs = [await producer.enqueue(asked, idempotency_key=f"key-{n}") for n, asked in enumerate(asks(24))]
    await work_off(settings_of(redis_url, simulator))
    entries = {row[b"job"].decode(): row for _, row in await redis.xrange(keys.LEDGER)}
    arms = Counter()
    for job in jobs:
        result = await job.result(timeout_s=0)
        assert result.arm in ("models/control", "models/other")
        assert result.made_by.name == (MODEL if result.arm == "models/control" else OTHER)
        assert entries[job.id][b"arm"].decode() == result.arm
        events = [event async for event in job.events()]
        assert [event.data["arm"] for event in events if event.type in ("progress", "succeeded")] == [result.arm] * 2
        arms[result.arm] += 1
    assert len(arms) == 2


async def test_a_job_stays_in_its_arm_over_retries_and_replays(
    redis_url: str, producer: Producer, simulator: Simulator
) -> None:
    """Failed once, dead, and run again with other weights: every call was one of its arm's target."""
    simulator.script(["500 times=8", "context-length times=8"])
    jobs = [await producer.enqueue(each, idempotency_key=each.text, on_failure="dead_letter") for each in asks(8)]
    await work_off(settings_of(redis_url, simulator, control=1, other=1))
    before = {call.model for call in simulator.calls()}
    replayed = [one.run async for one in DeadLetters(producer).replay([job.id for job in jobs])]
    assert (before, replayed) == ({"gpt-4o-mini", "gpt-4o"}, [2] * 8)
    await work_off(settings_of(redis_url, simulator, control=1_000_000, other=1))
    results = [await job.result(timeout_s=0) for job in jobs]
    assert {result.arm for result in results} == {"models/control", "models/other"}
    assert Counter(call.model for call in simulator.calls()) == Counter(
        {result.made_by.name.partition("/")[2]: 0 for result in results}
    ) + Counter(name.made_by.name.partition("/")[2] for name in results for _ in range(3))


async def test_arms_may_differ_in_their_prompts(
    redis_url: str, producer: Producer, simulator: Simulator, tmp_path: Path
) -> None:
    """The result names the prompt version; the targets are the route's."""
    (tmp_path / "prompts").mkdir()
    text = "[system]\nLabel the mail.\n\n[user]\nOne of {{labels}} {{how_many}} {{none}}\n\n{{text}}\n"
    (tmp_path / "prompts" / "label@7.md").write_text(text)
    arms = {"control": {"weight": 1}, "new": {"weight": 1, "prompt": "label@7"}}
    route = {"experiment": "prompts", "arms": arms}
    settings = worker_settings(redis_url, simulator.base_url, route=route)
    jobs = await producer.enqueue_many(asks(16))
    await work_off(settings, tmp_path)
    made = {((result := await job.result(timeout_s=0)).arm, result.made_by.prompt) for job in jobs}
    assert made == {("prompts/control", "classify@1"), ("prompts/new", "label@7")}
    assert {target.name for target in make_routes(settings, tmp_path).configured("classify").all_targets} == {MODEL}
