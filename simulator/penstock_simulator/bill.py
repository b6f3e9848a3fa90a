"""The provider's own bill: an append-only file that says what was called, generated and charged.

1. Each line is one JSON object with an `id` and some fields of that call; a later line of the same id adds
   to the earlier ones or replaces them. A call answered at once is one line; a call that takes time is a
   line when it starts, one when its generation is charged, one when it is over.
2. A line is one `write(2)` on a descriptor opened for appending. What was written survives a SIGKILL of
   the process; there is no fsync, so a power cut may take the last lines.
3. A charge is written before the first byte that follows it is sent: a client never knows of a call that
   the bill does not.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import orjson

from penstock_simulator.ask import Usage

KEPT_CALLS = 100_000
"""How many of the latest calls stay in memory; the file has all of them."""


@dataclass(slots=True)
class BilledCall:
    """One request for a generation, as the provider saw it."""

    id: str
    """The provider's request id, also sent in the header that its wire format has for that."""
    number: int
    """1 for the first call of this bill; never used twice in one bill, not after a restart or a reset."""
    wire: str
    model: str
    started_at_ms: int
    caller_id: str | None = None
    """The caller's own id, from `x-client-request-id` or `x-penstock-call-id`; None when none came."""
    response_id: str | None = None
    """The id inside the answer's document; None when no answer was made."""
    stream: bool = False
    uncached_input_tokens: int = 0
    cached_input_tokens: int = 0
    visible_output_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    billed: bool = False
    """Whether the tokens are charged; true numbers, whatever a faulty usage told the client."""
    status: int | None = None
    """The HTTP status that was sent; None while nothing was sent."""
    fault: str | None = None
    """The faults that were played, as `name+name`; None for an honest answer."""
    outcome: str = "open"
    """`open`, `sent`, `cut` (by a fault) or `client_left`."""
    sent_bytes: int = 0
    ended_at_ms: int | None = None

    @property
    def input_tokens(self) -> int:
        """All of the prompt, cached or not."""
        written = self.cache_write_tokens + self.cache_write_1h_tokens
        return self.uncached_input_tokens + self.cached_input_tokens + written

    @property
    def output_tokens(self) -> int:
        """All that was generated, visible or not."""
        return self.visible_output_tokens + self.reasoning_tokens

    def charge(self, usage: Usage) -> None:
        """Take over *usage* as what this call is charged for."""
        self.uncached_input_tokens = usage.uncached_input_tokens
        self.cached_input_tokens = usage.cached_input_tokens
        self.visible_output_tokens = usage.visible_output_tokens
        self.reasoning_tokens = usage.reasoning_tokens
        self.cache_write_tokens = usage.cache_write_tokens
        self.cache_write_1h_tokens = usage.cache_write_1h_tokens


_FIELDS = frozenset(field.name for field in fields(BilledCall))


class Bill:
    """The calls of one simulator: the latest in memory, all of them in a file when there is one."""

    def __init__(self, path: Path | None = None, kept: int = KEPT_CALLS) -> None:
        """Open *path* for appending, making it if need be; OSError when that fails."""
        self.path = path
        self.last_number = 0
        """The highest call number so far; a bill that is continued goes on from there."""
        self._kept: deque[BilledCall] = deque(maxlen=kept)
        self._descriptor: int | None = None
        if path is not None:
            if path.exists():
                self.last_number = max((call.number for call in read_bill(path)), default=0)
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def add(self, call: BilledCall) -> None:
        """Keep *call*; nothing is written until `write`."""
        self.last_number = call.number
        self._kept.append(call)

    def write(self, call: BilledCall) -> None:
        """Append *call* as it is now; a repeat appends a line that changes nothing."""
        if self._descriptor is not None:
            os.write(self._descriptor, orjson.dumps(call, option=orjson.OPT_APPEND_NEWLINE))

    def calls(self) -> list[BilledCall]:
        """The calls in memory, oldest first."""
        return list(self._kept)

    def clear(self) -> None:
        """Forget the calls in memory; the file is append-only and stays as it is."""
        self._kept.clear()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def read_bill(path: str | Path) -> list[BilledCall]:
    """All calls of the bill at *path*, in the order they began.

    A last line that a crash cut short is left out; a damaged line before it raises ValueError. Fields that
    a newer simulator may have added are ignored.
    """
    rows: dict[str, dict[str, Any]] = {}
    for entry in _entries(Path(path).read_bytes()):
        rows.setdefault(entry["id"], {}).update(entry)
    return [BilledCall(**{key: value for key, value in row.items() if key in _FIELDS}) for row in rows.values()]


def call_from_json(row: dict[str, Any]) -> BilledCall:
    """A call as the control endpoint tells it; unknown fields are ignored."""
    return BilledCall(**{key: value for key, value in row.items() if key in _FIELDS})


def call_to_json(call: BilledCall) -> dict[str, Any]:
    """The plain object that stands for *call* in the file and at the control endpoint."""
    return asdict(call)


def _entries(data: bytes) -> Iterator[dict[str, Any]]:
    lines = data.split(b"\n")
    whole, rest = lines[:-1], lines[-1]
    for number, line in enumerate(whole, start=1):
        try:
            yield orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise ValueError(f"line {number} of the bill is damaged: {error}") from error
    if rest:
        try:
            yield orjson.loads(rest)
        except orjson.JSONDecodeError:
            return
