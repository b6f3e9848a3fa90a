"""Where the documents of a wire format keep what document faults bend: usage, model, content, stop reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from penstock_simulator.ask import JsonObject

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """One family's documents, whole and streamed, as faults see them."""

    usage_paths: tuple[Path, ...]
    """Where token counts may stand; the empty path for the document itself."""
    model_paths: tuple[Path, ...]
    """Where the model's name may stand."""
    is_content: Callable[[JsonObject], bool]
    """Whether an event carries generated text."""
    is_finish: Callable[[JsonObject], bool]
    """Whether an event says why the generation stopped."""
    hollow: Callable[[JsonObject], JsonObject | None]
    """A document without any choice, candidate, output or block; None for an event that is gone with it."""
    stranger: JsonObject
    """An event of a kind that nobody has heard of."""
    unmarked: Callable[[list[JsonObject]], list[JsonObject]]
    """The events without what marks the end of a stream."""
    early_usage: Path = ("usage",)
    """Where the first event of a stream may have token counts."""
    usage_names: frozenset[str] | None = None
    """Which keys are token counts, where they do not stand in an object of their own."""
    total_path: Path | None = ("total_tokens",)
    """The count, within the usage, that should be the sum of others; None where there is none."""
    failure: Callable[[JsonObject, JsonObject], JsonObject] | None = None
    """How a whole document tells of an error under a good status, from an honest document and the error's event;
    None for the plain error document."""

    def usage(self, document: JsonObject) -> JsonObject | None:
        """The token counts of *document*; None when it has none."""
        for path in self.usage_paths:
            holder = at(document, path)
            if isinstance(holder, dict) and (found := self._counts(holder)):
                return found
        return None

    def with_usage(self, document: JsonObject, counts: JsonObject | None) -> JsonObject:
        """*document* with *counts* where it has some; None takes them out."""
        for path in self.usage_paths:
            holder = at(document, path)
            if isinstance(holder, dict) and self._counts(holder):
                return self._put(document, path, holder, counts)
        return document

    def with_early_usage(self, document: JsonObject, counts: JsonObject) -> JsonObject:
        """*document*, the first of a stream, with *counts* whether it had some or not."""
        if self.usage_names is not None:
            return {**document, **counts}
        return changed(document, self.early_usage, counts)

    def _counts(self, holder: JsonObject) -> JsonObject | None:
        if self.usage_names is None:
            return holder
        return {name: holder[name] for name in self.usage_names if name in holder}

    def _put(self, document: JsonObject, path: Path, holder: JsonObject, counts: JsonObject | None) -> JsonObject:
        if self.usage_names is None:
            return removed(document, path) if counts is None else changed(document, path, counts)
        rest = {name: item for name, item in holder.items() if name not in self.usage_names}
        return {**rest, **(counts or {})}


def at(document: Any, path: Path) -> Any:
    """What stands at *path*; None if nothing does."""
    for step in path:
        if not isinstance(document, dict):
            return None
        document = document.get(step)
    return document


def changed(document: JsonObject, path: Path, value: Any) -> JsonObject:
    """A copy of *document* with *value* at *path*; missing objects on the way are made."""
    first, *rest = path
    inner = document.get(first)
    if not rest:
        return {**document, first: value}
    return {**document, first: changed(inner if isinstance(inner, dict) else {}, tuple(rest), value)}


def removed(document: JsonObject, path: Path) -> JsonObject:
    """A copy of *document* without what stands at *path*."""
    first, *rest = path
    if not rest:
        return {name: item for name, item in document.items() if name != first}
    inner = document.get(first)
    return {**document, first: removed(inner, tuple(rest))} if isinstance(inner, dict) else document
