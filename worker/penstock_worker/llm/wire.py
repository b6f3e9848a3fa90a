"""Small readers of what came over the wire, shared by the provider families."""

import json
import re
from collections.abc import Mapping
from typing import Any

import orjson

from penstock_worker.llm.errors import BadResponseError, bounded

_KEY_SHAPE = re.compile(r"\b(?:(?:sk|pk|gsk|xai|key|Bearer)[-_ ][\w*.-]{6,}|AIza[\w-]{20,})", re.IGNORECASE)


def loads(data: bytes) -> Any:
    """Parse a provider's envelope. Raises BadResponseError.

    NaN and Infinity are not JSON, but occur in usage figures, which are checked later; an answer that was
    paid for is not thrown away for them.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise BadResponseError(detail=excerpt(data)) from None


def dumped(value: object) -> str:
    """JSON of what :func:`loads` gave. Raises BadResponseError for what it took and nothing can store."""
    try:
        return orjson.dumps(value).decode()
    except (TypeError, RecursionError):
        raise BadResponseError(detail="half a surrogate pair, or a number too large") from None


def document(body: bytes) -> dict[str, Any]:
    """Parse a whole body that must be one JSON object. Raises BadResponseError."""
    top = loads(body)
    if not isinstance(top, dict):
        raise BadResponseError(detail=excerpt(body))
    return top


def objects(value: object) -> list[Mapping[str, Any]]:
    """The objects in *value* if it is a list, else none."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def sound(text: str) -> str:
    """*text* itself. Raises BadResponseError for half a surrogate pair, which nothing can store."""
    utf8_length(text)
    return text


def utf8_length(text: str) -> int:
    """Bytes of *text* in UTF-8. Raises BadResponseError for half a surrogate pair, which nothing can store."""
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise BadResponseError(detail="half a surrogate pair in the answer") from None


def excerpt(data: bytes) -> str:
    """The beginning of a body for the ledger: bounded, printable, without what has the shape of a key."""
    return bounded(scrub(data[:1024].decode("utf-8", "replace")))


def scrub(text: str) -> str:
    """Blank out what has the shape of an API key: providers quote the key they refuse."""
    return _KEY_SHAPE.sub("[key]", text)


def mapping(value: object) -> Mapping[str, Any]:
    """*value* if it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def text_of(value: object, limit: int = 128) -> str | None:
    """*value* if it is a string that is not empty, cut to *limit* characters and printable; else None."""
    return bounded(value, limit) if isinstance(value, str) and value else None
