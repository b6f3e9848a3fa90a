"""How long to wait before the next attempt."""

from __future__ import annotations

BASE_S = 1.0
CAP_S = 60.0
LONG_CAP_S = 600.0
"""Of a job that is turned away unread: it may wait for as long as it takes, and is to make few calls meanwhile."""


def backoff_s(attempt: int, luck: float, *, base_s: float = BASE_S, cap_s: float = CAP_S) -> float:
    """Full jitter: a random part, *luck* in [0, 1), of ``min(cap, base * 2 ** (attempt - 1))``, in seconds.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    return luck * min(cap_s, base_s * 2.0 ** min(attempt - 1, 30))
