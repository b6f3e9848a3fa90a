"""The ledger beside a provider's bill: what differs, and what the bill tells of calls that were in doubt.

1. A line of the bill that has an id is matched with the call of that id: Penstock's own, else the provider's. Other
   lines are compared in sum, by model and day (UTC).
2. A call in doubt is settled as its line says. Where the bill lists every call of its time and does not have it, it was
   not billed. Where the bill has sums only, it is settled when what they leave for the calls in doubt is clear.
3. What is settled is written once, as entries that amend: a repeat finds nothing in doubt.

A bill is taken to be whole from its first line's time to its last one's, for one provider. By clocks that differ a
little a call can be sent before that: one that has a line counts in any case.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import orjson

from penstock.bills import Bill, BillLine
from penstock.books import entries
from penstock.link import Link
from penstock.prices_kept import KeptPrices
from penstock.producer import Producer
from penstock_schemas import keys
from penstock_schemas.errors import InvalidRequestError
from penstock_schemas.ledger import LedgerEntry, Tally, read_entry
from penstock_schemas.results import BUCKETS, Usage, moment

Row = dict[bytes, bytes]

LATE_MS = 60_000
"""How much earlier than the bill's first line the reading begins, for clocks that differ."""


@dataclass(slots=True)
class Call:
    """A call as the ledger has it by now."""

    id: str
    """``<job>:<call>``."""
    entry: LedgerEntry
    """What counts of it."""
    first: str
    """Id of its first entry."""
    counts: Tally
    """What it counts."""
    doubtful: bool = False
    line: BillLine | None = None
    """The bill's line of it."""

    @property
    def sent_ms(self) -> int:
        """When it was sent; when it was written down, where that is not known."""
        return self.entry.sent_at_ms or int(self.first.partition("-")[0])

    @property
    def most_nanousd(self) -> int:
        """The most that it counts, what is uncertain included."""
        return self.counts.cost_nanousd + self.counts.uncertain_nanousd


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a bill says of a call."""

    call: Call
    billed: bool
    cost_nanousd: int
    usage: Usage | None
    price: str | None
    """Digest of the row that the cost was worked out by; None when the bill tells it."""
    why: Literal["by id", "not on the bill", "what the sums leave"]

    @property
    def changes(self) -> bool:
        """Whether it is other than what the ledger has."""
        counts = self.call.counts
        return (counts.cost_nanousd, counts.uncertain_nanousd) != (self.cost_nanousd, 0) or counts.unpriced_calls > 0


@dataclass(slots=True)
class Group:
    """The calls to a model on a day, here and on the bill."""

    day: str
    model: str
    calls: int = 0
    bill_calls: int = 0
    cost_nanousd: int = 0
    uncertain_nanousd: int = 0
    unpriced_calls: int = 0
    bill_nanousd: int | None = 0
    """None when a line has no amount, and no price is known for it."""
    tokens: int = 0
    bill_tokens: int = 0

    @property
    def difference_nanousd(self) -> int | None:
        """What the bill has beyond what is certain here; None where the bill's amount is unknown."""
        return None if self.bill_nanousd is None else self.bill_nanousd - self.cost_nanousd

    @property
    def explained(self) -> bool:
        """Whether the difference is within what is uncertain here."""
        difference = self.difference_nanousd
        return difference is not None and 0 <= difference <= self.uncertain_nanousd


@dataclass(slots=True)
class Comparison:
    """A bill beside the ledger."""

    bill: Bill
    provider: str
    since: datetime
    until: datetime
    groups: list[Group] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    """What the bill tells of calls in doubt."""
    corrections: list[Verdict] = field(default_factory=list)
    """Calls that were in no doubt, and that the bill has otherwise."""
    undecided: list[Call] = field(default_factory=list)
    """Calls in doubt of which the bill does not say enough."""
    not_here: list[BillLine] = field(default_factory=list)
    """Lines with an id that the ledger does not know."""
    not_there: list[Call] = field(default_factory=list)
    """Calls that were billed, by the ledger, and that a bill which lists each call does not have."""

    @property
    def difference_nanousd(self) -> int | None:
        """What the bill has beyond what is certain here."""
        each = [group.difference_nanousd for group in self.groups]
        return None if None in each else sum(amount for amount in each if amount is not None)

    @property
    def agrees(self) -> bool:
        """Whether there is no difference at all."""
        return not (self.verdicts or self.corrections or self.undecided or self.not_here or self.not_there) and all(
            group.difference_nanousd == 0 for group in self.groups
        )


async def compare(
    producer: Producer,
    bill: Bill,
    *,
    provider: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Comparison:
    """Put *bill* beside the ledger; nothing is written.

    *provider*: whose bill it is, as the part of a target before the slash; None: found by what matches. *since* and
    *until* (aware) say for which time the bill is whole; None: for that from its first line to its last. Raises
    InvalidRequestError when it cannot be told whose bill it is.
    """
    since_ms = min(line.start_ms for line in bill.lines) if since is None else _ms(since)
    until_ms = max(line.end_ms for line in bill.lines) + 1 if until is None else _ms(until)
    calls = await _read_calls(producer.link, since_ms)
    _match(bill, calls)
    whose = provider or _provider(bill, calls.values())
    ours = [call for call in calls.values() if _provider_of(call) == whose]
    scope = [call for call in ours if call.line is not None or since_ms <= call.sent_ms < until_ms]
    prices = await KeptPrices.read(producer.link)
    at = Comparison(bill, whose, moment(since_ms), moment(until_ms))
    _Judge(at, scope, prices).judge()
    return at


async def _read_calls(link: Link, since_ms: int) -> dict[str, Call]:
    """All calls that may have been sent since then, and all that are in doubt however old."""
    calls: dict[str, Call] = {}
    for call in await _doubts(link):
        calls[call.id] = call
    async for page in entries(link, f"{max(since_ms - LATE_MS, 0)}-0"):
        for entry_id, row in page:
            _take(calls, entry_id, row)
    return calls


def _take(calls: dict[str, Call], entry_id: str, row: Row) -> None:
    try:
        entry = read_entry(entry_id, row)
    except ValueError:  # none of ours
        return
    name = f"{entry.job}:{entry.call}"
    plain = Tally.of({key: value for key, value in row.items() if key != b"was"})
    known = calls.get(name)
    doubtful = known is not None and known.doubtful
    calls[name] = Call(name, entry, entry.amends or entry_id, plain, doubtful)


async def _doubts(link: Link) -> list[Call]:
    found: list[Call] = []
    names = [name.decode() for name in await link.execute("ZRANGE", keys.DOUBTS, 0, -1)]
    for at in range(0, len(names), 200):
        part = names[at : at + 200]
        for name, text in zip(part, await link.execute("MGET", *map(keys.doubt, part)), strict=True):
            if text is not None:
                found.append(_doubtful(name, orjson.loads(text)))
    return found


def _doubtful(name: str, told: Mapping[str, object]) -> Call:
    fields = told["fields"]
    assert isinstance(fields, dict)
    row = {key.encode(): str(value).encode() for key, value in fields.items() if key != "was"}
    first = str(told["first"])
    return Call(name, read_entry(first, row), first, Tally.read(str(told["was"])), doubtful=True)


def _match(bill: Bill, calls: Mapping[str, Call]) -> None:
    """Give each call its line: by its own id, else by the provider's."""
    by_request = {call.entry.request_id: call for call in calls.values() if call.entry.request_id}
    for line in bill.lines:
        call = calls.get(line.call or "") or by_request.get(line.request_id or "")
        if call is not None and call.line is None:
            call.line = line


def _provider(bill: Bill, calls: Iterable[Call]) -> str:
    models = {line.model for line in bill.lines}
    by_id = {_provider_of(call) for call in calls if call.line is not None}
    by_model = {_provider_of(call) for call in calls if any(fits(model, call.entry) for model in models)}
    found = by_id or by_model
    if len(found) == 1:
        return found.pop()
    what = f"could be of {', '.join(sorted(found))}" if found else "has no model that the ledger knows of that time"
    raise InvalidRequestError(f"{what}; say whose it is by --provider", field="bill")


def _provider_of(call: Call) -> str:
    return call.entry.target.partition("/")[0]


def fits(model: str, entry: LedgerEntry) -> bool:
    """Whether a bill's name of a model is that of the call: as it was asked for, as the answer named it, or dated."""
    asked = entry.target.partition("/")[2].lower()
    told = model.partition(",")[0].strip().lower()
    return told in (asked, (entry.model or asked).lower()) or told.startswith((f"{asked}-20", f"{asked}@", f"{asked}:"))


class _Judge:
    """Works a comparison out."""

    def __init__(self, at: Comparison, scope: list[Call], prices: KeptPrices) -> None:
        self._at, self._scope, self._prices = at, scope, prices
        self._groups: dict[tuple[str, str], Group] = {}
        self._doubts: dict[tuple[str, str], list[Call]] = defaultdict(list)
        self._in_sums: set[tuple[str, str]] = set()
        self._itemised = any(line.itemised for line in at.bill.lines)
        self._of_line = {id(call.line): call for call in scope if call.line is not None}
        self._alike: dict[str, Call | None] = {}

    def judge(self) -> None:
        for line in self._at.bill.lines:
            self._count_line(line)
        for call in self._scope:
            self._count_call(call)
        for key, calls in self._doubts.items():
            self._by_sums(self._groups[key], key, calls)
        self._at.groups = [self._groups[key] for key in sorted(self._groups)]

    def _group(self, day_ms: int, model: str) -> Group:
        day = moment(day_ms).astimezone(UTC).date().isoformat()
        return self._groups.setdefault((day, model), Group(day, model))

    def _count_line(self, line: BillLine) -> None:
        call = self._of_line.get(id(line))
        alike = call or self._call_like(line.model)
        model = alike.entry.target.partition("/")[2] if alike else line.model
        group = self._group(call.sent_ms if call else line.start_ms, model)
        cost = self._cost(line, alike)
        group.bill_calls += line.calls if line.billed else 0
        group.bill_nanousd = None if cost is None or group.bill_nanousd is None else group.bill_nanousd + cost
        group.bill_tokens += (line.usage.total_tokens or 0) if line.usage and line.billed else 0
        if not line.itemised:
            self._in_sums.add((group.day, group.model))
        elif call is None and line.billed:
            self._at.not_here.append(line)

    def _call_like(self, model: str) -> Call | None:
        """A call to that model, priced if there is one."""
        if model not in self._alike:
            of_model = [call for call in self._scope if fits(model, call.entry)]
            self._alike[model] = next((c for c in of_model if c.entry.price), of_model[0] if of_model else None)
        return self._alike[model]

    def _count_call(self, call: Call) -> None:
        group = self._group(call.sent_ms, call.entry.target.partition("/")[2])
        counts = call.counts
        group.calls += call.entry.billed != "no"
        group.cost_nanousd += counts.cost_nanousd
        group.uncertain_nanousd += counts.uncertain_nanousd
        group.unpriced_calls += counts.unpriced_calls
        group.tokens += sum(counts.tokens.values())
        verdict = self._verdict(call)
        if verdict is not None:
            if call.doubtful:
                self._at.verdicts.append(verdict)
            elif verdict.changes:
                self._missing_or_wrong(verdict)
        elif call.doubtful:
            self._doubts[group.day, group.model].append(call)

    def _missing_or_wrong(self, verdict: Verdict) -> None:
        if verdict.why == "by id":
            self._at.corrections.append(verdict)
        else:
            self._at.not_there.append(verdict.call)

    def _verdict(self, call: Call) -> Verdict | None:
        """What the bill says of a call by itself; None when it does not."""
        line = call.line
        if line is None:
            return Verdict(call, False, 0, None, None, "not on the bill") if self._itemised else None
        if not line.billed:
            return Verdict(call, False, 0, None, None, "by id")
        cost = self._cost(line, call)
        price = None if line.cost_nanousd is not None else self._price(line, call)
        return None if cost is None else Verdict(call, True, cost, line.usage, price, "by id")

    def _by_sums(self, group: Group, key: tuple[str, str], calls: list[Call]) -> None:
        """Settle calls in doubt by what a day's sum of a model leaves for them, where that is clear."""
        certain = group.cost_nanousd - sum(call.counts.cost_nanousd for call in calls)
        left = None if group.bill_nanousd is None or key not in self._in_sums else group.bill_nanousd - certain
        if left == 0:
            why: Literal["what the sums leave"] = "what the sums leave"
            self._at.verdicts += [Verdict(call, False, 0, None, None, why) for call in calls]
        elif left is not None and len(calls) == 1 and 0 < left <= calls[0].most_nanousd and not group.unpriced_calls:
            self._at.verdicts.append(Verdict(calls[0], True, left, None, None, "what the sums leave"))
        else:
            self._at.undecided += calls

    def _cost(self, line: BillLine, alike: Call | None) -> int | None:
        if not line.billed:
            return 0
        if line.cost_nanousd is not None:
            return line.cost_nanousd
        return self._prices.cost(self._price(line, alike), line.usage) if alike else None

    def _price(self, line: BillLine, alike: Call | None) -> str | None:
        price = alike.entry.price if alike else None
        return self._prices.for_usage(price, line.usage) if line.itemised else price


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def tokens_of(usage: Usage | None) -> list[int | str]:
    """Tokens by bucket, in their order; "" for unknown."""
    return ["" if usage is None or (n := getattr(usage, bucket)) is None else n for bucket in BUCKETS]
