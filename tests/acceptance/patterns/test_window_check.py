"""Window check: over-window input is never sent."""

from typing import Any

import pytest

from penstock import JobDeadError, Producer, Summarize
from penstock_simulator.simulator import Simulator
from penstock_worker.settings import Settings
from tests.support.workers import work_off, worker_settings

SMALL, LARGE, UNKNOWN = "openai/small", "openai/large", "openai/nobody-knows-it"
WORDS = "The mill stands by the river and its wheel turns. "


def settings_of(redis_url: str, simulator: Simulator, *targets: str, **windows: int) -> Settings:
    """Windows by model; prices do not matter."""
    settings = worker_settings(redis_url, simulator.base_url, targets=targets, route={"unknown_price": "allow"})
    provider = settings.providers["openai"].model_copy(update={"context_windows": windows})
    return settings.model_copy(update={"providers": {"openai": provider}})


def models(simulator: Simulator) -> list[str]:
    return [call.model for call in simulator.calls()]


async def test_over_window_input_is_never_sent(redis_url: str, producer: Producer, simulator: Simulator) -> None:
    """A long text is worked on in parts, each of which fits with the output cap beside it, by the provider's count."""
    job = await producer.enqueue(Summarize(text=WORDS * 600, max_words=20))
    await work_off(settings_of(redis_url, simulator, SMALL, small=3_000))
    assert (await job.result(timeout_s=0)).state == "succeeded"
    assert len(simulator.calls()) > 3
    for call in simulator.calls():
        assert call.uncached_input_tokens + call.cached_input_tokens + 1_024 <= 3_000


async def test_the_next_target_with_a_larger_window_is_asked(
    redis_url: str, producer: Producer, simulator: Simulator
) -> None:
    """In the same attempt; smaller ones are passed over, and the small input still goes to the small one."""
    targets = (SMALL, "openai/smaller", LARGE)
    settings = settings_of(redis_url, simulator, *targets, small=3_000, smaller=2_500, large=100_000)
    long = await producer.enqueue(Summarize(text=WORDS * 200, max_words=20))
    short = await producer.enqueue(Summarize(text=WORDS * 5, max_words=20))
    await work_off(settings)
    result = await long.result(timeout_s=0)
    assert (result.made_by.name, result.attempts) == (LARGE, 1)
    assert [(tried.target, tried.code) for tried in result.tried] == [(SMALL, "input_too_long")]
    assert (await short.result(timeout_s=0)).made_by.name == SMALL
    assert sorted(models(simulator)) == ["large", "small"]


async def test_the_output_cap_needs_room_too(redis_url: str, producer: Producer, simulator: Simulator) -> None:
    """An input that fits alone does not fit with the cap beside it."""
    job = await producer.enqueue(Summarize(text=WORDS * 5, max_words=20), on_failure="dead_letter")
    await work_off(settings_of(redis_url, simulator, SMALL, small=1_100))  # the cap is 1,024
    with pytest.raises(JobDeadError, match="input_too_long"):
        await job.result(timeout_s=0)
    assert simulator.calls() == []


async def test_a_window_that_is_not_known_is_not_checked(
    redis_url: str, producer: Producer, simulator: Simulator
) -> None:
    """The provider says what it thinks; then only what is larger, or not known, is asked."""
    simulator.script([{"match": {"model": "nobody-knows-it"}, "fault": "context-length"}])
    settings = settings_of(redis_url, simulator, UNKNOWN, LARGE, large=100_000)
    job = await producer.enqueue(Summarize(text=WORDS * 50, max_words=20))
    await work_off(settings)
    assert (await job.result(timeout_s=0)).made_by.name == LARGE
    assert models(simulator) == ["nobody-knows-it", "large"]


async def test_what_a_provider_found_too_long_goes_to_larger_windows_only(
    redis_url: str, producer: Producer, simulator: Simulator
) -> None:
    """Not to one of the same size."""
    simulator.script([{"match": {"model": "small"}, "fault": "context-length"}])
    settings = settings_of(redis_url, simulator, SMALL, "openai/same", LARGE, small=8_000, same=8_000, large=100_000)
    job = await producer.enqueue(Summarize(text=WORDS * 50, max_words=20))
    await work_off(settings)
    assert (await job.result(timeout_s=0)).made_by.name == LARGE
    assert models(simulator) == ["small", "large"]


async def test_known_models_have_their_windows(redis_url: str, producer: Producer, simulator: Simulator) -> None:
    """From the data of genai-prices, without a word in the configuration."""
    job = await producer.enqueue(Summarize(text=WORDS * 1_500, max_words=20))
    settings = worker_settings(redis_url, simulator.base_url, targets=["openai/gpt-4", "openai/gpt-4o-mini"])
    await work_off(settings)
    result: Any = await job.result(timeout_s=0)
    assert [(tried.target, tried.code) for tried in result.tried] == [("openai/gpt-4", "input_too_long")]
    assert models(simulator) == ["gpt-4o-mini"]
