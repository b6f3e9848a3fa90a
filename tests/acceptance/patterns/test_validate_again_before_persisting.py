"""Validate again before persisting: what a provider promised to keep to, and did not, is caught here."""

from typing import Any

from redis.asyncio import Redis

from penstock import Extract, Producer
from penstock_schemas import keys
from penstock_simulator.simulator import Simulator
from tests.acceptance.conftest import StartWorker

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "code": {"type": "string", "pattern": "^[A-Z]{3}-[0-9]{4}$"},
        "kind": {"enum": ["invoice", "letter"]},
        "lines": {"type": "array", "items": {"type": "number", "minimum": 0}, "minItems": 1, "uniqueItems": True},
    },
    "required": ["code", "kind", "lines"],
    "additionalProperties": False,
}
GOOD = {"code": "ABC-1234", "kind": "invoice", "lines": [1.5]}
BROKEN = {
    "promised: a member more": {**GOOD, "note": "x"},
    "promised: a member less": {"code": "ABC-1234", "kind": "invoice"},
    "promised: of the set": {**GOOD, "kind": "poem"},
    "promised: a type": {**GOOD, "lines": "1.5"},
    "not told to it: a pattern": {**GOOD, "code": "abc-1234"},
    "not told to it: a bound": {**GOOD, "lines": [-1]},
    "not told to it: no two alike": {**GOOD, "lines": [1, 1.0]},
}


async def test_a_broken_promise_is_caught(
    producer: Producer, simulator: Simulator, start_worker: StartWorker, redis: Redis
) -> None:
    """Asked for in the strict mode; the answer is refused and asked for again, and what is kept is the good one."""
    broken = [
        {"match": {"contains": f"A {promise}."}, "answer": answer, "times": 1} for promise, answer in BROKEN.items()
    ]
    simulator.script([*broken, {"answer": GOOD}])
    start_worker()
    for promise in BROKEN:
        result = await producer.run(Extract(text=f"A {promise}.", schema=SCHEMA), timeout_s=30)
        assert (result.output, result.quality, result.calls, result.attempts) == (GOOD, "ok", 2, 1), promise
    purposes = [row[b"purpose"] for _, row in await redis.xrange(keys.LEDGER)]
    assert purposes == [b"ask", b"reask"] * len(BROKEN)
