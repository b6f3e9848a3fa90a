"""Rewinding a database, as a fail-over to a replica that lagged does: what came after the snapshot has not been."""

from dataclasses import dataclass
from typing import Any, cast

import redis


@dataclass(frozen=True)
class Snapshot:
    """All keys of a database, each with its value as Redis dumps it and its time to live in ms, 0 for ever."""

    keys: dict[bytes, tuple[bytes, int]]


def snapshot(client: redis.Redis) -> Snapshot:
    """The database as it is. *client* must not decode its answers."""
    names = list(client.scan_iter(count=1_000))
    with client.pipeline(transaction=True) as pipe:
        for name in names:
            pipe.dump(name)
            pipe.pttl(name)
        found: list[Any] = pipe.execute()
    pairs = zip(found[::2], found[1::2], strict=True)
    return Snapshot({name: (dump, max(0, ttl)) for name, (dump, ttl) in zip(names, pairs, strict=True) if dump})


def rewind(client: redis.Redis, to: Snapshot) -> None:
    """Make the database what it was, in one transaction; times to live start anew."""
    with client.pipeline(transaction=True) as pipe:
        pipe.flushdb()
        for name, (dump, ttl_ms) in to.keys.items():
            pipe.restore(cast("str", name), ttl_ms, dump)
        pipe.execute()
