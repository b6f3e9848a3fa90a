"""The errors: one tree, drawn as it is, each with a stable code, each public."""

import inspect
import json
import re

import penstock
from penstock_schemas import errors
from penstock_schemas.errors import PenstockError

CLASSES = {
    name: kind
    for name, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, PenstockError) and not name.startswith("_")
}


def drawn() -> list[tuple[int, str]]:
    """Depth and name of each class in the tree that the module opens with."""
    lines = re.findall(r"^    ([ │├└─]*)(\w+Error)\b", errors.__doc__ or "", re.MULTILINE)
    return [(len(branch) // 4, name) for branch, name in lines]


def test_the_tree_is_drawn_as_it_is() -> None:
    """Every class, below its base."""
    above: list[str] = []
    seen = set()
    for depth, name in drawn():
        above[depth:] = [name]
        seen.add(name)
        ancestors = [base.__name__ for base in CLASSES[name].__mro__[1:] if base.__name__ in CLASSES]
        assert ancestors == list(reversed(above[:depth])), name
    assert seen == set(CLASSES)


def test_every_error_is_public() -> None:
    """What may be raised may be caught by its name."""
    assert set(CLASSES) <= set(penstock.__all__)


def test_codes_are_stable() -> None:
    """They are an interface: logs, other languages and dashboards know them."""
    assert {name: (kind.code, kind.retriable) for name, kind in CLASSES.items()} == {
        "PenstockError": ("error", False),
        "RequestError": ("invalid_request", False),
        "InvalidRequestError": ("invalid_request", False),
        "PayloadTooLargeError": ("payload_too_large", False),
        "TooDeepError": ("too_deep", False),
        "SchemaRejectedError": ("schema_rejected", False),
        "UnknownTaskError": ("unknown_task", False),
        "IdempotencyConflictError": ("idempotency_conflict", False),
        "QueueFullError": ("queue_full", True),
        "RateLimitedError": ("rate_limited", True),
        "BudgetExceededError": ("budget_exceeded", True),
        "UnavailableError": ("unavailable", True),
        "JobError": ("error", False),
        "JobNotFoundError": ("not_found", False),
        "JobDeadError": ("dead", False),
        "JobCancelledError": ("cancelled", False),
        "JobExpiredError": ("expired", False),
        "ResultTimeoutError": ("result_timeout", True),
        "OutputMismatchError": ("output_mismatch", False),
        "ReplayRefusedError": ("replay_refused", False),
        "EventsLostError": ("events_lost", False),
        "DurabilityError": ("durability_not_reached", True),
        "CorruptRecordError": ("corrupt_record", False),
        "ConfigurationError": ("configuration", False),
    }


def test_an_error_as_json_has_its_fields() -> None:
    """Those of its class, without what is unknown."""
    error = errors.IdempotencyConflictError("a" * 32)
    plain = json.loads(json.dumps(error.as_dict()))
    assert plain == {
        "code": "idempotency_conflict",
        "message": str(error),
        "retriable": False,
        "field": "idempotency_key",
        "job_id": "a" * 32,
    }
    assert "retry_after_s" not in errors.QueueFullError("full").as_dict()
