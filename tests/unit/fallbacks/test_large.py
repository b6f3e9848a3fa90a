"""Five megabytes of text, and one of each hostile kind: every run ends within the time that pytest gives
any test.

Four hundred kilobytes are enough to show quadratic time: it would take hours.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock_worker.fallbacks import classify, count_words, extract, summarize

SIZE = 5_000_000
HOSTILE_SIZE = 400_000
EXAMPLES = Path(__file__).parents[3] / "simulator" / "penstock_simulator" / "demo" / "inputs"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "email": {"type": "string", "format": "email"},
        "when": {"type": "string", "format": "date"},
        "code": {"type": "string", "pattern": "^(A+)+$"},
        "visitor_count": {"type": "integer"},
        "is_open": {"type": "boolean"},
        "rows": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
    },
}
HOSTILE = ["a b. ", "a\n", "- x\n", "a: b\n", ".", "(", "1 ", "@", "| a | b |\n", "東", "From: a\n", "\u0301", "w%d "]


def filled(piece: str) -> str:
    if "%d" in piece:
        return "".join(piece % number for number in range(HOSTILE_SIZE // 8))
    return piece * (HOSTILE_SIZE // len(piece))


def run_summary(text: str) -> None:
    assert 1 <= count_words(summarize(text, max_words=50)) <= 50


def run_classification(text: str) -> None:
    assert classify(text, {"a": None, "b": "x y"})[0] in {"a", "b"}


def run_extraction(text: str) -> None:
    answer = extract(text, SCHEMA)
    assert answer is None or answer.keys() <= SCHEMA["properties"].keys()


@pytest.mark.parametrize("run", [run_summary, run_classification, run_extraction])
@pytest.mark.parametrize("name", ["article", "incident"])
def test_a_long_text_completes(run: Callable[[str], None], name: str) -> None:
    text = (EXAMPLES / f"{name}.txt").read_text("utf-8")
    run(text * (SIZE // len(text)))


@pytest.mark.parametrize("run", [run_summary, run_classification, run_extraction])
@pytest.mark.parametrize("piece", HOSTILE)
def test_a_hostile_text_completes(run: Callable[[str], None], piece: str) -> None:
    run(filled(piece))
