"""Which parts of a schema refer to which: endless references, and how large they are written out.

A *unit* is the root (``#``) or a definition (``#/$defs/<name>``): only these can be referred to. So the
graph has one node per unit, and everything about references is answered on it in linear time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

Path: TypeAlias = "tuple[Path, str | int] | None"


@dataclass
class _Unit:
    subschemas: int = 0
    refers_to: list[tuple[str, Path]] = field(default_factory=list)
    in_place: list[tuple[str, Path]] = field(default_factory=list)
    """The references that are followed without stepping into the instance."""


class Units:
    """The units of one schema and the references between them."""

    def __init__(self) -> None:
        self._units = {"#": _Unit()}

    def __contains__(self, name: str) -> bool:
        return name in self._units

    def add(self, name: str) -> None:
        self._units.setdefault(name, _Unit())

    def count(self, name: str) -> None:
        """One more subschema in the unit."""
        self._units[name].subschemas += 1

    def refer(self, name: str, target: str, path: Path, *, in_place: bool) -> None:
        """The unit holds a ``$ref`` to *target* at *path*."""
        unit = self._units[name]
        unit.refers_to.append((target, path))
        if in_place:
            unit.in_place.append((target, path))

    def references(self) -> Iterator[tuple[Path, str]]:
        """Every reference: its place and its target."""
        return ((path, target) for unit in self._units.values() for target, path in unit.refers_to)

    def cycle_in_place(self) -> Path:
        """The place of a reference that closes a cycle without stepping into the instance; else None."""
        done: set[str] = set()
        for start in self._units:
            open_units: set[str] = set()
            waiting: list[tuple[str, Iterator[tuple[str, Path]]]] = []
            self._enter(start, open_units, waiting, done)
            while waiting:
                name, targets = waiting[-1]
                target, path = next(targets, ("", None))
                if path is None:
                    waiting.pop()
                    open_units.discard(name)
                    done.add(name)
                elif target in open_units:
                    return path
                else:
                    self._enter(target, open_units, waiting, done)
        return None

    def _enter(
        self,
        name: str,
        open_units: set[str],
        waiting: list[tuple[str, Iterator[tuple[str, Path]]]],
        done: set[str],
    ) -> None:
        if name not in done:
            open_units.add(name)
            waiting.append((name, iter(self._units[name].in_place)))

    def subschemas(self, name: str) -> int:
        """Subschemas in the unit itself."""
        return self._units[name].subschemas

    def targets(self, name: str) -> list[str]:
        """Targets of the unit's references, one for each reference."""
        return [target for target, _ in self._units[name].refers_to]


def written_out(units: Units, root: str) -> int:
    """Subschemas below *root* when every reference is replaced by what it refers to.

    Units that refer to each other in a circle are counted once, all of them, wherever one is referred to:
    their references cannot be written out. Computed on the graph, in time linear in the references.
    """
    size: dict[str, int] = {}
    for group in _circles(units, root):
        members = set(group)
        total = sum(units.subschemas(name) for name in group)
        total += sum(size[target] for name in group for target in units.targets(name) if target not in members)
        size.update(dict.fromkeys(group, total))
    return size[root]


def _circles(units: Units, root: str) -> Iterator[list[str]]:
    """Strongly connected groups, each after all that it refers to (Tarjan 1972, without recursion)."""
    order: dict[str, int] = {root: 0}
    lowest: dict[str, int] = {root: 0}
    stack, finished = [root], set[str]()
    waiting = [(root, iter(units.targets(root)))]
    while waiting:
        name, targets = waiting[-1]
        target = next(targets, None)
        if target is None:
            waiting.pop()
            if waiting:
                above = waiting[-1][0]
                lowest[above] = min(lowest[above], lowest[name])
            if lowest[name] == order[name]:
                cut = stack.index(name)
                group = stack[cut:]
                del stack[cut:]
                finished.update(group)
                yield group
        elif target not in order:
            order[target] = lowest[target] = len(order)
            stack.append(target)
            waiting.append((target, iter(units.targets(target))))
        elif target not in finished:
            lowest[name] = min(lowest[name], order[target])
