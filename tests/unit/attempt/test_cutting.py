"""How large the parts of a text are, and how many calls they need."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_worker.attempt.cutting import (
    LEAST_CHUNK_BYTES,
    NOTES,
    Plan,
    make_plan,
    most_calls,
    over_limit,
    packed,
    read_plan,
)
from penstock_worker.documents.chunking import size
from penstock_worker.routing.routes import Route
from tests.support.attempts import TARGET

TEXT = "The mill stands by the river. " * 10_000


def route(**options: int) -> Route:
    return Route("default", (TARGET,), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "room_bytes", "chunk_bytes"),
    [
        ({}, None, 24_000),
        ({}, 9_000, 9_000),
        ({"chunk_bytes": 6_000}, None, 6_000),
        ({"chunk_bytes": 60_000}, 9_000, 9_000),
        ({"chunk_bytes": 60_000, "whole_bytes": 90_000}, None, 60_000),
        ({"whole_bytes": 12_000}, None, 12_000),
        ({"chunk_bytes": 400_000}, None, 187_500),
    ],
)
def test_the_smallest_bound_counts(options: dict[str, int], room_bytes: int | None, chunk_bytes: int) -> None:
    """What the route says, what a window has room for, and less than the whole text."""
    plan = make_plan(route(**options), TEXT, room_bytes)
    assert plan is not None
    assert plan.chunk_bytes == chunk_bytes
    assert len(plan.cut(TEXT)) >= 2
    assert read_plan(plan.as_json()) == plan


def test_a_window_without_room_and_a_text_without_length_have_no_plan() -> None:
    """No use could be made of them."""
    assert make_plan(route(), TEXT, LEAST_CHUNK_BYTES - 1) is None
    assert make_plan(route(), "The mill.", None) is None


def test_an_overlap_is_a_fourth_of_a_part_at_most() -> None:
    """Whatever the route says."""
    plan = make_plan(route(overlap_bytes=9_000), TEXT, 6_000)
    assert plan == Plan(6_000, 1_500)


@pytest.mark.parametrize("kept", [b"", b"[]", b"{}", b'{"chunk_bytes": 3, "overlap_bytes": 0}', b'{"chunk_bytes": 9}'])
def test_what_is_no_plan_is_an_error(kept: bytes) -> None:
    """Never half of one."""
    with pytest.raises(ValueError):  # noqa: PT011  (of several kinds)
        read_plan(kept)


def test_white_space_is_nothing_to_be_asked_about() -> None:
    """Pages of it cost no call."""
    plan = Plan(1_000, 100)
    assert [each.text.strip() for each in plan.cut("The mill." + "\n" * 9_000 + "The river.")] == [
        "The mill.",
        "The river.",
    ]


def test_bytes_count_and_not_characters() -> None:
    """In any script."""
    assert not over_limit(12, "mill" * 3)
    assert over_limit(11, "mill" * 3)
    assert over_limit(11, "水車小屋")
    assert not over_limit(12, "水車小屋")


@given(st.lists(st.text(max_size=60), max_size=60), st.integers(100, 400))
def test_notes_are_packed_in_order_and_within_bounds(notes: list[str], most: int) -> None:
    """Joined, the groups are all the notes."""
    groups = packed(notes, most)
    assert "\n\n".join(groups) == "\n\n".join(notes)
    assert all(size(group) <= most or group in notes for group in groups)


@given(st.integers(1, 4_000))
def test_the_calls_reckoned_are_never_fewer_than_needed(parts: int) -> None:
    """For notes of the greatest length that is allowed, condensed as often as it takes."""
    plan = Plan(6_000, 0)
    needed, notes = parts, ["x" * plan.answer_bytes] * parts
    while len(groups := packed(notes, plan.chunk_bytes)) > 1:
        needed += len(groups)
        notes = ["x" * plan.answer_bytes] * len(groups)
    assert needed + 1 <= most_calls(parts, joined=True)
    assert most_calls(parts, joined=False) == parts
    assert NOTES == 3
