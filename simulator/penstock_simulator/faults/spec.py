"""How a fault is asked for.

1. Words: `hang`, `503`, `status=503 retry-after=2`, `cut-middle at=0.3 how=fin`; several joined by `;`.
   The first word is a fault's name, or a status, or is left out before `status=`.
2. JSON: `{"fault": "hang", "seconds": 2}`, or a list of these or of words.
3. With any fault: `billed=true|false` (is the call charged) and `times=`, `nth=`, `probability=`, which say
   how often; the script module reads those.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import orjson

from penstock_simulator.faults import FAULTS
from penstock_simulator.faults.kinds import Fault, FaultSpecError, Params, convert

__all__ = ["HOW_OFTEN", "FaultSpecError", "fault", "fault_in_model_name", "parse"]

HOW_OFTEN = frozenset({"times", "nth", "probability"})
"""Parameters that say how often a fault is played, not what it is."""


def parse(spec: Any) -> tuple[tuple[Fault, ...], dict[str, Any]]:
    """The faults that *spec* asks for, and its how-often parameters; FaultSpecError if it is wrong."""
    if isinstance(spec, str):
        return _parse_text(spec)
    if isinstance(spec, Mapping):
        return _parse_mapping(spec)
    if isinstance(spec, list | tuple):
        return _joined([parse(part) for part in spec])
    raise FaultSpecError(f"a fault is words, an object or a list, not {spec!r}")


def fault(name: str, /, **params: Any) -> Fault:
    """The fault *name* with *params*; FaultSpecError if there is none or a parameter is unknown."""
    kind = FAULTS.get(name)
    if kind is None:
        close = get_close_matches(name, FAULTS, n=1)
        raise FaultSpecError(f"no fault is called {name!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
    billed = params.pop("billed", None)
    unknown = params.keys() - kind.params.keys()
    if unknown:
        known = ", ".join(kind.params) or "none"
        raise FaultSpecError(f"{name} has no parameter {sorted(unknown)[0]!r}; it has: {known}")
    try:
        given = {key: convert(key, value, kind.params[key]) for key, value in params.items()}
        charged = kind.billed if billed is None else bool(convert("billed", billed, True))
    except ValueError as error:
        raise FaultSpecError(f"{name}: {error}") from error
    return Fault(kind, Params({**kind.params, **given}, frozenset(given)), charged)


def fault_in_model_name(model: str) -> Fault | None:
    """The fault that a model's name asks for by ending in `sim-<fault>`, such as `sim-503`; None for others."""
    _, marker, name = model.rpartition("sim-")
    if not marker:
        return None
    if name.isdigit() and len(name) == 3:
        return fault("status", status=int(name))
    return fault(name) if name in FAULTS else None


@lru_cache(maxsize=1024)
def _parse_text(text: str) -> tuple[tuple[Fault, ...], dict[str, Any]]:
    text = text.strip()
    if text.startswith(("{", "[")):
        try:
            return parse(orjson.loads(text))
        except orjson.JSONDecodeError as error:
            raise FaultSpecError(f"not JSON: {error}") from error
    return _joined([_parse_words(part) for part in text.split(";")])


def _parse_words(text: str) -> tuple[tuple[Fault, ...], dict[str, Any]]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise FaultSpecError(f"{text!r}: {error}") from error
    if not words:
        raise FaultSpecError("no fault is named")
    name = "status" if "=" in words[0] else words.pop(0)
    fields = {}
    for word in words:
        key, separator, value = word.partition("=")
        if not separator:
            raise FaultSpecError(f"{word!r} is not name=value; separate several faults by ;")
        fields[key] = value
    return _parse_mapping({"fault": name, **fields})


def _parse_mapping(fields: Mapping[str, Any]) -> tuple[tuple[Fault, ...], dict[str, Any]]:
    rest = dict(fields)
    name = str(rest.pop("fault", "status"))
    how_often = {key: rest.pop(key) for key in list(rest) if key in HOW_OFTEN}
    if name.isdigit():
        name, rest["status"] = "status", name
    return (fault(name, **rest),), how_often


def _joined(parts: list[tuple[tuple[Fault, ...], dict[str, Any]]]) -> tuple[tuple[Fault, ...], dict[str, Any]]:
    faults = tuple(fault for found, _ in parts for fault in found)
    how_often: dict[str, Any] = {}
    for _, some in parts:
        how_often.update(some)
    return faults, how_often
