"""What was found in the parts of a text, brought together. The same parts give the same whole.

- Null stands for nothing found, and gives way to anything.
- Members of objects are brought together by their names.
- Lists are put one behind the other. An entry that another part has too is taken once: overlaps and repetitions are no
  new entries. Entries that one part has twice stay two. A list of fixed length is a value, not a list.
- Of different values the one that most parts have counts, of equally many the first; that they differ is told, with
  the place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import orjson

from penstock_schemas.evidence import leaves
from penstock_worker.documents.partial import branches

Kind = Literal["object", "array", "value"]


class Origin(NamedTuple):
    """Where a value of the whole was found."""

    part: int
    """Index among the parts."""
    path: str
    """JSON pointer within that part's value."""


@dataclass(slots=True)
class Merged:
    """A whole, and how it came about."""

    value: Any
    origins: dict[str, Origin] = field(default_factory=dict)
    """JSON pointer of each leaf that is not null -> where it was found first."""
    conflicts: list[str] = field(default_factory=list)
    """JSON pointers of places where parts differ."""


class _Found(NamedTuple):
    part: int
    path: str
    value: Any


def merge(parts: Sequence[Any], schema: Mapping[str, Any]) -> Merged:
    """Bring *parts*, plain JSON in the order of the text, together; *schema* is that of the whole."""
    work = _Merging(schema)
    merged = work.merge([_Found(number, "", part) for number, part in enumerate(parts)], "", schema)
    return Merged(merged, work.origins, work.conflicts)


class _Merging:
    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._root = schema
        self.origins: dict[str, Origin] = {}
        self.conflicts: list[str] = []

    def merge(self, found: list[_Found], at: str, node: Any) -> Any:
        found = [each for each in found if each.value is not None]
        if not found:
            return None
        fixed = any(_is_fixed(branch) for branch in branches(node, self._root))
        kinds = Counter(_kind(each.value, fixed) for each in found)
        kind = kinds.most_common(1)[0][0]
        if len(kinds) > 1:
            self.conflicts.append(at)
            found = [each for each in found if _kind(each.value, fixed) == kind]
        match kind:
            case "object":
                return self._objects(found, at, node)
            case "array":
                return self._lists(found, at)
            case "value":
                return self._values(found, at)

    def _objects(self, found: list[_Found], at: str, node: Any) -> dict[str, Any]:
        names = dict.fromkeys(name for each in found for name in each.value)
        return {
            name: self.merge(
                [_Found(each.part, f"{each.path}/{_token(name)}", each.value.get(name)) for each in found],
                f"{at}/{_token(name)}",
                _member(node, name, self._root),
            )
            for name in names
        }

    def _lists(self, found: list[_Found], at: str) -> list[Any]:
        whole: list[Any] = []
        have: Counter[bytes] = Counter()
        for each in found:
            here: Counter[bytes] = Counter()
            for index, entry in enumerate(each.value):
                same = _same(entry)
                here[same] += 1
                if here[same] > have[same]:
                    self._note(f"{at}/{len(whole)}", Origin(each.part, f"{each.path}/{index}"), entry)
                    whole.append(entry)
            have |= here
        return whole

    def _values(self, found: list[_Found], at: str) -> Any:
        votes = Counter(_same(each.value) for each in found)
        most, _ = votes.most_common(1)[0]
        if len(votes) > 1:
            self.conflicts.append(at)
        first = next(each for each in found if _same(each.value) == most)
        self._note(at, Origin(first.part, first.path), first.value)
        return first.value

    def _note(self, at: str, origin: Origin, value: Any) -> None:
        for path, leaf in leaves(value):
            if leaf is not None:
                self.origins[f"{at}{path}"] = Origin(origin.part, f"{origin.path}{path}")


def _token(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _kind(value: Any, fixed: bool) -> Kind:
    if isinstance(value, dict):
        return "object"
    return "array" if isinstance(value, list) and not fixed else "value"


def _is_fixed(branch: Mapping[str, Any]) -> bool:
    """Whether a list of this schema is a value, such as a pair of coordinates."""
    return "prefixItems" in branch or ("maxItems" in branch and branch.get("minItems") == branch["maxItems"])


def _member(node: Any, name: str, root: Mapping[str, Any]) -> Any:
    for branch in branches(node, root):
        if name in branch.get("properties", {}):
            return branch["properties"][name]
    return True


def _same(value: Any) -> bytes:
    """Equal for values that say the same: strings but for white space, numbers but for how they are written."""
    return orjson.dumps(_plain(value), option=orjson.OPT_SORT_KEYS)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return " ".join(value.split()).encode("utf-8", "replace").decode()
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {_plain(name): _plain(part) for name, part in value.items()}
    return str(value) if isinstance(value, int) and not -(2**63) <= value < 2**64 else value
