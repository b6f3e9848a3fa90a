"""Votes of the parts of a text: by size, with ties told."""

import pytest

from penstock_worker.documents.voting import Ballot, Vote, many_labels, one_label

LABELS = ["billing", "bug", "praise"]


def ballots(*votes: tuple[str, int]) -> list[Ballot]:
    return [Ballot(names.split(), weight) for names, weight in votes]


@pytest.mark.parametrize(
    ("votes", "none", "expected"),
    [
        ([("bug", 900), ("billing", 300), ("billing", 300)], False, Vote(("bug",))),
        ([("bug", 500), ("billing", 500)], False, Vote(("billing",), close=True)),
        ([("bug", 520), ("billing", 500)], False, Vote(("bug",), close=True)),
        ([("", 900), ("bug", 100)], False, Vote(("bug",))),
        ([("", 900), ("bug", 100)], True, Vote(())),
        ([("", 400), ("bug", 600)], True, Vote(("bug",))),
        ([("", 500), ("bug", 500)], True, Vote(("bug",), close=True)),
        ([("", 500)], True, Vote(())),
        ([("", 500)], False, Vote(())),
        ([], False, Vote(())),
    ],
)
def test_one_label(votes: list[tuple[str, int]], none: bool, expected: Vote) -> None:
    """Length decides; a part without an opinion has a vote only where none is an answer."""
    assert one_label(ballots(*votes), LABELS, none=none) == expected


@pytest.mark.parametrize(
    ("votes", "none", "expected"),
    [
        ([("bug billing", 500), ("billing", 400), ("praise", 100)], False, Vote(("billing", "bug"))),
        ([("bug", 100), ("", 900)], True, Vote(())),
        ([("bug", 100), ("", 900)], False, Vote(("bug",))),
        ([("bug", 300), ("praise", 700)], False, Vote(("bug", "praise"))),
        ([(name, 100) for name in ("billing", "bug", "praise")], True, Vote(("billing", "bug", "praise"))),
        ([("", 500)], False, Vote((), close=True)),
    ],
)
def test_many_labels(votes: list[tuple[str, int]], none: bool, expected: Vote) -> None:
    """Those of a fifth of the text at least, in the order asked for."""
    assert many_labels(ballots(*votes), LABELS, none=none) == expected


def test_the_best_of_too_few_is_doubtful() -> None:
    """Six labels share the text, and one has to be chosen."""
    labels = [f"l{n}" for n in range(6)]
    votes = ballots(*((name, 100 + (name == "l3")) for name in labels))
    assert many_labels(votes, labels, none=False) == Vote(("l3",), close=True)
