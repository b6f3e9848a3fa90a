"""Read an answer in full: JSON, repair, schema, and why not. Runs in the sandbox: nothing here is bounded."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import orjson

from penstock_worker.attempt.reading.answers import Invalid, Reading, Valid, invalid
from penstock_worker.attempt.reading.explain import Explainer
from penstock_worker.attempt.reading.extract_json import Found, Missing, find_json, without_absent
from penstock_worker.attempt.reading.repair import repair
from penstock_worker.attempt.reading.validator import compiled, without_identity
from penstock_worker.attempt.reading.wire import Rules


def judge(text: str, schema: dict[str, Any], rules: Rules) -> Reading:
    """What *text* is worth as an answer to *schema*, which has passed the gate."""
    found = find_json(text, max_bytes=rules.max_bytes, max_depth=rules.max_depth, prose=rules.prose)
    found = without_absent(found, schema)
    fast, explainer = _judges(orjson.dumps(schema, option=orjson.OPT_SORT_KEYS))
    if isinstance(found, Missing):
        return _repaired(found, fast, rules) or invalid(found.reason, found.hint)
    if fast.is_valid(found.value):
        return Valid(found.value, found.steps)
    return _explained(found, explainer)


@lru_cache(maxsize=32)
def _judges(spelled: bytes) -> tuple[Any, Explainer]:
    schema = without_identity(orjson.loads(spelled))
    return compiled(schema), Explainer(schema)


def _repaired(missing: Missing, fast: Any, rules: Rules) -> Valid | None:
    if missing.broken is None or not rules.repair:
        return None
    repaired = repair(missing.broken, max_depth=rules.max_depth)
    if repaired is None or not fast.is_valid(repaired[0]):
        return None
    return Valid(repaired[0], (*missing.steps, *repaired[1]))


def _explained(found: Found, explainer: Explainer) -> Invalid:
    violations = explainer.violations(found.value)
    lines = [f"{one.path or 'the answer'} {one.hint}" for one in violations]
    return invalid("schema", f"The JSON does not fit its schema: {'; '.join(lines)}.", violations)
