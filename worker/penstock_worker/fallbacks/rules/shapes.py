"""What a schema node asks for: references followed, null set apart, alternatives laid out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

Node = Mapping[str, Any]

_MOST_HOPS: Final = 8
_MOST_ALTERNATIVES: Final = 20
_COMBINING: Final = ("anyOf", "oneOf")


@dataclass(frozen=True, slots=True)
class Shape:
    """One way in which a node can be met."""

    kind: str
    """"object", "array", "string", "integer", "number", "boolean", "enum", "const" or "any"."""
    node: Node


def resolve(root: Node, reference: str) -> Node:
    """The node a local reference ("#", "#/$defs/x") points to; an empty node for any other and for none."""
    node: Any = root
    if reference != "#" and not reference.startswith("#/"):
        return {}
    for part in reference[1:].split("/")[1:]:
        key = unquote(part).replace("~1", "/").replace("~0", "~")
        if isinstance(node, Mapping):
            node = node.get(key)
        elif isinstance(node, list) and key.isascii() and key.isdigit() and len(key) < 6 and int(key) < len(node):
            node = node[int(key)]
        else:
            return {}
    return node if isinstance(node, Mapping) else {}


def flatten(root: Node, node: object) -> Node:
    """*node* with its references and `allOf` merged into it; where both say something, the node itself
    wins.
    """
    return _flatten(root, node, _MOST_HOPS) if isinstance(node, Mapping) else {}


def _flatten(root: Node, node: Node, hops: int) -> Node:
    if hops == 0 or not ("$ref" in node or "allOf" in node):
        return node
    merged: dict[str, Any] = {}
    for part in _merged_parts(root, node):
        _merge(merged, _flatten(root, part, hops - 1))
    _merge(merged, {key: value for key, value in node.items() if key not in {"$ref", "allOf"}})
    return merged


def _merged_parts(root: Node, node: Node) -> Iterator[Node]:
    if isinstance(reference := node.get("$ref"), str):
        yield resolve(root, reference)
    parts = node.get("allOf")
    if isinstance(parts, list) and len(parts) <= 4:
        yield from (part for part in parts if isinstance(part, Mapping))


def _merge(into: dict[str, Any], node: Node) -> None:
    for key, value in node.items():
        if key == "properties" and isinstance(value, Mapping):
            into[key] = {**into.get(key, {}), **value}
        elif key == "required" and isinstance(value, list):
            into[key] = [*into.get(key, []), *value]
        else:
            into[key] = value


def shapes(root: Node, node: object) -> tuple[list[Shape], bool]:
    """The ways in which *node* can be met, in its order, and whether null is one of them."""
    flat = flatten(root, node)
    found: list[Shape] = []
    nullable = False
    for each in _alternatives(root, flat):
        kinds, null = _kinds(each)
        nullable = nullable or null
        found += [Shape(kind, each) for kind in kinds]
    return found[:_MOST_ALTERNATIVES], nullable


def _alternatives(root: Node, node: Node) -> Iterator[Node]:
    for keyword in _COMBINING:
        options = node.get(keyword)
        if isinstance(options, list):
            outer = {key: value for key, value in node.items() if key != keyword}
            for option in options[:_MOST_ALTERNATIVES]:
                yield {**outer, **flatten(root, option)}
            return
    yield node


def _kinds(node: Node) -> tuple[list[str], bool]:
    if "const" in node:
        return ([], True) if node["const"] is None else (["const"], False)
    if isinstance(values := node.get("enum"), list):
        return ["enum"], None in values
    stated = node.get("type")
    kinds = [stated] if isinstance(stated, str) else list(stated) if isinstance(stated, list) else [_guess(node)]
    return [kind for kind in kinds if kind != "null"], "null" in kinds


def _guess(node: Node) -> str:
    if "properties" in node:
        return "object"
    if "items" in node:
        return "array"
    return "string" if "format" in node or "pattern" in node else "any"
