"""The limits that a request is checked against before anything is written.

Each may be lowered or raised by configuration, up to the hard ceiling in its annotation.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

KIB = 1024
MIB = 1024 * KIB

NAME_PATTERN = r"[A-Za-z0-9_-]{1,64}"
"""What a tenant, a lane or a job id may look like: such parts stand in Redis key names."""

USER_PATTERN = r"[A-Za-z0-9_.@+|=-]{1,128}"
"""What a user may look like: an address, a number, a UUID, or an id such as ``auth0|5f7c``. No colon and no slash,
which stand between the parts of a key's name."""

TASK_PATTERN = r"[a-z][a-z0-9_]{0,63}"

MAX_PRIORITY = 9
DEFAULT_PRIORITY = 4
MAX_ATTEMPTS = 20
MAX_DEADLINE_S = 30 * 86_400
MAX_DELAY_S = 30 * 86_400
MAX_OUTPUT_TOKENS = 200_000
MAX_TOTAL_TOKENS = 2**40


class Limits(BaseModel):
    """Bounds of one request; sizes are of its UTF-8 bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text_bytes: int = Field(default=256 * KIB, ge=1, le=16 * MIB)
    """The ``text`` of a task's input."""
    request_bytes: int = Field(default=MIB, ge=1, le=32 * MIB)
    """The whole request as canonical JSON."""
    schema_bytes: int = Field(default=64 * KIB, ge=1, le=64 * KIB)
    """A JSON Schema."""
    depth: int = Field(default=32, ge=1, le=64)
    """Nesting of any JSON value."""
    queued_jobs: int = Field(default=1_000_000, ge=1)
    """Jobs that are not terminal, over all tenants; beyond it enqueue answers ``queue_full``."""
    memory_ratio: float = Field(default=0.8, gt=0, le=1)
    """The part of Redis' ``maxmemory`` from which on enqueue answers ``queue_full``; what is above it is for the
    workers, who need it to finish what was accepted. Without a ``maxmemory`` there is no such bound."""
