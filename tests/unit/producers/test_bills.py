"""Bills and usage exports: every known shape comes to the same lines, and what is wrong is named."""

import json

import pytest

from penstock.bills import Bill, read_bill
from penstock_schemas.errors import InvalidRequestError
from penstock_schemas.results import Usage

DAY_MS = 86_400_000
START_MS = 1_730_419_200_000
"""2024-11-01."""


def read(data: object) -> Bill:
    text = data if isinstance(data, str) else json.dumps(data)
    return read_bill("bill", text.encode())


def test_the_least_that_is_needed() -> None:
    """A time, a model, an id and an amount."""
    (line,) = read("request_id,time,model,cost_usd\nreq_1,2024-11-01T12:00:00Z,gpt-4o-mini,0.000000001\n").lines
    assert (line.request_id, line.model, line.calls, line.cost_nanousd) == ("req_1", "gpt-4o-mini", 1, 1)
    assert (line.start_ms, line.end_ms) == (START_MS + DAY_MS // 2, START_MS + DAY_MS // 2)
    assert line.itemised and line.billed and line.usage is None


def test_openais_usage_pages() -> None:
    """Input has the cached tokens in it; buckets are Unix seconds; empty ones are no lines."""
    result = {
        "object": "organization.usage.completions.result",
        "model": "gpt-4o-mini-2024-07-18",
        "input_tokens": 1000,
        "input_cached_tokens": 800,
        "output_tokens": 500,
        "num_model_requests": 5,
    }
    bucket = {"object": "bucket", "start_time": START_MS // 1000, "end_time": START_MS // 1000 + 86_400}
    empty = {**result, "input_tokens": 0, "input_cached_tokens": 0, "output_tokens": 0, "num_model_requests": 0}
    (line,) = read({"object": "page", "data": [{**bucket, "results": [result, empty]}], "has_more": False}).lines
    assert line.usage == Usage(input_tokens=200, cache_read_tokens=800, output_tokens=500)
    assert (line.calls, line.start_ms, line.end_ms, line.cost_nanousd) == (5, START_MS, START_MS + DAY_MS, None)


def test_openais_costs_pages() -> None:
    """Amounts in USD by line item."""
    result = {"amount": {"value": 0.06, "currency": "usd"}, "line_item": "gpt-4o-mini-2024-07-18, input"}
    (line,) = read(
        {"data": [{"start_time": START_MS // 1000, "end_time": START_MS // 1000 + 86_400, "results": [result]}]}
    ).lines
    assert (line.cost_nanousd, line.model) == (60_000_000, "gpt-4o-mini-2024-07-18, input")


def test_openais_csv() -> None:
    """The dashboard's export."""
    header = (
        "start_time,end_time,start_time_iso,model,num_model_requests,input_tokens,input_cached_tokens,output_tokens"
    )
    (line,) = read(f"{header}\n1730419200,1730505600,2024-11-01T00:00:00+00:00,gpt-4o,7,100,40,9\n").lines
    assert line.usage == Usage(input_tokens=60, cache_read_tokens=40, output_tokens=9)
    assert (line.calls, line.start_ms, line.end_ms) == (7, START_MS, START_MS + DAY_MS)


def test_anthropics_usage_report() -> None:
    """Disjoint already; cache writes of both kinds are one bucket."""
    result = {
        "uncached_input_tokens": 10,
        "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
        "cache_read_input_tokens": 20,
        "output_tokens": 5,
        "model": "claude-haiku-4-5",
    }
    bucket = {"starting_at": "2024-11-01T00:00:00Z", "ending_at": "2024-11-02T00:00:00Z", "results": [result]}
    (line,) = read({"data": [bucket], "has_more": False, "next_page": None}).lines
    assert line.usage == Usage(input_tokens=10, cache_read_tokens=20, cache_write_tokens=7, output_tokens=5)
    assert (line.start_ms, line.end_ms) == (START_MS, START_MS + DAY_MS)


def test_anthropics_cost_report() -> None:
    """Amounts in cents, as strings."""
    result = {"currency": "USD", "amount": "123.78912", "model": "claude-haiku-4-5", "token_type": "output_tokens"}
    bucket = {"starting_at": "2024-11-01T00:00:00Z", "ending_at": "2024-11-02T00:00:00Z", "results": [result]}
    (line,) = read({"data": [bucket]}).lines
    assert line.cost_nanousd == 1_237_891_200


def test_anthropics_csv() -> None:
    """The console's export: a date is its whole day."""
    header = (
        "usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,"
        "usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,"
        "usage_output_tokens,web_search_count"
    )
    row = '2024-11-01,claude-haiku-4-5,"Key, one",Default,standard,≤ 200k,46981,15969,1,7,16932,0'
    (line,) = read(f"{header}\n{row}\n").lines
    assert line.usage == Usage(
        input_tokens=46_981, cache_read_tokens=7, cache_write_tokens=15_970, output_tokens=16_932
    )
    assert (line.model, line.end_ms - line.start_ms) == ("claude-haiku-4-5", DAY_MS)


def test_json_lines_whose_last_was_cut_short() -> None:
    """As of a bill that is still being written; later lines of an id add to the earlier ones."""
    rows = [
        {"id": "r1", "number": 1, "model": "m", "started_at_ms": START_MS, "caller_id": "j:1.1.1", "billed": False},
        {"id": "r1", "number": 1, "billed": True, "uncached_input_tokens": 5, "visible_output_tokens": 2},
    ]
    (line,) = read("\n".join(map(json.dumps, rows)) + '\n{"id": "r2", "mod').lines
    assert (line.call, line.request_id, line.billed) == ("j:1.1.1", "r1", True)
    assert line.usage == Usage(input_tokens=5, output_tokens=2)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "no rows"),
        ("time,model\n", "no rows"),
        ("model,cost_usd\nm,1\n", "line 2 has no time"),
        ("time,model,cost_usd\nyesterday,m,1\n", "line 2: is no time: 'yesterday'"),
        ("time,model,cost_usd\n2024-11-01,m,much\n", "line 2: cost is not an amount: 'much'"),
        ("time,model,input_tokens\n2024-11-01,m,1.5\n", "line 2: input_tokens is not a whole number"),
        ("time,model,input_tokens\n2024-11-01,m,-1\n", "line 2: input_tokens is not a whole number"),
        ('{"a": 1}\n{"b" 2}\n{"c": 3}\n', "line 2 is not JSON"),
        ("[1]", "item 1 is not an object"),
    ],
)
def test_what_is_wrong_is_named(text: str, what: str) -> None:
    """With the line and the column."""
    with pytest.raises(InvalidRequestError, match=what):
        read(text)


def test_bytes_that_are_no_text() -> None:
    """Said in one line."""
    with pytest.raises(InvalidRequestError, match="UTF-8"):
        read_bill("bill", b"time,model\n\xff\xfe")


def test_a_label_names_the_very_file() -> None:
    """Another content is another bill."""
    one, other = read("time,cost\n2024-11-01,1\n"), read("time,cost\n2024-11-01,2\n")
    assert one.label.startswith("bill ") and one.label != other.label
