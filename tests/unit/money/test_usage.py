"""Usage: disjoint buckets, finite and never negative, whatever a provider sends."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_schemas.results import Usage
from penstock_worker.money.usage import bounds, openai_usage, reported_cost_nanousd, token_bound

KNOWN = bounds(input_bytes=300, output_bytes=30, cap_tokens=100)


def read(**raw: Any) -> Usage:
    return openai_usage(raw, KNOWN)


def buckets(usage: Usage) -> tuple[int | None, ...]:
    return (
        usage.input_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
    )


def test_openai_parts_become_disjoint() -> None:
    """Cached input and reasoning are inside the provider's sums, and beside each other in ours."""
    usage = read(
        prompt_tokens=100,
        completion_tokens=50,
        total_tokens=150,
        prompt_tokens_details={"cached_tokens": 64, "cache_write_tokens": 6},
        completion_tokens_details={"reasoning_tokens": 20},
    )
    assert buckets(usage) == (30, 64, 6, 30, 20)
    assert usage.total_tokens == 150
    assert not usage.suspect
    assert not usage.estimated


def test_reasoning_beside_the_completion() -> None:
    """xAI: the total holds reasoning that the completion does not."""
    details = {"reasoning_tokens": 200}
    usage = read(prompt_tokens=10, completion_tokens=5, total_tokens=215, completion_tokens_details=details)
    assert buckets(usage) == (10, None, None, 5, 200)
    assert not usage.suspect


def test_hidden_reasoning_in_the_total_alone() -> None:
    """Gemini's compatible endpoint: what is in the total and nowhere else is reasoning."""
    usage = read(prompt_tokens=10, completion_tokens=5, total_tokens=45)
    assert buckets(usage) == (10, None, None, 5, 30)


def test_deepseek_cache_hits() -> None:
    """DeepSeek names its cache reads at the top."""
    usage = read(prompt_tokens=100, completion_tokens=5, prompt_cache_hit_tokens=60)
    assert buckets(usage) == (40, 60, None, 5, None)


@pytest.mark.parametrize("bad", [None, -5, "12", float("nan"), float("inf"), 10**30, 1e30, True, [], 1.5])
@pytest.mark.parametrize("side", ["prompt_tokens", "completion_tokens"])
def test_absurd_figure_is_replaced_by_its_bound(side: str, bad: Any) -> None:
    """A figure that cannot be is estimated, and says so; the other side is kept."""
    usage = read(**{"prompt_tokens": 7, "completion_tokens": 9, side: bad})
    expected = (KNOWN.input_tokens, 9) if side == "prompt_tokens" else (7, KNOWN.output_tokens)
    assert (usage.input_tokens, usage.output_tokens) == expected
    assert usage.suspect
    assert usage.estimated


@pytest.mark.parametrize("raw", [None, {}, [], "usage", 5])
def test_missing_usage_is_estimated(raw: Any) -> None:
    """No usage at all gives the bounds."""
    usage = openai_usage(raw, KNOWN)
    assert (usage.input_tokens, usage.output_tokens) == (164, 10)
    assert usage.suspect
    assert usage.estimated


def test_output_above_the_cap_is_held_to_the_cap() -> None:
    """More output than was allowed is suspect; the accounts stay within the reservation."""
    usage = read(prompt_tokens=7, completion_tokens=101)
    assert usage.output_tokens == 100
    assert usage.suspect
    assert usage.estimated


def test_parts_larger_than_the_whole_are_suspect() -> None:
    """More cached than sent, or more reasoned than produced, is not believed."""
    cached = read(prompt_tokens=10, completion_tokens=5, prompt_tokens_details={"cached_tokens": 11})
    assert buckets(cached) == (10, None, None, 5, None)
    assert cached.suspect
    reasoned = read(prompt_tokens=10, completion_tokens=5, completion_tokens_details={"reasoning_tokens": 6})
    assert reasoned.suspect
    assert (reasoned.total_tokens or 0) >= 15


def test_explicit_zero_is_zero() -> None:
    """Zero is a figure; missing is not."""
    usage = read(prompt_tokens=0, completion_tokens=0, total_tokens=0)
    assert buckets(usage) == (0, None, None, 0, None)
    assert not usage.suspect


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
)
NAMES = [
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "prompt_cache_hit_tokens",
    "cost",
    "cost_in_usd_ticks",
]
DETAILS = ["cached_tokens", "cache_write_tokens", "reasoning_tokens"]
inner = junk | st.dictionaries(st.sampled_from(DETAILS), junk | st.integers(0, 50))
raw_usage = st.dictionaries(st.sampled_from(NAMES), junk | st.integers(0, 50)) | st.fixed_dictionaries(
    {name: st.integers(0, 90) for name in NAMES[:2]},
    optional={"total_tokens": st.integers(0, 400), "prompt_tokens_details": inner, "completion_tokens_details": inner},
)


@given(raw_usage | junk)
def test_any_usage_gives_valid_buckets(raw: Any) -> None:
    """Whatever comes, the result is a valid Usage with a finite input and output."""
    usage = openai_usage(raw, KNOWN)
    assert Usage.model_validate(usage.model_dump()) == usage
    assert usage.input_tokens is not None
    assert usage.output_tokens is not None
    assert usage.output_tokens <= KNOWN.cap_tokens
    cost = reported_cost_nanousd(raw)
    assert cost is None or cost >= 0


@given(st.integers(0, 10**6), st.integers(0, 100), st.integers(0, 300))
def test_unsuspected_buckets_sum_to_the_total(prompt: int, completion: int, hidden: int) -> None:
    """When nothing is suspect, our buckets sum to the provider's total."""
    usage = read(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion + hidden)
    assert not usage.suspect
    assert usage.total_tokens == prompt + completion + hidden


@pytest.mark.parametrize(
    ("raw", "nanousd"),
    [
        ({"cost": 0.00014}, 140_000),
        ({"cost": 0}, 0),
        ({"cost": 1e-10}, 0),
        ({"cost": 5e-10}, 1),
        ({"cost": 0.1, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.2}}, 300_000_000),
        ({"cost_in_usd_ticks": 37_756_000}, 3_775_600),
        ({"cost": -1}, None),
        ({"cost": "0.1"}, None),
        ({"cost": float("nan")}, None),
        ({"cost": 1e30}, None),
        ({"cost": True}, None),
        ({}, None),
        (None, None),
    ],
)
def test_reported_cost(raw: Any, nanousd: int | None) -> None:
    """The provider's own figure is taken exactly as it was written, or not at all."""
    assert reported_cost_nanousd(raw) == nanousd


@given(st.text())
def test_a_strict_bound_covers_a_token_per_byte(text: str) -> None:
    """Which is the most that a byte-level vocabulary makes of any text, base64 and rare characters included."""
    assert token_bound(len(text.encode("utf-8")), 0, strict=True) == len(text.encode("utf-8"))


@given(st.text())
def test_bound_covers_a_token_per_character_group(text: str) -> None:
    """The bound grows with the bytes and is never below a third of them."""
    size = len(text.encode("utf-8", "surrogatepass"))
    assert token_bound(size, 0) * 3 >= size
