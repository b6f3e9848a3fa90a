"""Reading answers: what each kind costs, and how long the event loop stands still at worst."""

import asyncio
import contextlib
import json
import time
from typing import Any

from bench.support import Bench, latency_columns
from penstock_worker.attempt.reading import Reader
from penstock_worker.attempt.reading.cost import units_per_byte
from penstock_worker.attempt.reading.reader import INLINE_BYTES, INLINE_UNITS

ORDINARY: dict[str, Any] = {
    "type": "object",
    "properties": {f"field_{n}": {"type": "string"} for n in range(20)},
    "additionalProperties": False,
}
ANSWER = json.dumps({f"field_{n}": "x" * 90 for n in range(20)})


def _filled(schema: dict[str, Any], item: str) -> tuple[dict[str, Any], str]:
    """The longest array of *item* that is still read in place."""
    size = min(INLINE_BYTES, INLINE_UNITS // units_per_byte(schema, max_depth=32)) - 10
    return schema, f"[{','.join([item] * max(1, size // (len(item) + 1)))}]"


WIDE: dict[str, Any] = {
    "type": "object",
    "properties": {f"field_{n}": {"type": "string"} if n % 2 else {"type": ["number", "null"]} for n in range(200)},
    "required": [f"field_{n}" for n in range(200)],
    "additionalProperties": False,
}


def _wide(chars: int) -> str:
    """An object with the 200 properties, of about so many characters."""
    return json.dumps({f"field_{n}": "x" * chars if n % 2 else n * 1.5 for n in range(200)})


def _rows(kib: int) -> tuple[dict[str, Any], str]:
    """So many KiB of such objects in a list."""
    row = _wide(40)
    return {"type": "array", "items": WIDE}, f"[{','.join([row] * (kib * 1024 // len(row)))}]"


CASES: dict[str, tuple[dict[str, Any], str]] = {
    "yes, 2 kB": (ORDINARY, ANSWER),
    "no, explained, 2 kB": (ORDINARY, ANSWER[:-1] + ', "more": 1}'),
    "repaired, 2 kB": (ORDINARY, ANSWER[:-1] + ",}"),
    "1 MiB in 200 properties": (WIDE, _wide(10_400)),
    "256 KiB of rows of 200 properties": _rows(256),
    "512 KiB of rows of 200 properties": _rows(512),
    "1 MiB of rows of 200 properties": _rows(1024),
    "128 kB of brackets": ({"type": "array"}, f"[{'[],' * 43_000}1]"),
    "equal keys at the end": ({"type": "array"}, "[" + '{"a":1,"b":2},' * 9_000 + '{"a":1,"a":2}]'),
    "fractions, const": _filled({"items": {"not": {"const": 5e-324}}}, "1e308"),
    "fractions, multipleOf": _filled({"items": {"multipleOf": 0.01}}, "1e300"),
    "fractions, minimum": _filled({"items": {"minimum": 0.5}}, "1e308"),
    "enum of 1,000 objects": _filled({"items": {"enum": [{"a": str(n)} for n in range(1_000)]}}, '{"a":"999"}'),
    "allOf of 1,000": _filled({"items": {"allOf": [{"type": "string"}] * 1_000}}, '"a"'),
    "large automaton": _filled({"items": {"not": {"pattern": "a[ab]{800}c"}}}, '"' + "ab" * 500 + '"'),
}


class _Stall:
    """The longest time between two turns of the event loop."""

    longest_s = 0.0

    async def watch(self) -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            self.longest_s, last = max(self.longest_s, now - last), now


async def _measure(schema: dict[str, Any], text: str, rounds: int) -> dict[str, object]:
    reader, stall = Reader(), _Stall()
    await reader.read("{}", {"required": ["a"]})  # starts a child
    await reader.read(text, schema)  # compiles the schema
    watching = asyncio.create_task(stall.watch())
    latencies_s = []
    for _ in range(rounds):
        await asyncio.sleep(0)
        before = time.perf_counter()
        await reader.read(text, schema)
        latencies_s.append(time.perf_counter() - before)
    await asyncio.sleep(0)
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    await reader.aclose()
    return {**latency_columns(latencies_s), "longest_stall_ms": stall.longest_s * 1e3}


def main(argv: list[str]) -> int:
    with Bench.start(__doc__, argv, rounds=50) as bench:
        bench.report(
            {"answer": name, "bytes": len(text), **asyncio.run(_measure(schema, text, bench.rounds))}
            for name, (schema, text) in CASES.items()
        )
    return 0
