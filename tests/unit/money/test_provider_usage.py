"""Usage of every provider in disjoint buckets, which sum to what the provider says is the whole."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_schemas.results import Usage
from penstock_worker.money.usage import (
    anthropic_usage,
    bounds,
    gemini_usage,
    ollama_usage,
    responses_usage,
    with_seen_output,
)

KNOWN = bounds(input_bytes=300, output_bytes=30, cap_tokens=100)
ABSURD = [-5, "12", float("nan"), float("inf"), 10**30, True, [], 1.5]


def buckets(usage: Usage) -> tuple[int | None, ...]:
    return (
        usage.input_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
    )


counts = st.integers(0, 10**6)
few = st.integers(0, 50)


@given(fresh=counts, read=counts, written=counts, visible=few, hidden=few)
def test_responses_sum(fresh: int, read: int, written: int, visible: int, hidden: int) -> None:
    """Cache and reasoning are inside the provider's sums and beside each other in ours."""
    raw = {
        "input_tokens": fresh + read + written,
        "input_tokens_details": {"cached_tokens": read, "cache_write_tokens": written},
        "output_tokens": visible + hidden,
        "output_tokens_details": {"reasoning_tokens": hidden},
        "total_tokens": fresh + read + written + visible + hidden,
    }
    usage = responses_usage(raw, KNOWN)
    assert buckets(usage) == (fresh, read, written, visible, hidden)
    assert (usage.total_tokens, usage.suspect) == (raw["total_tokens"], False)


@given(fresh=counts, read=counts, written=counts, visible=few, hidden=few)
def test_anthropic_sum(fresh: int, read: int, written: int, visible: int, hidden: int) -> None:
    """Cache reads and writes stand outside the input; thinking is inside the output."""
    raw = {
        "input_tokens": fresh,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written,
        "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": visible + hidden,
        "output_tokens_details": {"thinking_tokens": hidden},
    }
    usage = anthropic_usage(raw, KNOWN)
    assert buckets(usage) == (fresh, read, written, visible, hidden)
    assert not usage.suspect


def test_anthropic_without_a_cache() -> None:
    """Null is as if absent: no cache was used, and none is invented."""
    raw = {"input_tokens": 7, "cache_read_input_tokens": None, "output_tokens": 9}
    usage = anthropic_usage(raw, KNOWN)
    assert buckets(usage) == (7, None, None, 9, None)
    assert not usage.suspect


@pytest.mark.parametrize("bad", ABSURD)
@pytest.mark.parametrize("name", ["cache_read_input_tokens", "cache_creation_input_tokens", "input_tokens"])
def test_anthropic_absurd_part(name: str, bad: Any) -> None:
    """An absurd part of the input makes the whole input unknown: it is the sum of its parts."""
    usage = anthropic_usage({"input_tokens": 7, "output_tokens": 9, name: bad}, KNOWN)
    assert (usage.input_tokens, usage.output_tokens) == (KNOWN.input_tokens, 9)
    assert usage.suspect
    assert usage.estimated


@given(prompt=counts, cached=counts, tools=counts, visible=few, hidden=few)
def test_gemini_sum(prompt: int, cached: int, tools: int, visible: int, hidden: int) -> None:
    """The cached part is inside the prompt, thoughts are outside the candidates, tools beside the prompt."""
    raw = {
        "promptTokenCount": prompt + cached,
        "cachedContentTokenCount": cached,
        "toolUsePromptTokenCount": tools,
        "candidatesTokenCount": visible,
        "thoughtsTokenCount": hidden,
        "totalTokenCount": prompt + cached + tools + visible + hidden,
    }
    usage = gemini_usage(raw, KNOWN)
    assert buckets(usage) == (prompt + tools, cached, None, visible, hidden)
    assert (usage.total_tokens, usage.suspect) == (raw["totalTokenCount"], False)


@pytest.mark.parametrize(
    ("raw", "output"),
    [
        ({"promptTokenCount": 5, "totalTokenCount": 5}, (0, None)),
        ({"promptTokenCount": 5, "thoughtsTokenCount": 9, "totalTokenCount": 14}, (0, 9)),
        ({"promptTokenCount": 5, "totalTokenCount": 9}, (4, None)),
    ],
)
def test_gemini_leaves_zero_out(raw: dict[str, int], output: tuple[int, int | None]) -> None:
    """A count that is missing beside a total follows from it, and is no estimate."""
    usage = gemini_usage(raw, KNOWN)
    assert (usage.output_tokens, usage.reasoning_tokens) == output
    assert (usage.total_tokens, usage.suspect) == (raw["totalTokenCount"], False)


def test_gemini_hidden_thoughts_in_the_total() -> None:
    """What is in the total and nowhere else is reasoning."""
    usage = gemini_usage({"promptTokenCount": 5, "candidatesTokenCount": 3, "totalTokenCount": 20}, KNOWN)
    assert buckets(usage) == (5, None, None, 3, 12)


@given(prompt=counts, output=few)
def test_ollama_sum(prompt: int, output: int) -> None:
    """Two counts, and nothing inside them."""
    usage = ollama_usage({"prompt_eval_count": prompt, "eval_count": output}, KNOWN)
    assert buckets(usage) == (prompt, None, None, output, None)
    assert not usage.suspect


READERS = [
    (responses_usage, "input_tokens", "output_tokens"),
    (anthropic_usage, "input_tokens", "output_tokens"),
    (gemini_usage, "promptTokenCount", "candidatesTokenCount"),
    (ollama_usage, "prompt_eval_count", "eval_count"),
]


@pytest.mark.parametrize(("reader", "input_name", "output_name"), READERS)
@pytest.mark.parametrize("bad", ABSURD)
def test_absurd_figure_is_replaced_by_its_bound(reader: Any, input_name: str, output_name: str, bad: Any) -> None:
    """One side that cannot be is estimated, and the other is kept."""
    for name, expected in ((input_name, (KNOWN.input_tokens, 9)), (output_name, (7, KNOWN.output_tokens))):
        usage = reader({input_name: 7, output_name: 9, name: bad}, KNOWN)
        assert (usage.input_tokens, usage.output_tokens) == expected
        assert usage.suspect
        assert usage.estimated


@pytest.mark.parametrize(("reader", "input_name", "output_name"), READERS)
def test_output_above_the_cap_is_held_to_the_cap(reader: Any, input_name: str, output_name: str) -> None:
    """More output than was allowed is suspect; the accounts stay within the reservation."""
    usage = reader({input_name: 7, output_name: 101}, KNOWN)
    assert (usage.output_tokens, usage.suspect, usage.estimated) == (100, True, True)


def test_figures_older_than_the_text() -> None:
    """A broken stream whose figures have no output is not free of it; figures with output are kept."""
    early = gemini_usage({"promptTokenCount": 5, "totalTokenCount": 5}, KNOWN)
    seen = with_seen_output(early, KNOWN)
    assert (seen.input_tokens, seen.output_tokens, seen.suspect, seen.estimated) == (5, 10, True, True)
    assert with_seen_output(early, bounds(300, 0, 100)) == early
    later = gemini_usage({"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 7}, KNOWN)
    assert with_seen_output(later, KNOWN) == later
