"""What a simulator counts: calls and connections, now and at most."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Stats:
    """Counters since the start or the last reset; those that say "open" or "in flight" are of this moment."""

    requests: int = 0
    """Requests for a generation, refused ones included."""
    in_flight: int = 0
    max_in_flight: int = 0
    open_connections: int = 0
    max_connections: int = 0
    connections: int = 0
    """Connections ever accepted."""
    disconnects: int = 0
    """Calls whose client left before the answer was all sent."""
    billed_calls: int = 0
    billed_tokens: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    """Calls by the HTTP status that was sent."""
    faults: Counter[str] = field(default_factory=Counter)
    """Calls by the fault that was played."""

    def connected(self) -> None:
        """A connection was accepted."""
        self.connections += 1
        self.open_connections += 1
        self.max_connections = max(self.max_connections, self.open_connections)

    def began(self) -> None:
        """A call came in."""
        self.requests += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)

    def reset(self) -> None:
        """Set all to zero but what is open now; the highest values begin at what is open."""
        fresh = Stats(in_flight=self.in_flight, open_connections=self.open_connections)
        fresh.max_in_flight, fresh.max_connections = fresh.in_flight, fresh.open_connections
        for name in Stats.__slots__:
            setattr(self, name, getattr(fresh, name))

    def as_json(self) -> dict[str, Any]:
        """Plain values; the keys of `statuses` become text."""
        plain = asdict(self)
        plain["statuses"] = {str(status): count for status, count in sorted(self.statuses.items())}
        plain["faults"] = dict(self.faults)
        return plain


def stats_from_json(plain: dict[str, Any]) -> Stats:
    """The stats that `Stats.as_json` wrote."""
    statuses = Counter({int(status): count for status, count in plain["statuses"].items()})
    return Stats(**{**plain, "statuses": statuses, "faults": Counter(plain["faults"])})
