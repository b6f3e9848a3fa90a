"""What provider families have in common: options, headers, the schema's way into a request.

Options that every kind of target takes:

=========== ==== ====================================================
``headers``  {}   further headers, such as ``openai-organization``
``body``     {}   further fields of the body; ours win
=========== ==== ====================================================
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

import orjson

from penstock_worker.llm.family import Reply
from penstock_worker.llm.port import CallRequest, SchemaMode, Target
from penstock_worker.llm.strict_schema import Lowered

Options = Mapping[str, tuple[type, tuple[str, ...]]]
"""Name of an option -> its type, and the words it may be when it is not any word."""

_COMMON: Final[Options] = {"headers": (Mapping, ()), "body": (Mapping, ())}

_IN_PROMPT = (
    "Answer with one JSON object and nothing else: no code fence, no text before or after it. "
    "It must be valid against this JSON Schema:\n"
)


class WireFamily(ABC):
    """A family with the parts that most of them share."""

    options: ClassVar[Options] = MappingProxyType({})
    """The family's own options."""
    takes_tools: ClassVar[bool] = False
    """Whether requests with tools can be put into this format."""

    def check_options(self, target: Target) -> None:
        """Raise ValueError naming the option that is unknown or has a wrong value."""
        known = {**_COMMON, **self.options}
        for name, value in target.options.items():
            kind, words_ = known.get(name, (object, ()))
            if name not in known:
                raise ValueError(f"options.{name}: unknown; known are {', '.join(known)}")
            if not _fits(value, kind) or (words_ and value not in words_):
                raise ValueError(f"options.{name}: must be {' or '.join(words_) or kind.__name__}")

    def headers(self, target: Target, key: str | None) -> dict[str, str]:
        """The target's own headers, the family's, and the key's."""
        own = {name.lower(): str(value) for name, value in target.options.get("headers", {}).items()}
        return {**self._fixed_headers(target), **own, **({} if key is None else self._key_header(target, key))}

    def examine(self, target: Target, request: CallRequest, reply: Reply) -> None:
        """Find nothing: most providers refuse what they cannot take."""
        return

    def _fixed_headers(self, target: Target) -> dict[str, str]:
        return {}

    @abstractmethod
    def _key_header(self, target: Target, key: str) -> dict[str, str]:
        """The header that carries *key*; its name in lower case."""


def _fits(value: object, kind: type) -> bool:
    return isinstance(value, kind) and (kind is not int or not isinstance(value, bool))


def choose_schema(
    target: Target,
    request: CallRequest,
    lower: Callable[[Mapping[str, Any]], Lowered],
    *,
    otherwise: SchemaMode = SchemaMode.JSON_OBJECT,
) -> tuple[SchemaMode | None, Lowered]:
    """The mode to use, and the schema for the provider in mode ``json_schema``.

    *otherwise* is the family's next weaker mode: ``json_object``, or ``prompt`` where there is no such thing.
    """
    if request.schema is None:
        return None, Lowered(None, ())
    mode = request.schema_mode or target.schema_mode
    if mode is SchemaMode.JSON_SCHEMA:
        lowered = lower(request.schema)
        return (mode if lowered.schema is not None else otherwise), lowered
    return (otherwise if mode is SchemaMode.JSON_OBJECT else mode), Lowered(None, ())


def as_it_is(schema: Mapping[str, Any]) -> Lowered:
    """*schema* for a server that takes any."""
    return Lowered(dict(schema), ())


def schema_in_words(request: CallRequest) -> str:
    """The schema as an instruction, which has the word JSON that some providers demand."""
    return _IN_PROMPT + orjson.dumps(request.schema).decode()


def instructions(request: CallRequest, mode: SchemaMode | None) -> str:
    """The system part: what never changes stands first, so that a provider's prompt cache can hold it."""
    if mode in (SchemaMode.JSON_OBJECT, SchemaMode.PROMPT):
        return "\n\n".join(filter(None, (request.system, schema_in_words(request))))
    return request.system


def messages(request: CallRequest, *, assistant: str = "assistant") -> list[tuple[str, str]]:
    """Role and text of all that follows the system part; *assistant* is the provider's word for the model.

    For formats without tools.
    """
    turns = ((assistant if turn.role == "assistant" else turn.role, turn.text) for turn in request.turns)
    return [("user", request.user), *turns]


def role_messages(request: CallRequest) -> list[dict[str, str]]:
    """The same as most providers write it."""
    return [{"role": role, "content": text} for role, text in messages(request)]


def below(target: Target, prefix: str, path: str) -> str:
    """*path* with the API's version in front, unless the base URL has one already.

    ``https://api.anthropic.com`` and ``https://api.anthropic.com/v1`` are both written in the wild.
    """
    return path if re.search(r"/v\d\w*(/|$)", target.base_url) else prefix + path
