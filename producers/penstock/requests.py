"""From what a caller asks to a request that is known to be good, before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from pydantic import ValidationError

from penstock_schemas.errors import (
    InvalidRequestError,
    PayloadTooLargeError,
    RequestError,
    TooDeepError,
)
from penstock_schemas.jobs import JobRequest
from penstock_schemas.limits import Limits
from penstock_schemas.results import nanousd
from penstock_schemas.strict_json import StrictJsonError, canonical, check_value, digest
from penstock_schemas.tasks import TaskInput, task_input
from penstock_schemas.validation import invalid_request

_BY_KIND: dict[str, type[RequestError]] = {"too_large": PayloadTooLargeError, "too_deep": TooDeepError}


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """A request that passed every check, ready to be sent."""

    request: JobRequest
    body: bytes
    """The request as canonical JSON."""
    fingerprint: str
    """Digest of the body: equal requests have equal ones, whatever the order of their keys."""


def check_request(
    asked: TaskInput[Any], *, tenant: str, max_cost_usd: str | Decimal | None, limits: Limits, **options: Any
) -> CheckedRequest:
    """Check *asked* and its options against the contracts and *limits*.

    Raises InvalidRequestError, PayloadTooLargeError or TooDeepError naming the field; nothing was written.
    """
    _check_text(asked, limits)
    fields = asked.model_dump(mode="json")
    try:
        check_value(fields, max_depth=limits.depth, field="input")
        request = JobRequest.model_validate(
            {
                "task": asked.task,
                "input": fields,
                "tenant": tenant,
                "max_cost_nanousd": _nanousd(max_cost_usd),
                **{name: value for name, value in options.items() if value is not None},
            }
        )
        body = canonical(request.model_dump(mode="json"))
    except ValidationError as error:
        raise invalid_request(error) from None
    except StrictJsonError as error:
        raise _BY_KIND.get(error.kind, InvalidRequestError)(error.message, field=error.path or None) from None
    if len(body) > limits.request_bytes:
        raise PayloadTooLargeError(f"the request has {len(body)} bytes; at most {limits.request_bytes}")
    return CheckedRequest(request, body, digest(request.model_dump(mode="json")))


def parse_input(task: str, fields: dict[str, Any]) -> TaskInput[Any]:
    """The input of a task from plain JSON.

    Raises UnknownTaskError, or a RequestError that names the field at fault.
    """
    if not all(isinstance(name, str) for name in fields):
        raise InvalidRequestError("must be an object with text keys", field="input")
    return task_input(task)(**fields)


def check_idempotency_key(key: str | None) -> None:
    """Raise InvalidRequestError unless *key* is None or 1 to 255 characters of printable ASCII."""
    if key is None:
        return
    if not isinstance(key, str) or not 1 <= len(key) <= 255 or not (key.isascii() and key.isprintable()):
        raise InvalidRequestError("must be 1 to 255 characters of printable ASCII", field="idempotency_key")


def _check_text(asked: TaskInput[Any], limits: Limits) -> None:
    """The size of a text, before anything else is done with it."""
    text = getattr(asked, "text", None)
    if isinstance(text, str) and len(text) * 4 > limits.text_bytes:
        size = len(text.encode("utf-8", "surrogatepass"))
        if size > limits.text_bytes:
            raise PayloadTooLargeError(f"has {size} bytes; at most {limits.text_bytes}", field="input.text")


def _nanousd(amount_usd: str | Decimal | None) -> int | None:
    if amount_usd is None:
        return None
    try:
        amount = nanousd(amount_usd)
    except (ValueError, InvalidOperation, TypeError) as error:
        why = str(error) if isinstance(error, ValueError) else "not a number"
        raise InvalidRequestError(f"give USD as a string such as '0.02' ({why})", field="max_cost_usd") from None
    if amount < 0:
        raise InvalidRequestError("must not be negative", field="max_cost_usd")
    return amount
