"""Names that become part of a Redis key."""

from __future__ import annotations

import re

from penstock_schemas.errors import InvalidRequestError
from penstock_schemas.limits import NAME_PATTERN

_NAME = re.compile(NAME_PATTERN)


def check_name(name: str, field: str) -> None:
    """Raise InvalidRequestError unless *name* is 1 to 64 of A-Z, a-z, 0-9, ``_`` and ``-``."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidRequestError("must be 1 to 64 of A-Z, a-z, 0-9, _ and -", field=field)
