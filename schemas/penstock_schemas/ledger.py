"""The ledger's entries and their sums, as Redis holds them.

1. One entry for each provider call that was settled, also one that failed, was given up or belonged to a worker that
   had lost its job. None is ever changed.
2. What is told of a call later is another entry, which amends the first: its tally counts in place of what counted
   until then, at the time of the first.
3. A tally is what an entry, or many of them, come to. It is text: whole numbers with a blank between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, Self

from penstock_schemas.results import BUCKETS, Usage

DIMENSIONS: Final = ("tenant", "task", "target", "prompt", "user")
"""What sums are kept by, in the order of their names in Redis."""

Billed = Literal["yes", "no", "unknown"]


@dataclass(slots=True)
class Tally:
    """What calls came to. The order of the fields is that of the text."""

    calls: int = 0
    cost_nanousd: int = 0
    """Of all calls whose cost is known."""
    uncertain_nanousd: int = 0
    """The most that calls of unknown outcome may have cost besides."""
    uncertain_calls: int = 0
    unpriced_calls: int = 0
    """Calls whose cost is not known, for want of a price or of usage; they are not in ``cost_nanousd``."""
    estimated_calls: int = 0
    """Calls whose usage the provider did not tell, or told wrong: their cost is an estimate of ours."""
    orphan_calls: int = 0
    """Calls of workers that had lost their job meanwhile: paid for, their answer not used."""
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    @classmethod
    def read(cls, text: bytes | str) -> Self:
        """From the text; what a later version may have put behind is ignored, and what is no number counts as 0."""
        numbers = [_whole(number) for number in text.split()]
        return cls(*numbers[: len(fields(cls))])

    @classmethod
    def of(cls, row: Mapping[bytes, bytes]) -> Self:
        """Of one entry, less what counted of its call before."""
        cost, uncertain = row.get(b"cost_nanousd", b""), _whole(row.get(b"uncertain_nanousd", b""))
        tally = cls(
            calls=1,
            cost_nanousd=_whole(cost),
            uncertain_nanousd=uncertain,
            uncertain_calls=int(uncertain > 0),
            unpriced_calls=int(not cost),
            estimated_calls=int(row.get(b"estimated") == b"1"),
            orphan_calls=int(row.get(b"orphan") == b"1"),
            **{bucket: _whole(row.get(bucket.encode(), b"")) for bucket in BUCKETS},
        )
        if was := row.get(b"was"):
            tally.take(cls.read(was))
        return tally

    def add(self, other: Tally) -> None:
        """Count *other* too."""
        for name in _TALLY:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def take(self, other: Tally) -> None:
        """Count *other* no more."""
        for name in _TALLY:
            setattr(self, name, getattr(self, name) - getattr(other, name))

    @property
    def tokens(self) -> dict[str, int]:
        """Known tokens by bucket."""
        return {bucket: getattr(self, bucket) for bucket in BUCKETS}

    @property
    def text(self) -> str:
        """As Redis holds it."""
        return " ".join(str(getattr(self, name)) for name in _TALLY)


def _whole(text: bytes | str) -> int:
    try:
        return int(text or 0)
    except ValueError:
        return 0


_TALLY = tuple(item.name for item in fields(Tally))


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One entry. None is unknown."""

    id: str
    """``<ms>-<number>``: when it was written, by Redis' clock."""
    job: str
    call: str
    """``<run>.<attempt>.<number>``."""
    kind: str
    """``answered``, ``failed``, ``unknown`` (nobody saw its end), or ``reconciled`` (a bill told it)."""
    amends: str | None
    """The first entry of the same call; None for that itself."""
    tenant: str
    user: str | None
    task: str
    target: str
    prompt: str
    purpose: str | None
    model: str | None
    """As the provider names it in its answer."""
    request_id: str | None
    """The provider's own id of the call."""
    billed: Billed
    error: str | None
    tier: str | None
    """The service tier that the provider says it used."""
    usage: Usage | None
    cost_nanousd: int | None
    uncertain_nanousd: int
    """The most it may have cost beyond what is known."""
    held_nanousd: int | None
    """The most it could cost, worked out before it was sent; None: its price is unknown."""
    held_tokens: int | None
    """The most tokens it could take; told only where its outcome is unknown."""
    cap_tokens: int | None
    """How many of them could be output."""
    prices: str | None
    """Which table of prices was used."""
    price: str | None
    """Digest of the row of it; None when the provider told the cost itself, or there is no price."""
    sent_at_ms: int | None
    first_content_ms: int | None
    """From sending it; None when there was no content, or the answer was not streamed."""
    took_ms: int | None
    orphan: bool
    """Of a worker that had lost its job meanwhile."""
    estimated: bool
    """Whether its amount is an estimate of ours, for want of possible figures."""
    bill: str | None
    """Of a reconciled entry, the bill that told it: its name and digest."""
    budgets: tuple[str, ...] = ()
    """The budgets it counts in, ``<scope>:<window>``."""
    tally: Tally = field(default_factory=Tally)
    """What it counts, less what counted of its call before."""

    @property
    def run(self) -> int:
        """1 for the job's first run."""
        return int(self.call.split(".")[0])

    @property
    def attempt(self) -> int:
        """1 for the run's first attempt."""
        return int(self.call.split(".")[1])

    @property
    def at_ms(self) -> int:
        """When it was written."""
        return int(self.id.partition("-")[0])

    @property
    def counts_at_ms(self) -> int:
        """When it counts: at the time of its call's first entry."""
        return int((self.amends or self.id).partition("-")[0])

    @property
    def first_content_at_ms(self) -> int | None:
        """The moment of the first content; None as for ``first_content_ms``."""
        if self.sent_at_ms is None or self.first_content_ms is None:
            return None
        return self.sent_at_ms + self.first_content_ms


def read_entry(entry_id: str, row: Mapping[bytes, bytes]) -> LedgerEntry:
    """An entry from its fields. Raises ValueError for what is none of ours."""
    text = {name.decode(): value.decode("utf-8", "replace") for name, value in row.items()}
    number = {name: int(value) for name, value in text.items() if name in _NUMBERS and value}
    if "job" not in text or text.get("call", "").count(".") != 2:
        raise ValueError(f"entry {entry_id} of the ledger names no call")
    counts: dict[str, Any] = {bucket: number[bucket] for bucket in BUCKETS if bucket in number}
    about: dict[str, Any] = {name: text.get(name, "") for name in _NAMES} | {n: text.get(n) for n in _MAYBE}
    about |= {name: number.get(name) for name in _AMOUNTS}
    return LedgerEntry(
        id=entry_id,
        amends=None if text.get("amends", "0") == "0" else text["amends"],
        **about,
        billed=_billed(text.get("billed", "")),
        tier=text.get("service_tier"),
        usage=Usage.model_construct(**counts) if counts else None,
        uncertain_nanousd=number.get("uncertain_nanousd", 0),
        orphan=text.get("orphan") == "1",
        estimated=text.get("estimated") == "1",
        budgets=tuple(text.get("budgets", "").split()),
        tally=Tally.of(row),
    )


_NAMES = ("job", "call", "kind", "tenant", "task", "target", "prompt")
_MAYBE = ("user", "purpose", "model", "request_id", "error", "prices", "price", "bill")
_AMOUNTS = ("cost_nanousd", "held_nanousd", "held_tokens", "cap_tokens", "sent_at_ms", "first_content_ms", "took_ms")
_NUMBERS = {*BUCKETS, *_AMOUNTS, "uncertain_nanousd"}


def _billed(text: str) -> Billed:
    return "yes" if text == "yes" else "no" if text == "no" else "unknown"
