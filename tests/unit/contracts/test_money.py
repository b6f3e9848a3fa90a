"""Money between a caller's USD and Redis' integers: exact, or refused."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_schemas.results import MAX_NANOUSD, nanousd, usd


@pytest.mark.parametrize(
    ("amount", "nano"),
    [
        ("0", 0),
        ("0.02", 20_000_000),
        ("1", 1_000_000_000),
        (1, 1_000_000_000),
        ("0.000000001", 1),
        ("1e-9", 1),
        (Decimal("-0.5"), -500_000_000),
        (" 2.50 ", 2_500_000_000),
        ("1." + "0" * 80, 1_000_000_000),
        ("9007199.254740991", MAX_NANOUSD),
    ],
)
def test_amounts_are_exact(amount: Any, nano: int) -> None:
    """Strings, Decimals, whole dollars."""
    assert nanousd(amount) == nano
    assert usd(nano) == Decimal(str(amount).strip())


@pytest.mark.parametrize(
    "amount",
    [
        0.02,
        True,
        None,
        [],
        "",
        "two",
        "NaN",
        "sNaN",
        "Infinity",
        "-Infinity",
        "0.0000000001",
        "1." + "0" * 27 + "1",
        "9007199.254740992",
        "-9007199.254740992",
        "1e999999999",
        "1e-999999999",
        "0." + "0" * 200 + "1",
        b"1",
    ],
    ids=repr,
)
def test_what_is_no_amount_is_refused(amount: Any) -> None:
    """No float, nothing endless, no part of a nano-dollar, however many digits hide it."""
    with pytest.raises(ValueError, match=r"\w"):
        nanousd(amount)


@given(st.integers(-MAX_NANOUSD, MAX_NANOUSD))
def test_there_and_back(nano: int) -> None:
    """Every amount of nano-USD survives."""
    assert nanousd(usd(nano)) == nanousd(str(usd(nano))) == nano
