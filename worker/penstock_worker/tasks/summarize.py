"""Summarize: what a text says, in fewer words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from penstock_schemas.tasks import Summarize
from penstock_worker.fallbacks import EXTRACTIVE, summarize
from penstock_worker.tasks.definition import Task, Unusable, task
from penstock_worker.tasks.in_parts import SummarizeInParts

_TOLERANCE = 1.25
"""Up to a quarter too long is doubtful; beyond it the limit was not heeded."""

_ENDS = tuple(".!?…。！？؟।॥።\"'”’»)]")  # noqa: RUF001  (of any script)
"""What a sentence may end with; a text that stops elsewhere was broken off, whatever the model says."""

_STYLES = {
    "paragraph": "one paragraph of plain sentences",
    "bullets": "a list of points, each on a line of its own that begins with '- '",
}


@task(Summarize, prompt="summarize@1", in_parts=SummarizeInParts, fallback=EXTRACTIVE)
class SummarizeTask(Task[Summarize]):
    """A summary within its limit of words, in the style, language and focus asked for."""

    def schema(self, asked: Summarize) -> dict[str, Any]:
        """One string."""
        return {
            "type": "object",
            "properties": {"summary": {"type": "string", "minLength": 1}},
            "required": ["summary"],
            "additionalProperties": False,
        }

    def variables(self, asked: Summarize) -> Mapping[str, str]:
        """The wishes in plain words."""
        return {
            "max_words": str(asked.max_words),
            "style": _STYLES[asked.style],
            "language": asked.language or "the language of the text",
            "focus": f"Mind above all: {asked.focus}" if asked.focus else "Cover the text as a whole.",
        }

    def check(self, asked: Summarize, output: Any) -> Sequence[str]:
        """Not empty, within the limit, brought to its end, no copy of the text."""
        return list(_doubts(asked, output["summary"]))

    def fallback(self, asked: Summarize) -> Any:
        """The sentences of the text that say most."""
        summary = summarize(
            asked.text,
            max_words=asked.max_words,
            style=asked.style,
            language=asked.language,
            focus=asked.focus,
        )
        return {"summary": summary}


def _doubts(asked: Summarize, summary: str) -> Iterator[str]:
    words = len(summary.split())
    if not words:
        raise Unusable("the summary is empty")
    if words > asked.max_words * _TOLERANCE:
        raise Unusable(f"the summary has {words} words; at most {asked.max_words} are allowed")
    if words > asked.max_words:
        yield "over_word_limit"
    if len(asked.text.split()) > asked.max_words:
        yield from _copied(" ".join(asked.text.split()), " ".join(summary.split()))
    if asked.style == "paragraph" and not summary.rstrip().endswith(_ENDS):
        yield "ends_abruptly"
    if asked.style == "bullets" and not summary.lstrip().startswith(("- ", "* ", "• ")):
        yield "not_bullets"


def _copied(text: str, summary: str) -> Iterator[str]:
    """White space apart: all of the text is no summary; a piece of it that was cut out is a doubtful one."""
    if summary == text:
        raise Unusable("the summary is the text itself; say what the text says in fewer words")
    if summary in text:
        yield "copied_from_text"
