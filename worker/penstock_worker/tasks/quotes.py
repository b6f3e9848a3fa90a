"""Quotes as evidence: whether the text has them, and those for what was found without a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from penstock_schemas.evidence import leaves
from penstock_worker.tasks.definition import Unusable

_NAMED: Final = 3
"""So many places are named to the model when it is asked again."""


def found(leaf: Any) -> bool:
    """Whether a scalar holds anything: neither null nor an empty string."""
    return leaf is not None and leaf != ""


def check_quotes(text: str, value: Any, evidence: Sequence[dict[str, str]]) -> tuple[str, ...]:
    """Raise Unusable unless each scalar that was found has a quote, and each quote occurs in *text*.

    Occurs means letter by letter, with any white space taken for any other. A value that stands in the text, but not
    in its quotes, is doubtful: ``evidence_elsewhere``.
    """
    plain = _plain(text)
    quotes: dict[str, list[str]] = {}
    for one in evidence:
        quotes.setdefault(one["path"], []).append(_plain(one["quote"]))
    values = dict(leaves(value))
    _refuse("quotes something that is not in the text", [path for path, own in quotes.items() if _absent(own, plain)])
    _refuse("gives evidence for what is not there", quotes.keys() - values.keys())
    _refuse("gives no evidence", [path for path, leaf in values.items() if found(leaf) and path not in quotes])
    elsewhere = any(_elsewhere(leaf, quotes[path], plain) for path, leaf in values.items() if path in quotes)
    return ("evidence_elsewhere",) if elsewhere else ()


def with_quotes(text: str, value: Any) -> dict[str, Any] | None:
    """*value* with the line of *text* that each of its scalars stands in; None when one stands nowhere."""
    lines = [(" ".join(line.split()), line.strip()) for line in text.splitlines()]
    evidence = []
    for path, leaf in leaves(value):
        if found(leaf):
            spelled = _plain(leaf) if isinstance(leaf, str) else orjson.dumps(leaf).decode()
            quote = next((line for plain, line in lines if spelled in plain), None)
            if quote is None:
                return None
            evidence.append({"path": path, "quote": quote})
    return {"value": value, "evidence": evidence}


def _plain(text: str) -> str:
    return " ".join(text.split())


def _absent(quotes: Sequence[str], plain: str) -> bool:
    return any(not quote or quote not in plain for quote in quotes)


def _elsewhere(leaf: Any, quotes: Sequence[str], plain: str) -> bool:
    spelled = _plain(leaf).casefold() if isinstance(leaf, str) else ""
    return bool(spelled) and spelled in plain.casefold() and not any(spelled in quote.casefold() for quote in quotes)


def _refuse(what: str, paths: Any) -> None:
    if paths:
        places = ", ".join(path or "the whole" for path in sorted(paths)[:_NAMED])
        raise Unusable(f"the answer {what}, at {places}; quote the text letter by letter, once for each value"[:400])
