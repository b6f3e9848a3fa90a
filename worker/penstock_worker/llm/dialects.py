"""The subsets of JSON Schema that providers take, as data.

Sources: OpenAI's and Anthropic's guides to structured outputs and what their SDKs rewrite; Gemini's description of
``responseJsonSchema``; the README of llama.cpp's converter from JSON Schema to grammars, which Ollama uses.
"""

import re
from dataclasses import dataclass

_LOOK_AROUND = re.compile(r"\(\?[=!<]")
_ALL_TYPES = frozenset({"string", "number", "integer", "boolean", "null"})
_NUMBERS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})


@dataclass(frozen=True, slots=True)
class Dialect:
    """One provider's subset."""

    kept: frozenset[str]
    """Keywords that are passed on; all others but the structure itself are dropped and named."""
    formats: frozenset[str]
    """Values of ``format`` that are passed on."""
    all_required: bool
    """Every property is required, and an optional one may be null; else an optional one may be left out."""
    patterns: str = "none"
    """``none``; ``plain``: all without look-around; ``anchored``: plain and from ``^`` to ``$``."""
    recursion: bool = True
    """Whether a schema may refer to itself."""
    max_items_bound: int | None = None
    """The largest ``minItems`` and ``maxItems`` that are passed on; None for any."""
    enum_types: frozenset[str] = _ALL_TYPES
    """Types that an enum's values may have; another enum gives its types alone."""
    max_levels: int = 10
    max_properties: int = 5_000
    max_enum_values: int = 1_000
    max_name_chars: int = 120_000
    """Characters of all names and enum values."""
    max_optional: int | None = None
    """Optional properties in the whole schema; None for any number."""
    max_unions: int | None = None
    """Places that may have values of several types; None for any number."""

    def keeps(self, keyword: str, value: object) -> bool:
        """Whether *keyword* is passed on with *value*."""
        if keyword in ("minItems", "maxItems") and self.max_items_bound is not None:
            return keyword in self.kept and isinstance(value, int) and value <= self.max_items_bound
        return keyword in self.kept

    def takes_pattern(self, pattern: object) -> bool:
        """Whether the regular expression is passed on."""
        if self.patterns == "none" or not isinstance(pattern, str) or _LOOK_AROUND.search(pattern):
            return False
        return self.patterns == "plain" or (pattern.startswith("^") and pattern.endswith("$"))

    def is_passed(self, properties: int, enum_values: int, name_chars: int, optional: int, unions: int) -> bool:
        """Whether a schema with so many of each is larger than the provider takes."""
        return (
            properties > self.max_properties
            or enum_values > self.max_enum_values
            or name_chars > self.max_name_chars
            or (self.max_optional is not None and optional > self.max_optional)
            or (self.max_unions is not None and unions > self.max_unions)
        )


OPENAI = Dialect(
    kept=_NUMBERS | {"description", "multipleOf", "minItems", "maxItems"},
    formats=_FORMATS,
    all_required=True,
    patterns="plain",
)

ANTHROPIC = Dialect(
    kept=frozenset({"description", "minItems"}),
    formats=_FORMATS | {"uri"},
    all_required=False,
    recursion=False,
    max_items_bound=1,
    max_optional=24,
    max_unions=16,
)

GEMINI = Dialect(
    kept=frozenset({"description", "minItems", "maxItems"}),
    formats=frozenset({"date-time", "date", "time"}),
    all_required=False,
    recursion=False,
    max_items_bound=8,
    enum_types=frozenset({"string", "number", "integer"}),
)
"""Gemini takes more bounds, but refuses schemas whose bounds give "too many states for serving"."""

GRAMMAR = Dialect(
    kept=_NUMBERS | {"description", "minItems", "maxItems", "minLength", "maxLength"},
    formats=frozenset({"date-time", "date", "time", "uuid"}),
    all_required=False,
    patterns="anchored",
)
"""Servers that compile the schema to a grammar: llama.cpp, and Ollama with it."""
