"""Providers' bills and usage exports, read into lines of one shape.

A bill is CSV with a header, JSON, or JSON Lines. A row of it stands for one call, when it has an id, or for all calls
to a model in a stretch of time. What is understood, by the names of its columns:

=====================  =================================================================================
``call``               Penstock's own id of a call, ``<job>:<call>``, which it sends as
                       ``x-client-request-id``; also ``caller_id``, ``client_request_id``
``request_id``         the provider's id of a call; also ``id``, ``generation_id``
``model``              also ``model_version``, ``line_item``
``time``               ISO 8601, Unix seconds or ms, or a date for a whole day; also ``started_at``, ``timestamp``,
                       ``created_at``, ``start_time``, ``starting_at``, ``usage_date_utc``, ``date``
``end_time``           where a row is for more than one call; also ``ending_at``
``calls``              how many the row is for; also ``num_model_requests``, ``requests``
``input_tokens``       neither read from nor written to a prompt cache; also ``uncached_input_tokens``,
                       ``usage_input_tokens_no_cache``. With cached tokens in it where the row has
                       ``input_cached_tokens`` (OpenAI)
``cache_read_tokens``  also ``cache_read_input_tokens``, ``usage_input_tokens_cache_read``
``cache_write_tokens`` also those of Anthropic for five minutes and for an hour, added
``output_tokens``      also ``usage_output_tokens``, ``completion_tokens``
``reasoning_tokens``   where they are not in the output
``cost_usd``           also ``cost``, ``amount_value``, ``total_cost``; without it the ledger's own prices are used
``billed``             ``false`` for a call that is not charged
=====================  =================================================================================

Pages of the usage and cost endpoints of OpenAI and Anthropic are read as they come: ``data`` with buckets of
``results``. The bill of the simulator is read too.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from penstock_schemas.errors import InvalidRequestError
from penstock_schemas.results import Usage

Raw = Mapping[str, Any]

_NAMES: dict[str, tuple[str, ...]] = {
    "call": ("call", "caller_id", "client_request_id", "x-client-request-id"),
    "request_id": ("request_id", "id", "generation_id"),
    "model": ("model", "model_version", "line_item"),
    "time": (
        *("time", "started_at", "started_at_ms", "timestamp", "created_at"),
        *("start_time_iso", "start_time", "starting_at", "usage_date_utc", "date"),
    ),
    "end": ("end_time_iso", "end_time", "ending_at"),
    "calls": ("calls", "num_model_requests", "requests"),
    "cost": ("cost_usd", "cost", "amount_value", "total_cost"),
    "cache_read_tokens": (
        *("cache_read_tokens", "cache_read_input_tokens", "usage_input_tokens_cache_read"),
        *("cached_input_tokens", "input_cached_tokens", "cached_tokens"),
    ),
    "output_tokens": ("output_tokens", "usage_output_tokens", "completion_tokens", "visible_output_tokens"),
    "reasoning_tokens": ("reasoning_tokens",),
}
_FRESH = ("uncached_input_tokens", "usage_input_tokens_no_cache")
_WHOLE = ("input_tokens", "prompt_tokens")
_INSIDE = ("input_cached_tokens", "cached_tokens")
_WRITES = (
    *("cache_write_tokens", "cache_write_1h_tokens", "input_cache_write_tokens", "cache_creation_input_tokens"),
    *("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"),
    *("usage_input_tokens_cache_write_5m", "usage_input_tokens_cache_write_1h"),
)
_CENTS = "cents"


@dataclass(frozen=True, slots=True)
class BillLine:
    """One call, or all calls to a model in a stretch of time."""

    where: str
    """``line 3``, for who has to look."""
    model: str
    start_ms: int
    end_ms: int
    """The same as the start for one call."""
    call: str | None = None
    """``<job>:<call>``; None when the bill does not tell it."""
    request_id: str | None = None
    calls: int = 1
    """How many it is for; 0 where the bill does not tell."""
    usage: Usage | None = None
    """None when the row has no tokens."""
    cost_nanousd: int | None = None
    """None when the row has no amount."""
    billed: bool = True

    @property
    def itemised(self) -> bool:
        """Whether it is one call that can be found by an id."""
        return self.call is not None or self.request_id is not None


@dataclass(frozen=True, slots=True)
class Bill:
    """A bill's lines, and what it is called in entries of the ledger."""

    name: str
    lines: tuple[BillLine, ...]
    digest: str = field(default="")

    @property
    def label(self) -> str:
        """Its name and digest."""
        return f"{self.name} {self.digest}"


def read_bill(name: str, data: bytes) -> Bill:
    """Read a file's content. Raises InvalidRequestError that names the line and what is wrong with it."""
    lines = tuple(_line(where, raw) for where, raw in _rows(data) if not _is_empty(raw))
    if not lines:
        raise InvalidRequestError("has no rows that this version understands", field="bill")
    return Bill(name, lines, hashlib.sha256(data).hexdigest()[:12])


def _rows(data: bytes) -> Iterator[tuple[str, Raw]]:
    text = _decoded(data)
    if text.lstrip()[:1] in ("{", "["):
        try:
            document = orjson.loads(text)
        except orjson.JSONDecodeError:
            yield from _json_lines(text)
        else:
            yield from _of_document(document)
        return
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    for number, row in enumerate(reader, start=2):
        yield f"line {number}", {(name or "").strip().lower(): value for name, value in row.items()}


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"is not UTF-8 (at byte {error.start})", field="bill") from None


def _json_lines(text: str) -> Iterator[tuple[str, Raw]]:
    """One object a line; later lines of an id add to the earlier ones. A last line that was cut short is left out."""
    lines = text.split("\n")
    found: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            if number == len(lines):
                break
            raise InvalidRequestError(f"line {number} is not JSON", field="bill") from None
        if not isinstance(row, dict):
            raise InvalidRequestError(f"line {number} is not an object", field="bill")
        known = str(row["id"]) if "number" in row and "id" in row else f"line {number}"
        found.setdefault(known, {}).update(row)
    for where, row in found.items():
        yield where, row


def _of_document(document: Any) -> Iterator[tuple[str, Raw]]:
    if isinstance(document, dict) and not isinstance(document.get("data"), list):
        document = [document]
    items = document["data"] if isinstance(document, dict) else document
    for number, item in enumerate(items, start=1):
        if not isinstance(item, dict):
            raise InvalidRequestError(f"item {number} is not an object", field="bill")
        if isinstance(item.get("data"), list):
            yield from _of_document(item)
        elif isinstance(item.get("results"), list):
            for result in item["results"]:
                yield f"bucket {number}", _of_result(item, result)
        else:
            yield f"item {number}", item


def _of_result(bucket: Raw, result: Raw) -> Raw:
    """A result of a usage or cost endpoint, with its bucket's times. Anthropic gives amounts in cents, as strings."""
    row = {**{name: value for name, value in bucket.items() if name != "results"}, **result}
    row |= result.get("cache_creation") or {}
    amount = result.get("amount")
    if isinstance(amount, dict):
        row["cost_usd"] = amount.get("value")
    elif amount is not None:
        row[_CENTS] = amount
    return row


def _is_empty(raw: Raw) -> bool:
    return not any(
        value not in (None, "", 0, "0") for name, value in raw.items() if "tokens" in name or _is_amount(name)
    )


def _is_amount(name: str) -> bool:
    return name in _NAMES["cost"] or name in (_CENTS, *_NAMES["call"], *_NAMES["request_id"])


def _line(where: str, raw: Raw) -> BillLine:
    start_ms, length_ms = _time(where, raw)
    end = _first(raw, "end")
    call, request_id = (_text(_first(raw, name)) for name in ("call", "request_id"))
    single = call is not None or request_id is not None
    calls = _number(where, "calls", _first(raw, "calls"))
    return BillLine(
        where=where,
        model=_text(_first(raw, "model")) or "",
        start_ms=start_ms,
        end_ms=start_ms if single else _moment_ms(where, end)[0] if end is not None else start_ms + length_ms,
        call=call,
        request_id=request_id,
        calls=1 if single else calls or 0,
        usage=_usage(where, raw),
        cost_nanousd=_cost(where, raw),
        billed=str(raw.get("billed", "true")).strip().lower() not in ("false", "no", "0"),
    )


def _first(raw: Raw, name: str) -> Any:
    return next((raw[alias] for alias in _NAMES[name] if raw.get(alias) not in (None, "")), None)


def _text(value: Any) -> str | None:
    return None if value is None else str(value).strip() or None


def _usage(where: str, raw: Raw) -> Usage | None:
    counts: dict[str, Any] = {name: _number(where, name, _first(raw, name)) for name in _NAMES if "_tokens" in name}
    writes = [_number(where, name, raw.get(name)) for name in _WRITES]
    counts["cache_write_tokens"] = sum(filter(None, writes)) if any(n is not None for n in writes) else None
    counts["input_tokens"] = _fresh_input(where, raw, counts)
    if all(count is None for count in counts.values()):
        return None
    return Usage(**counts)


def _fresh_input(where: str, raw: Raw, counts: Mapping[str, int | None]) -> int | None:
    for name in _FRESH:
        if raw.get(name) not in (None, ""):
            return _number(where, name, raw[name])
    for name in _WHOLE:
        if raw.get(name) not in (None, ""):
            whole = _number(where, name, raw[name]) or 0
            cached = (counts["cache_read_tokens"] or 0) + (counts["cache_write_tokens"] or 0)
            inside = any(raw.get(part) not in (None, "") for part in _INSIDE)
            return max(whole - cached, 0) if inside else whole
    return None


def _number(where: str, name: str, value: Any) -> int | None:
    if value is None or value == "":
        return None
    try:
        number = Decimal(str(value).strip().replace(",", ""))
        if number < 0 or number != int(number):
            raise ValueError
    except (InvalidOperation, ValueError, OverflowError):
        raise InvalidRequestError(f"{where}: {name} is not a whole number: {str(value)[:40]!r}", field="bill") from None
    return int(number)


def _cost(where: str, raw: Raw) -> int | None:
    value, scale = (raw[_CENTS], 7) if _CENTS in raw else (_first(raw, "cost"), 9)
    if value is None:
        return None
    try:
        amount = Decimal(str(value).strip().lstrip("$").replace(",", ""))
        return int(amount.scaleb(scale) + Decimal("0.5"))
    except (InvalidOperation, ValueError, OverflowError):
        raise InvalidRequestError(f"{where}: cost is not an amount: {str(value)[:40]!r}", field="bill") from None


def _time(where: str, raw: Raw) -> tuple[int, int]:
    value = _first(raw, "time")
    if value is None:
        names = ", ".join(_NAMES["time"])
        raise InvalidRequestError(f"{where} has no time; known columns are {names}", field="bill")
    return _moment_ms(where, value)


def _moment_ms(where: str, value: Any) -> tuple[int, int]:
    """A moment in ms, and how long it is: a day for a date, else nothing."""
    text = str(value).strip()
    try:
        if text.replace(".", "", 1).isdigit():
            number = Decimal(text)
            return int(number if number > 10**11 else number * 1000), 0
        at = datetime.fromisoformat(text.replace("/", "-"))
        whole_day = len(text) <= 10
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
        return round(at.timestamp() * 1000), round(timedelta(days=1).total_seconds() * 1000) if whole_day else 0
    except (ValueError, OverflowError):
        raise InvalidRequestError(f"{where}: is no time: {text[:40]!r}", field="bill") from None
