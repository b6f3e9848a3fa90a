"""From what a caller asks to a request that is known to be good, before anything is written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from penstock_schemas.errors import (
    InvalidRequestError,
    PayloadTooLargeError,
    RequestError,
    SchemaRejectedError,
    TooDeepError,
)
from penstock_schemas.jobs import ALWAYS_WRITTEN, JobRequest
from penstock_schemas.limits import DEFAULT_PRIORITY, Limits
from penstock_schemas.results import nanousd
from penstock_schemas.strict_json import StrictJsonError, canonical, check_depth, check_value, loads_strict
from penstock_schemas.tasks import Extract, TaskInput, task_input
from penstock_schemas.validation import invalid_request

_BY_KIND: dict[str, type[RequestError]] = {"too_large": PayloadTooLargeError, "too_deep": TooDeepError}

_NOT_THE_CALLERS = {"version", "task", "input", "tenant", "max_cost_nanousd"}
_OPTIONS = {"max_cost_usd", *JobRequest.model_fields} - _NOT_THE_CALLERS


@dataclass(frozen=True, slots=True)
class Envelope:
    """The part of a request that does not depend on the task, checked; one serves many requests."""

    lane: str
    priority: int | None
    """None for the default."""
    delay_s: float
    deadline_s: float | None
    user: str | None
    bounds: tuple[int, int]
    """The most that its calls may cost, nano-USD, and the most tokens that they may take; -1 for no bound."""
    max_output_tokens: int | None
    fields: dict[str, Any]
    """As plain JSON, to go beside ``task`` and ``input``."""


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """A request that passed every check, ready to be sent."""

    task: str
    envelope: Envelope
    body: bytes
    """The request as canonical JSON."""

    @property
    def fingerprint(self) -> str:
        """Digest of the body: equal requests have equal ones, whatever the order of their keys."""
        return hashlib.sha256(self.body).hexdigest()


def check_options(tenant: str, options: Mapping[str, Any]) -> Envelope:
    """Check how a job is to be treated. Raises InvalidRequestError naming the option."""
    for name in options.keys() - _OPTIONS:
        raise InvalidRequestError("no such option", field=name)
    given = {name: value for name, value in options.items() if value is not None}
    given["max_cost_nanousd"] = _nanousd(given.pop("max_cost_usd", None))
    with _refusing():
        request = JobRequest.model_validate({**given, "task": "any", "input": {}, "tenant": tenant})
        fields = orjson.loads(canonical(_written(request)))
    if request.deadline_s is not None and request.deadline_s <= request.delay_s:
        raise InvalidRequestError("must be later than delay_s, or it could never be started", field="deadline_s")
    bounds = _or_unbounded(request.max_cost_nanousd), _or_unbounded(request.max_total_tokens)
    return Envelope(
        lane=request.lane.value,
        priority=None if request.priority == DEFAULT_PRIORITY else request.priority,
        delay_s=request.delay_s,
        deadline_s=request.deadline_s,
        user=request.user,
        bounds=bounds,
        max_output_tokens=request.max_output_tokens,
        fields=fields,
    )


def check_request(asked: TaskInput[Any], envelope: Envelope, limits: Limits) -> CheckedRequest:
    """Check *asked* against *limits*, the cheap checks first.

    Raises InvalidRequestError, PayloadTooLargeError, SchemaRejectedError or TooDeepError naming the field.
    """
    task = _task_of(asked)
    _check_sizes(asked, limits)
    with _refusing():
        fields = asked.model_dump(mode="json", warnings="error")
        body = canonical({**envelope.fields, "task": task, "input": fields})
        _check_depth(body, fields, limits.depth)
    if len(body) > limits.request_bytes:
        raise PayloadTooLargeError(f"the request has {len(body)} bytes; at most {limits.request_bytes}")
    return CheckedRequest(task, envelope, body)


def parse_input(task: str, fields: dict[str, Any]) -> TaskInput[Any]:
    """The input of a task from plain JSON.

    Raises UnknownTaskError, or a RequestError that names the field at fault.
    """
    if not isinstance(fields, dict) or not all(isinstance(name, str) for name in fields):
        raise InvalidRequestError("must be an object with text keys", field="input")
    return task_input(task)(**fields)


def read_input(task: str, text: str | bytes, limits: Limits | None = None) -> TaskInput[Any]:
    """The input of a task from a JSON text, read strictly: one meaning or none.

    Raises as :func:`parse_input`; also for what is too large or too deep (decided before it is parsed), for equal
    keys, and for numbers that JSON or 64 bits do not have.
    """
    limits = limits or Limits()
    with _refusing("input"):
        fields = loads_strict(text, max_bytes=limits.request_bytes, max_depth=limits.depth)
    return parse_input(task, fields)  # type: ignore[arg-type]  # it looks for itself


def check_idempotency_key(key: str | None) -> None:
    """Raise InvalidRequestError unless *key* is None or 1 to 255 characters of printable ASCII."""
    if key is None:
        return
    if not isinstance(key, str) or not 1 <= len(key) <= 255 or not (key.isascii() and key.isprintable()):
        raise InvalidRequestError("must be 1 to 255 characters of printable ASCII", field="idempotency_key")


def _written(request: JobRequest) -> dict[str, Any]:
    """The fields that are stored beside ``task`` and ``input``; see ``ALWAYS_WRITTEN``."""
    always = request.model_dump(mode="json", include=set(ALWAYS_WRITTEN) - {"task", "input"})
    return always | request.model_dump(mode="json", exclude=set(ALWAYS_WRITTEN), exclude_defaults=True)


def _or_unbounded(bound: int | None) -> int:
    return -1 if bound is None else bound


def _task_of(asked: object) -> str:
    task = getattr(asked, "task", None)
    if not isinstance(asked, TaskInput) or not isinstance(task, str):
        raise InvalidRequestError("must be a task's input, such as Summarize(text=...)", field="task")
    return task


def _check_sizes(asked: TaskInput[Any], limits: Limits) -> None:
    """The sizes that can be told without serializing."""
    for name, value in vars(asked).items():
        if isinstance(value, str):
            most = limits.text_bytes if name == "text" else limits.request_bytes
            if len(value) * 4 > most and (size := len(value.encode("utf-8", "surrogatepass"))) > most:
                raise PayloadTooLargeError(f"has {size} bytes; at most {most}", field=f"input.{name}")
    if isinstance(asked, Extract) and limits.schema_bytes < Limits().schema_bytes:
        size = len(orjson.dumps(asked.json_schema))
        if size > limits.schema_bytes:
            raise SchemaRejectedError(f"has {size} bytes; at most {limits.schema_bytes}", field="schema")


def _check_depth(body: bytes, fields: dict[str, Any], max_depth: int) -> None:
    """A look at the bytes; only when it finds something, a walk that finds the place."""
    try:
        check_depth(body, max_depth=max_depth + 1)
    except StrictJsonError:
        check_value(fields, max_depth=max_depth, field="input")
        raise


@contextmanager
def _refusing(field: str | None = None) -> Iterator[None]:
    """Turn what the checks below raise into refusals of ours; *field* is named where they name none."""
    try:
        yield
    except StrictJsonError as error:
        raise _BY_KIND.get(error.kind, InvalidRequestError)(error.message, field=error.path or field) from None
    except ValidationError as error:
        raise invalid_request(error) from None
    except (PydanticSerializationError, UnicodeError):
        raise InvalidRequestError("holds a value that is not JSON", field="input") from None
    except ValueError as error:  # pydantic's own bound on depth, and on what holds itself, has no class of its own
        if "depth" not in str(error) and "Circular" not in str(error):
            raise
        raise TooDeepError("nested deeper than can be serialized", field="input") from None


def _nanousd(amount_usd: str | Decimal | None) -> int | None:
    if amount_usd is None:
        return None
    try:
        amount = nanousd(amount_usd)
    except ValueError as error:
        raise InvalidRequestError(f"give USD as a string such as '0.02' ({error})", field="max_cost_usd") from None
    if amount < 0:
        raise InvalidRequestError("must not be negative", field="max_cost_usd")
    return amount
