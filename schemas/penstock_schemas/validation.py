"""What pydantic found wrong, as an error of ours: one field, one reason, none of the input."""

from __future__ import annotations

from pydantic import ValidationError

from penstock_schemas.errors import InvalidRequestError


def first_fault(error: ValidationError) -> tuple[str, str]:
    """Path and reason of the first fault; the path is empty when it is the whole."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return path, "no such field"
    return path, first["msg"].removeprefix("Value error, ")


def invalid_request(error: ValidationError, *, prefix: str = "") -> InvalidRequestError:
    """The first fault as an InvalidRequestError; *prefix* begins the field's path."""
    path, reason = first_fault(error)
    return InvalidRequestError(reason, field=".".join(filter(None, (prefix, path))) or None)
