"""Exit codes, and which error ends in which."""

from __future__ import annotations

from penstock_schemas.errors import (
    BudgetExceededError,
    ConfigurationError,
    IdempotencyConflictError,
    PenstockError,
    QueueFullError,
    RateLimitedError,
    ReplayRefusedError,
    RequestError,
    UnavailableError,
)

DONE = 0
SOME_FAILED = 1
USAGE = 2
CONFIGURATION = 3
UNREACHABLE = 4
REFUSED = 5
INTERRUPTED = 130

MEANINGS = {
    DONE: "done; also when a filter matched nothing",
    SOME_FAILED: "some items failed: a job is dead, cancelled, not found, or not finished in time",
    USAGE: "wrong usage, or a request that can never be accepted; nothing was written",
    CONFIGURATION: "wrong or unsafe configuration; the message names the key",
    UNREACHABLE: "Redis is unreachable or refuses to work; the same command may succeed later",
    REFUSED: "refused: a conflict, a full queue, a job in another state, or something not confirmed with --yes",
    INTERRUPTED: "interrupted with Ctrl-C",
}

_CODES: tuple[tuple[tuple[type[PenstockError], ...], int], ...] = (
    ((IdempotencyConflictError, QueueFullError, RateLimitedError, BudgetExceededError, ReplayRefusedError), REFUSED),
    ((RequestError,), USAGE),
    ((ConfigurationError,), CONFIGURATION),
    ((UnavailableError,), UNREACHABLE),
)


def exit_code(error: PenstockError) -> int:
    """The exit code that *error* ends in; what is told of a single job is an item that failed."""
    return next((code for kinds, code in _CODES if isinstance(error, kinds)), SOME_FAILED)
