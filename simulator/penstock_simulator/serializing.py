"""Documents to bytes, in JSON or in what a faulty provider takes for it."""

from __future__ import annotations

import json
import math
from typing import Any

import orjson

from penstock_simulator.delivery import Packet
from penstock_simulator.faults.kinds import Documents
from penstock_simulator.wire import Wire


def dumps(value: Any) -> bytes:
    """*value* as compact JSON; NaN and infinity as the words that Python's encoder uses."""
    if _is_odd(value):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    return orjson.dumps(value)


def packet(wire: Wire, documents: Documents, headers: dict[str, str], keep_alive: bool, latency_s: float) -> Packet:
    """An honest 200 with *documents* as its body or its events."""
    if not documents.streamed:
        return Packet(200, headers, [dumps(documents.items[0])], False, keep_alive, latency_s)
    headers["content-type"] = wire.stream_content_type
    headers["cache-control"] = "no-cache"
    frames = [wire.frame(dumps(item), item) for item in documents.items]
    if documents.terminal_frame:
        frames.append(documents.terminal_frame)
    return Packet(200, headers, frames, True, keep_alive, latency_s)


def _is_odd(value: Any) -> bool:
    """Whether *value* holds a number that JSON does not have; usage is the only place it may come in."""
    usage = value.get("usage") if isinstance(value, dict) else None
    return isinstance(usage, dict) and any(_is_odd_number(item) for item in usage.values())


def _is_odd_number(item: Any) -> bool:
    return isinstance(item, float) and not math.isfinite(item)
