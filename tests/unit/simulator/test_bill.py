"""The bill's file folds into calls, continues its numbers and survives a cut last line."""

from pathlib import Path

import pytest

from penstock_simulator.ask import Usage
from penstock_simulator.bill import Bill, BilledCall, read_bill


def _call(number: int, **fields: object) -> BilledCall:
    return BilledCall(id=f"req_{number}", number=number, wire="w", model="m", started_at_ms=1, **fields)  # type: ignore[arg-type]


def test_later_lines_replace_earlier_ones_of_the_same_call(tmp_path: Path) -> None:
    """A call that takes time is several lines and one call."""
    bill, call = Bill(tmp_path / "bill"), _call(1)
    bill.add(call)
    bill.write(call)
    call.billed, call.outcome = True, "sent"
    call.charge(Usage(10, 5, 3, 2))
    bill.write(call)
    read = read_bill(tmp_path / "bill")
    assert read == [call]
    assert (read[0].input_tokens, read[0].output_tokens) == (15, 5)


def test_an_open_call_is_in_the_file_without_a_charge(tmp_path: Path) -> None:
    """What began and never ended is told apart from what was never called."""
    bill = Bill(tmp_path / "bill")
    bill.write(_call(1))
    assert [(call.outcome, call.billed, call.ended_at_ms) for call in read_bill(tmp_path / "bill")] == [
        ("open", False, None)
    ]


def test_a_bill_that_is_continued_uses_no_number_twice(tmp_path: Path) -> None:
    """A restarted simulator must not reuse the ids of the calls before."""
    first = Bill(tmp_path / "bill")
    for number in (1, 2, 3):
        first.write(_call(number))
    first.close()
    assert Bill(tmp_path / "bill").last_number == 3


def test_a_cut_last_line_is_left_out(tmp_path: Path) -> None:
    """A crash in the middle of a write costs that line only."""
    path = tmp_path / "bill"
    Bill(path).write(_call(1))
    path.write_bytes(path.read_bytes() + b'{"id":"req_2","num')
    assert [call.id for call in read_bill(path)] == ["req_1"]


def test_a_damaged_line_in_the_middle_is_an_error(tmp_path: Path) -> None:
    """The truth about money is not guessed."""
    path = tmp_path / "bill"
    path.write_bytes(b'{"id":\n{"id":"req_2"}\n')
    with pytest.raises(ValueError, match="line 1"):
        read_bill(path)


def test_only_the_latest_calls_stay_in_memory() -> None:
    """A long run does not fill the memory."""
    bill = Bill(kept=2)
    for number in (1, 2, 3):
        bill.add(_call(number))
    assert [call.number for call in bill.calls()] == [2, 3]
