"""Waits that providers ask for, and those that they cannot mean."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_worker.llm.retry_after import MAX_WAIT_S, retry_after_s, should_retry

NOW = datetime(2025, 6, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": " 3 "}, 3.0),
        ({"retry-after": "-1"}, 0.0),
        ({"retry-after": "abc"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, MAX_WAIT_S),
        ({"retry-after": "1e9"}, MAX_WAIT_S),
        ({"retry-after": "259200"}, MAX_WAIT_S),
        ({"retry-after": "1_0"}, None),
        ({"retry-after": "Sun, 01 Jun 2025 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Sun, 01 Jun 2025 11:00:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 04 Jun 2025 12:00:00 GMT"}, MAX_WAIT_S),
        ({"retry-after": "Sun, 99 Foo 2025 11:00:00 GMT"}, None),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"x-ms-retry-after-ms": "20", "retry-after": "9"}, 0.02),
        ({"retry-after-ms": "abc", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": "-5"}, 0.0),
    ],
)
def test_wait(headers: dict[str, str], wait_s: float | None) -> None:
    """Milliseconds come first, nonsense counts as absent, and nothing is below 0 or above a day."""
    assert retry_after_s(headers, NOW) == wait_s


@given(st.text(max_size=80))
def test_any_header_gives_a_wait_in_range(value: str) -> None:
    """No header value raises or gives a wait out of range."""
    wait_s = retry_after_s({"retry-after": value}, NOW)
    assert wait_s is None or 0 <= wait_s <= MAX_WAIT_S


@pytest.mark.parametrize(("value", "wish"), [("true", True), ("False", False), ("maybe", None), ("", None)])
def test_should_retry(value: str, wish: bool | None) -> None:
    """Only true and false are wishes."""
    assert should_retry({"x-should-retry": value}) is wish
    assert should_retry({}) is None
