"""Answers without a model: what Penstock can still say, labelled as such, when no model can answer.

Pure functions of their arguments: no I/O, no clock, no randomness, any text in any language. Each name
constant is what a degraded result carries as its maker; its version goes up when the same input may give
another answer.
"""

from typing import Final

from penstock_worker.fallbacks.extractive import Style, summarize
from penstock_worker.fallbacks.lexical import classify, classify_scores
from penstock_worker.fallbacks.rules import extract
from penstock_worker.fallbacks.text import count_words

EXTRACTIVE: Final = "extractive@1"
"""Made by `summarize`."""
LEXICAL: Final = "lexical@1"
"""Made by `classify`."""
RULES: Final = "rules@1"
"""Made by `extract`."""

__all__ = [
    "EXTRACTIVE",
    "LEXICAL",
    "RULES",
    "Style",
    "classify",
    "classify_scores",
    "count_words",
    "extract",
    "summarize",
]
