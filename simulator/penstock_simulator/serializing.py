"""Documents to bytes, in JSON or in what a faulty provider takes for it."""

from __future__ import annotations

import json
from typing import Any

import orjson

from penstock_simulator.delivery import Framing, Packet
from penstock_simulator.faults.kinds import Documents

dumps = orjson.dumps


def packet(documents: Documents, headers: dict[str, str], keep_alive: bool, latency_s: float) -> Packet:
    """An honest 200 with *documents* as its body or its events."""
    dump = odd_dumps if documents.odd_numbers else dumps
    if not documents.streamed:
        return Packet(200, headers, [dump(documents.items[0])], False, keep_alive, latency_s)
    framing = documents.framing
    headers["content-type"] = framing.content_type
    headers["cache-control"] = "no-cache"
    frames = framed(framing, documents.items, dump)
    if documents.closing:
        frames.append(documents.closing)
    return Packet(200, headers, frames, True, keep_alive, latency_s, framing=framing)


def framed(framing: Framing, items: list[Any], dump: Any = dumps) -> list[bytes]:
    """Each of *items* as it stands in a stream."""
    return [
        framing.frame(dump(item), str(item.get("type", "message")), first=index == 0)
        for index, item in enumerate(items)
    ]


def odd_dumps(value: Any) -> bytes:
    """*value* as compact JSON, with NaN and infinity as the words that Python's encoder uses."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
