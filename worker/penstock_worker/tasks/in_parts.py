"""Summarize, classify and extract, for texts that are too long for one call."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from penstock_schemas.evidence import evidence_schema, leaves
from penstock_schemas.tasks import Classify, Extract, Summarize
from penstock_worker.documents.chunking import size
from penstock_worker.documents.merging import Merged as MergedValue
from penstock_worker.documents.merging import merge
from penstock_worker.documents.partial import filled, partial_schema
from penstock_worker.documents.voting import CLOSE_VOTE, Ballot, many_labels, one_label
from penstock_worker.tasks.definition import Task, Unusable
from penstock_worker.tasks.parts import InParts, Merged, Part, PartAnswer
from penstock_worker.tasks.quotes import check_quotes, found

_BYTES_PER_WORD: Final = 10
_WORDS: Final = (20, 400)
"""Of the notes on a part, at least and at most."""

_CONFLICTS_TOLD: Final = 10
_SCHEMAS_KEPT: Final = 64


def _place(part: Part) -> dict[str, str]:
    return {"number": str(part.number), "count": str(part.count)}


class SummarizeInParts(InParts[Summarize]):
    """Notes on each part, and a summary of the notes."""

    prompt = "summarize-part@1"
    join_prompt = "summarize-join@1"

    def variables(self, asked: Summarize, part: Part) -> Mapping[str, str]:
        """The place of the part, and the wishes but for length and style, which are the summary's."""
        wishes = self.task.variables(asked)
        least, most = _WORDS
        words = max(least, min(most, part.answer_bytes // _BYTES_PER_WORD))
        return {
            **_place(part),
            "max_words": str(words),
            "language": wishes["language"],
            "focus": wishes["focus"] if asked.focus else "Cover the part as a whole.",
        }

    def check(self, asked: Summarize, part: Part, output: Any) -> Sequence[str]:
        """Not empty, and short enough to be worth anything."""
        notes = output["summary"]
        if not notes.strip():
            raise Unusable("the notes are empty")
        if size(notes) > part.answer_bytes:
            raise Unusable(f"the notes have {len(notes.split())} words; write half as many")
        return ()

    def notes(self, asked: Summarize, output: Any) -> str:
        """As they were written."""
        return str(output["summary"])


class ClassifyInParts(InParts[Classify]):
    """Each part has a vote that weighs as much as it is long."""

    prompt = "classify-part@1"

    def schema(self, asked: Classify) -> dict[str, Any]:
        """That of the task; that a part says nothing of any label is an answer."""
        schema = self.task.schema(asked)
        labels = {**schema["properties"]["labels"], "minItems": 0}
        return {**schema, "properties": {**schema["properties"], "labels": labels}}

    def variables(self, asked: Classify, part: Part) -> Mapping[str, str]:
        """The place of the part, the labels, and how many may be chosen."""
        wishes = self.task.variables(asked)
        return {**_place(part), "labels": wishes["labels"], "how_many": wishes["how_many"]}

    def merge(self, asked: Classify, answers: Sequence[PartAnswer]) -> Merged:
        """The label with most votes, or all with enough; a close vote is doubtful."""
        ballots = [Ballot(answer.output["labels"], answer.part.bytes) for answer in answers]
        count = many_labels if asked.multi_label else one_label
        vote = count(ballots, asked.labels, none=asked.allow_none)
        if not vote.labels and not asked.allow_none:
            raise Unusable("no part of the text fits a label")
        return Merged({"labels": list(vote.labels)}, (CLOSE_VOTE,) if vote.close else ())


class ExtractInParts(InParts[Extract[Any]]):
    """What each part has of the schema's members, merged."""

    prompt = "extract-part@1"

    def __init__(self, task: Task[Extract[Any]], folder: Path) -> None:
        super().__init__(task, folder)
        self._made: OrderedDict[int, tuple[Extract[Any], dict[str, Any], str]] = OrderedDict()

    def schema(self, asked: Extract[Any]) -> dict[str, Any]:
        """The request's schema, in which nothing has to be there; with evidence, within another."""
        return self._schema(asked)[0]

    def variables(self, asked: Extract[Any], part: Part) -> Mapping[str, str]:
        """The place of the part, its schema as JSON, and what to mind."""
        instructions = self.task.variables(asked)["instructions"]
        return {**_place(part), "schema": self._schema(asked)[1], "instructions": instructions}

    def _schema(self, asked: Extract[Any]) -> tuple[dict[str, Any], str]:
        """The schema and its JSON; made once for all parts of a request."""
        made = self._made.get(id(asked))
        if made is None or made[0] is not asked:
            loose = partial_schema(asked.json_schema)
            schema = evidence_schema(loose) if asked.evidence else loose
            made = self._made[id(asked)] = asked, schema, orjson.dumps(schema).decode()
            if len(self._made) > _SCHEMAS_KEPT:
                self._made.popitem(last=False)
        return made[1], made[2]

    def check(self, asked: Extract[Any], part: Part, output: Any) -> Sequence[str]:
        """With evidence, each quote must occur in the part."""
        return check_quotes(part.text, output["value"], output["evidence"]) if asked.evidence else ()

    def merge(self, asked: Extract[Any], answers: Sequence[PartAnswer]) -> Merged:
        """By the rules of ``documents.merging``; places where parts contradict each other are doubtful."""
        outputs = [answer.output for answer in answers]
        merged = merge([each["value"] for each in outputs] if asked.evidence else outputs, asked.json_schema)
        value = filled(merged.value or {}, asked.json_schema)
        doubts = tuple(f"conflict:{path}" for path in merged.conflicts[:_CONFLICTS_TOLD])
        if not asked.evidence:
            return Merged(value, doubts)
        return Merged({"value": value, "evidence": _evidence(value, merged, outputs)}, doubts)


def _evidence(value: Any, merged: MergedValue, outputs: Sequence[Any]) -> list[dict[str, str]]:
    """The quotes for what is in the whole, under the paths that it has there."""
    evidence = []
    for path, leaf in leaves(value):
        if found(leaf):
            origin = merged.origins[path]
            quotes = [one["quote"] for one in outputs[origin.part]["evidence"] if one["path"] == origin.path]
            evidence += [{"path": path, "quote": quote} for quote in quotes]
    return evidence
