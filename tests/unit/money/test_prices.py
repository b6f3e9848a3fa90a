"""Prices: exact, rounded once, None when unknown."""

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock_schemas.prices import PriceRow, read_price_row
from penstock_schemas.results import Usage
from penstock_worker.money.prices import PriceError, PriceTable

AT = datetime(2025, 6, 1, tzinfo=UTC)
AUTUMN = datetime(2026, 11, 1, tzinfo=UTC)
CHEAP = {"input_per_mtok": "0.15", "output_per_mtok": "0.60"}


def test_price_from_the_table() -> None:
    """gpt-4o-mini: 0.15 USD in, 0.60 USD out, 0.075 USD cached, per million tokens."""
    usage = Usage(input_tokens=900, cache_read_tokens=100, output_tokens=400, reasoning_tokens=100)
    assert PriceTable().price("openai/gpt-4o-mini", usage, AT)[0] == 900 * 150 + 100 * 75 + 500 * 600


@pytest.mark.parametrize("ref", ["openai/no-such-model", "no-such-provider/gpt-4o", "gpt-4o", "", "/"])
def test_unknown_model_costs_none(ref: str) -> None:
    """What has no price is unknown, not free."""
    table = PriceTable()
    assert table.price(ref, Usage(input_tokens=1, output_tokens=1), AT)[0] is None
    assert table.worst_case(ref, 1, 1, AT) is None
    assert not table.knows(ref, AT)


@pytest.mark.parametrize("usage", [Usage(), Usage(input_tokens=1), Usage(output_tokens=1)])
def test_unknown_usage_costs_none(usage: Usage) -> None:
    """Without an input or an output count there is no cost."""
    assert PriceTable({"a/b": CHEAP}).price("a/b", usage, AT)[0] is None


def test_override_beats_the_table() -> None:
    """A configured price is used for a model that the table knows."""
    table = PriceTable({"openai/gpt-4o-mini": {"input_per_mtok": "1", "output_per_mtok": "2"}})
    assert table.price("openai/gpt-4o-mini", Usage(input_tokens=10, output_tokens=10), AT)[0] == 30_000


def test_explicit_zero_is_free() -> None:
    """A local model is free when the configuration says so, which is not the same as unknown."""
    table = PriceTable({"vllm/llama": {"input_per_mtok": "0", "output_per_mtok": 0}})
    assert table.price("vllm/llama", Usage(input_tokens=10, output_tokens=10), AT)[0] == 0
    assert table.worst_case("vllm/llama", 10, 10, AT) == 0


def test_half_a_nano_rounds_up_once() -> None:
    """Rounding happens on the sum, half up: 0.25 + 0.25 nano-USD is 0.5, which is 1."""
    table = PriceTable({"a/b": {"input_per_mtok": "0.00025", "output_per_mtok": "0.00025"}})
    assert table.price("a/b", Usage(input_tokens=1, output_tokens=1), AT)[0] == 1
    assert table.price("a/b", Usage(input_tokens=1, output_tokens=0), AT)[0] == 0


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ({"input_per_mtok": 0.15, "output_per_mtok": "1"}, "a/b.input_per_mtok"),
        ({"input_per_mtok": "-1", "output_per_mtok": "1"}, "a/b.input_per_mtok"),
        ({"input_per_mtok": "NaN", "output_per_mtok": "1"}, "a/b.input_per_mtok"),
        ({"input_per_mtok": "x", "output_per_mtok": "1"}, "a/b.input_per_mtok"),
        ({"input_per_mtok": "150000", "output_per_mtok": "1"}, "a/b.input_per_mtok"),
        ({"input_per_mtok": "1"}, "a/b.output_per_mtok"),
        ({**CHEAP, "inputt": "1"}, "a/b.inputt"),
        ({**CHEAP, "cache_read_per_mtok": True}, "a/b.cache_read_per_mtok"),
    ],
)
def test_bad_override_names_its_key(raw: dict[str, Any], key: str) -> None:
    """A price that cannot be meant is refused at the start."""
    with pytest.raises(PriceError, match=key):
        PriceTable({"a/b": raw})


def test_tier_without_a_price_is_unknown() -> None:
    """A tier that the table does not price is not priced as the standard one."""
    table, usage = PriceTable(), Usage(input_tokens=1000, output_tokens=1000)
    assert table.price("openai/gpt-4o-mini", usage, AT, service_tier="no-such-tier")[0] is None
    standard = table.price("openai/gpt-4o-mini", usage, AT)[0]
    assert table.price("openai/gpt-4o-mini", usage, AT, service_tier="default")[0] == standard


def of_the_library(model: str, usage: Usage) -> Decimal:
    """What genai-prices itself makes of *usage*, in USD."""
    import genai_prices

    read, written = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
    counts = genai_prices.Usage(
        input_tokens=(usage.input_tokens or 0) + read + written,
        cache_read_tokens=read,
        cache_write_tokens=written,
        output_tokens=(usage.output_tokens or 0) + (usage.reasoning_tokens or 0),
    )
    return genai_prices.calc_price(counts, model, provider_id="google", genai_request_timestamp=AT).total_price


@given(st.integers(0, 400_000), st.integers(0, 200_000), st.integers(0, 70_000))
@example(200_000, 0, 1)
@example(200_001, 0, 1)
def test_a_row_prices_as_the_table_does(fresh: int, read: int, out: int) -> None:
    """Steps for long inputs included: the row that is kept explains the whole price."""
    usage = Usage(input_tokens=fresh, cache_read_tokens=read, output_tokens=out)
    row = PriceTable().row("google/gemini-2.5-pro", fresh + read, AT)
    assert row is not None
    assert row.over_input_tokens == (200_000 if fresh + read > 200_000 else None)
    exact = of_the_library("gemini-2.5-pro", usage).scaleb(9)
    assert sum(row.parts(usage).values()) == exact
    assert (
        PriceTable().price("google/gemini-2.5-pro", usage, AT)[0]
        == row.cost_nanousd(usage)
        == int(exact + Decimal("0.5"))
    )


def test_a_row_comes_back_from_its_json_with_its_digest() -> None:
    """So that what Redis keeps is what a call was priced by; another rate is another digest."""
    row = PriceTable({"a/b": CHEAP}).row("a/b", 1, AT)
    assert row is not None
    assert read_price_row(row.as_json) == row
    assert PriceRow.model_validate_json(row.as_json).digest == row.digest
    other = PriceTable({"a/b": {**CHEAP, "output_per_mtok": "0.61"}}).row("a/b", 1, AT)
    assert other is not None
    assert other.digest != row.digest
    assert read_price_row(b"{}") is None


TIERED = {
    **CHEAP,
    "long_context": {"over_input_tokens": 1_000, "input_per_mtok": "0.30", "output_per_mtok": "0.90"},
    "tiers": {
        "flex": {"input_per_mtok": "0.05", "output_per_mtok": "0.20"},
        "batch": {
            "input_per_mtok": "0.075",
            "output_per_mtok": "0.30",
            "long_context": {"over_input_tokens": 1_000, "input_per_mtok": "0.15", "output_per_mtok": "0.45"},
        },
    },
}


@pytest.mark.parametrize(
    ("tier", "tokens", "nanousd"),
    [
        (None, 1_000, 1_000 * 150 + 600),
        ("default", 1_000, 1_000 * 150 + 600),
        (None, 1_001, 1_001 * 300 + 900),
        ("flex", 1_001, 1_001 * 50 + 200),
        ("batch", 1_000, 1_000 * 75 + 300),
        ("batch", 1_001, 1_001 * 150 + 450),
        ("priority", 1_000, None),
    ],
)
def test_a_configured_price_goes_by_tier_and_length(tier: str | None, tokens: int, nanousd: int | None) -> None:
    """A long call is priced anew as a whole; a tier without a price has none, where there are tiers."""
    table = PriceTable({"a/b": TIERED})
    usage = Usage(input_tokens=tokens, output_tokens=1)
    assert table.price("a/b", usage, AT, service_tier=tier)[0] == nanousd
    assert table.worst_case("a/b", tokens, 1, AT, service_tier=tier) == nanousd


def test_a_price_of_a_provider_holds_for_all_its_models() -> None:
    """But for those that have one of their own."""
    table = PriceTable({"local/*": {"input_per_mtok": "0", "output_per_mtok": "0"}, "local/big": CHEAP})
    usage = Usage(input_tokens=10, output_tokens=10)
    assert table.price("local/whatever", usage, AT)[0] == 0
    assert table.price("local/big", usage, AT)[0] == 10 * 150 + 10 * 600
    assert table.price("other/whatever", usage, AT)[0] is None


def test_a_shorter_call_may_be_the_dearer_one() -> None:
    """A bound looks at every step below it."""
    long_is_cheap = {
        **CHEAP,
        "long_context": {"over_input_tokens": 1_000, "input_per_mtok": "0", "output_per_mtok": "0"},
    }
    assert PriceTable({"a/b": long_is_cheap}).worst_case("a/b", 5_000, 1, AT) == 1_000 * 150 + 600


@pytest.mark.parametrize(("tier", "half"), [("batch", True), ("flex", True), (None, False), ("default", False)])
def test_the_table_knows_batch_and_flex(tier: str | None, half: bool) -> None:
    """OpenAI's batches and its flex tier cost half."""
    usage = Usage(input_tokens=1_000, output_tokens=1_000)
    full = PriceTable().price("openai/gpt-5-mini", usage, AUTUMN)[0]
    assert full is not None
    priced = PriceTable().price("openai/gpt-5-mini", usage, AUTUMN, service_tier=tier)[0]
    assert priced == (full // 2 if half else full)


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ({**CHEAP, "long_context": CHEAP}, "a/b.long_context.over_input_tokens"),
        ({**CHEAP, "long_context": {**CHEAP, "over_input_tokens": 0}}, "a/b.long_context.over_input_tokens"),
        ({**CHEAP, "tiers": {"flex": {"input_per_mtok": "1"}}}, "a/b.tiers.flex.output_per_mtok"),
    ],
)
def test_a_bad_tier_names_its_key(raw: dict[str, Any], key: str) -> None:
    """What is missing, and where."""
    with pytest.raises(PriceError, match=key):
        PriceTable({"a/b": raw})


def test_version_changes_with_the_overrides() -> None:
    """The ledger can tell which prices were used."""
    assert PriceTable().version != PriceTable({"a/b": CHEAP}).version
    assert PriceTable().version == PriceTable({}).version


buckets = st.integers(0, 50_000)


@given(buckets, buckets, buckets, buckets, buckets)
@pytest.mark.parametrize("ref", ["anthropic/claude-haiku-4-5", "openai/gpt-4o-mini", "google/gemini-2.5-pro", "a/b"])
def test_worst_case_bounds_every_price(ref: str, fresh: int, read: int, written: int, out: int, think: int) -> None:
    """No split of the same tokens over the buckets costs more than the worst case."""
    table = PriceTable({"a/b": {**CHEAP, "cache_write_per_mtok": "9", "reasoning_per_mtok": "7"}})
    usage = Usage(
        input_tokens=fresh,
        cache_read_tokens=read,
        cache_write_tokens=written,
        output_tokens=out,
        reasoning_tokens=think,
    )
    cost = table.price(ref, usage, AT)[0]
    worst = table.worst_case(ref, fresh + read + written, out + think, AT)
    assert cost is not None
    assert worst is not None
    assert 0 <= cost <= worst


def test_pricing_needs_no_network_and_no_thread() -> None:
    """Nothing connects, and no updater runs, when a price is asked for."""
    code = """
import socket, threading
def refuse(*a): raise AssertionError("network")
socket.socket.connect = refuse; socket.getaddrinfo = refuse
from datetime import datetime, UTC
from penstock_schemas.results import Usage
from penstock_worker.money.prices import PriceTable
import sys
assert "genai_prices" not in sys.modules
at = datetime(2025, 6, 1, tzinfo=UTC)
assert PriceTable().price("openai/gpt-4o-mini", Usage(input_tokens=1, output_tokens=1), at)[0] == 750
assert threading.active_count() == 1
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
