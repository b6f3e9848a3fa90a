"""The labels of a text, from those of its parts: each part's vote weighs as much as it is long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

CLOSE = 0.1
"""Two shares that differ by less are as good as equal: the result is doubtful."""

ENOUGH = 0.2
"""Of several labels each that fits so large a share of the text fits the text."""

CLOSE_VOTE = "close_vote"
"""Why a result is suspect: the parts are at odds about it."""


@dataclass(frozen=True, slots=True)
class Ballot:
    """What one part says."""

    labels: Sequence[str]
    """Those that fit it; empty: none does."""
    weight: int
    """Its size."""


@dataclass(frozen=True, slots=True)
class Vote:
    """What all parts say together."""

    labels: tuple[str, ...]
    """In the order asked for; empty when none fits."""
    close: bool = False
    """Whether it could as well have been something else."""


def one_label(ballots: Iterable[Ballot], labels: Iterable[str], *, none: bool) -> Vote:
    """The label with the most votes; of equal ones the first of *labels*.

    *none*: whether "none of these" is an answer. Then it stands for election as a label does; else a part that chose
    nothing abstains.
    """
    votes = _count(ballots)
    order: list[str | None] = [*labels, *([None] if none else [])]
    ranked = sorted((name for name in order if votes[name]), key=lambda name: -votes[name])
    if not ranked:
        return Vote(())
    cast = sum(votes[name] for name in ranked)
    close = len(ranked) > 1 and votes[ranked[0]] - votes[ranked[1]] < CLOSE * cast
    return Vote(() if ranked[0] is None else (ranked[0],), close)


def many_labels(ballots: Iterable[Ballot], labels: Iterable[str], *, none: bool) -> Vote:
    """All labels that fit at least ``ENOUGH`` of the text, in the order of *labels*.

    When none reaches that: nothing if *none* is an answer, else the one that fits most of it, which is doubtful.
    """
    ballots = list(ballots)
    votes = _count(ballots)
    counted = sum(each.weight for each in ballots if each.labels or none)
    chosen = tuple(name for name in labels if votes[name] and votes[name] >= ENOUGH * counted)
    if chosen or none:
        return Vote(chosen)
    best = one_label(ballots, labels, none=False)
    return Vote(best.labels, close=True)


def _count(ballots: Iterable[Ballot]) -> Counter[str | None]:
    votes: Counter[str | None] = Counter()
    for ballot in ballots:
        for name in dict.fromkeys(ballot.labels) or (None,):
            votes[name] += ballot.weight
    return votes
