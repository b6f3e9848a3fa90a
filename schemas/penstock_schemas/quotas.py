"""Quotas: how much a tenant or a user may enqueue, and how they are written in Redis.

They stand in one hash (``keys.QUOTAS``), which the script that accepts jobs reads itself: one that is changed holds
from the next job on, for all producers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import orjson

from penstock_schemas.limits import NAME_PATTERN, USER_PATTERN

SCOPES: Final = "tenant:NAME, tenant:*, user:TENANT/ID, user:TENANT/* or user:*"

_SCOPE = re.compile(rf"tenant:(\*|{NAME_PATTERN})|user:(\*|{NAME_PATTERN}/(\*|{USER_PATTERN}))")


def is_quota_scope(text: str) -> bool:
    """Whether it names what a quota can be for; see ``SCOPES``."""
    return _SCOPE.fullmatch(text) is not None


def scopes_of(tenant: str, user: str | None) -> tuple[tuple[str, ...], ...]:
    """Where the quotas stand that apply: of each group the first that there is."""
    of_tenant = (f"tenant:{tenant}", "tenant:*")
    return (of_tenant, (f"user:{tenant}/{user}", f"user:{tenant}/*", "user:*")) if user else (of_tenant,)


@dataclass(frozen=True, slots=True)
class Quota:
    """What one scope may enqueue; None: no bound of that kind."""

    requests_per_min: int | None = None
    """Jobs: so many at once, and then as many a minute."""
    tokens_per_min: int | None = None
    """Tokens, as far as they can be told before: a quarter of a request's bytes, and its ``max_output_tokens``."""
    request_bytes: int | None = None
    """Bytes of one request as canonical JSON."""
    max_output_tokens: int | None = None
    """The cap of one answer: a job may not ask for more, and is given no more."""

    def to_json(self) -> bytes:
        """As Redis keeps it: what is bounded, by its name."""
        bounded = {name: getattr(self, name) for name in self.__slots__ if getattr(self, name) is not None}
        return orjson.dumps(bounded, option=orjson.OPT_SORT_KEYS)
