"""An error from a whole response that is none: its body by the family, its headers by common rules."""

from collections.abc import Mapping
from datetime import datetime

from penstock_worker.llm.errors import CallError, QuotaExhaustedError, ThrottledError
from penstock_worker.llm.family import Family
from penstock_worker.llm.rate_limits import rate_limits
from penstock_worker.llm.retry_after import retry_after_s, should_retry


def refusal(family: Family, status: int, headers: Mapping[str, str], body: bytes, now: datetime) -> CallError:
    """Make the error for a status other than 200. The names in *headers* are lower case, *now* is aware.

    The wait is that of the headers, else the one the family found in the body. ``x-should-retry`` beats the
    table. A 402 that says when to come back (OpenRouter) is a throttle: waiting does help.
    """
    error = family.read_error(status, body)
    wait_s = retry_after_s(headers, now)
    if wait_s is not None and status == 402 and isinstance(error, QuotaExhaustedError):
        error = ThrottledError(detail=error.detail)
    error.status = status
    error.retry_after_s = error.retry_after_s if wait_s is None else wait_s
    error.limits = rate_limits(headers, now)
    wish = should_retry(headers)
    if wish is not None:
        error.retry = wish
    return error
