"""Read what a model wrote, without ever holding up the event loop for long.

1. The text is found to be one JSON value, strictly, or not.
2. The fast validator says yes: that is the ordinary case, done in place, when the work is bounded.
3. Everything else goes to a child process that may be killed: large texts, costly schemas, the explanation
   of every no, and every repair.

It fails closed: what could not be judged is not an answer.
"""

from __future__ import annotations

from typing import Any, Final

from penstock_worker.attempt.reading.answers import Invalid, Reading, Valid, invalid
from penstock_worker.attempt.reading.extract_json import Found, Missing, find_json, without_absent
from penstock_worker.attempt.reading.sandbox import Sandbox, SandboxDiedError, SandboxTimeoutError
from penstock_worker.attempt.reading.validator import Validators
from penstock_worker.attempt.reading.wire import Rules, answered, request

MAX_BYTES: Final = 2**20
INLINE_BYTES: Final = 128 * 1024
"""Longer texts are parsed in the sandbox."""
INLINE_UNITS: Final = 50_000_000
"""Work, in about nanoseconds, that is done in place; beyond it the sandbox is asked."""


class Reader:
    """Reads answers; one for a worker. Close it when done."""

    def __init__(
        self,
        *,
        max_bytes: int = MAX_BYTES,
        max_depth: int = 32,
        prose: bool = False,
        repair: bool = True,
        sandbox: Sandbox | None = None,
    ) -> None:
        """*max_bytes* and *max_depth* bound an answer; the rest is as in ``Rules``."""
        self._rules = Rules(max_bytes=max_bytes, max_depth=max_depth, prose=prose, repair=repair)
        self._validators = Validators(max_depth=max_depth)
        self._sandbox = sandbox or Sandbox()

    async def read(self, text: str, schema: dict[str, Any], *, cut_off: bool = False) -> Reading:
        """The value of *text* as an answer to *schema*, or why there is none.

        *cut_off* says that the model was stopped before it was done: such a text is never an answer, however
        complete it looks. Raises SchemaRejectedError for a schema that the gate refuses.
        """
        if cut_off:
            return invalid("cut_off", "The answer was cut off at its length limit. Answer shorter.")
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            return invalid("not_strict", "The answer held half of a surrogate pair.")
        if size > self._rules.max_bytes:
            return invalid("too_large", f"The answer was larger than {self._rules.max_bytes} bytes. Answer shorter.")
        validator = self._validators.get(schema)
        if size > INLINE_BYTES or size * validator.units_per_byte > INLINE_UNITS:
            return await self._read_in_sandbox(text, schema, None)
        found = self._found(text, schema)
        if isinstance(found, Found) and validator.is_valid(found.value):
            return Valid(found.value, found.steps)
        if isinstance(found, Missing) and (found.broken is None or not self._rules.repair):
            return invalid(found.reason, found.hint)
        return await self._read_in_sandbox(text, schema, found)

    async def aclose(self) -> None:
        """Stop the children. A second call does nothing."""
        await self._sandbox.aclose()

    def _found(self, text: str, schema: dict[str, Any]) -> Found | Missing:
        rules = self._rules
        found = find_json(text, max_bytes=rules.max_bytes, max_depth=rules.max_depth, prose=rules.prose)
        return without_absent(found, schema)

    async def _read_in_sandbox(self, text: str, schema: dict[str, Any], found: Found | Missing | None) -> Reading:
        try:
            return answered(await self._sandbox.call(request(text, schema, self._rules)))
        except SandboxTimeoutError:
            return _given_up(found, "timeout")
        except SandboxDiedError:
            return _given_up(found, "crashed")


def _given_up(found: Found | Missing | None, reason: Any) -> Invalid:
    """What is known without the child that died over it."""
    if isinstance(found, Missing):
        return invalid(found.reason, found.hint)
    if isinstance(found, Found):
        return invalid("schema", "The JSON does not fit its schema.")
    return invalid(reason, "")
