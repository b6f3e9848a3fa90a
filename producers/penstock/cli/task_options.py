"""Options that say what a task is to do, and how its job is to be treated; shared by ``run`` and ``enqueue``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from penstock.cli.parsing import duration_s, file_text, key_values, labels_of
from penstock.requests import parse_input
from penstock_schemas.limits import Limits
from penstock_schemas.strict_json import StrictJsonError, loads_strict
from penstock_schemas.tasks import TaskInput, task_input

TaskName = Annotated[str, typer.Argument(metavar="TASK", help="summarize, classify or extract")]

MaxWords = Annotated[int | None, typer.Option("--max-words", metavar="N", help="summarize: at most so many words")]
Style = Annotated[str | None, typer.Option("--style", metavar="STYLE", help="summarize: paragraph or bullets")]
Language = Annotated[str | None, typer.Option("--language", metavar="NAME", help="summarize: in this language")]
Focus = Annotated[str | None, typer.Option("--focus", metavar="TEXT", help="summarize: what the reader cares about")]
LabelsOption = Annotated[
    list[str] | None,
    typer.Option("--labels", metavar="A,B,...", help="classify: labels; or name=description, once for each"),
]
MultiLabel = Annotated[bool, typer.Option("--multi-label", help="classify: every label that fits, not the best one")]
AllowNone = Annotated[bool, typer.Option("--allow-none", help="classify: none of these is an answer too")]
Schema = Annotated[str | None, typer.Option("--schema", metavar="FILE", help="extract: JSON Schema of the answer")]
Instructions = Annotated[str | None, typer.Option("--instructions", metavar="TEXT", help="extract: what to mind")]
EvidenceOption = Annotated[bool, typer.Option("--evidence", help="extract: with each value a quote that the text has")]

LaneOption = Annotated[str | None, typer.Option("--lane", metavar="LANE", help="interactive, standard or bulk")]
Priority = Annotated[
    int | None, typer.Option("--priority", metavar="N", help="0 to 9, the higher goes first; 4 if left out")
]
Deadline = Annotated[
    str | None, typer.Option("--deadline", metavar="TIME", help="after which nobody wants the answer, such as 2m")
]
MaxAttempts = Annotated[int | None, typer.Option("--max-attempts", metavar="N", help="attempts that may fail, 1 to 20")]
MaxCost = Annotated[
    str | None, typer.Option("--max-cost", metavar="USD", help="the most that a job's calls may cost, such as 0.02")
]
MaxTotalTokens = Annotated[
    int | None, typer.Option("--max-total-tokens", metavar="N", help="the most tokens that a job's calls may take")
]
MaxOutputTokens = Annotated[
    int | None, typer.Option("--max-output-tokens", metavar="N", help="the cap of one answer, below the route's")
]
User = Annotated[str | None, typer.Option("--user", metavar="ID", help="on whose behalf, such as ann@example.com")]
OnFailure = Annotated[
    str | None,
    typer.Option("--on-failure", metavar="HOW", help="degrade (an answer of no model, labelled so) or dead_letter"),
]
Metadata = Annotated[
    list[str] | None, typer.Option("--metadata", metavar="KEY=VALUE", help="a note kept with the job; repeatable")
]
DurabilityOption = Annotated[
    str | None,
    typer.Option(
        "--durability", metavar="HOW", help="replica: accepted once a replica has it too; fsync: once it is on disk"
    ),
]
IdempotencyKey = Annotated[
    str | None, typer.Option("--idempotency-key", metavar="KEY", help="the same key gives the same job")
]

_OF_TASK = {
    "summarize": ("max_words", "style", "language", "focus"),
    "classify": ("labels", "multi_label", "allow_none"),
    "extract": ("schema", "instructions", "evidence"),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the options ask of every text of this invocation."""

    task: str
    fields: Mapping[str, Any]
    """Fields of the task's input, without the text."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of the jobs."""

    def of_text(self, text: str) -> TaskInput[Any]:
        """The task's input for a text. Raises a RequestError that names the field at fault."""
        return parse_input(self.task, {"text": text, **self.fields})

    def of_object(self, given: Mapping[str, Any]) -> TaskInput[Any]:
        """The task's input from an object; its own fields win over the options."""
        return parse_input(self.task, {**self.fields, **given})


def asked_of(task: str, params: Mapping[str, Any]) -> Asked:
    """From all of the command's parameters. An option of another task is wrong usage.

    Raises UnknownTaskError, BadParameter.
    """
    task_input(task)
    for other, names in _OF_TASK.items():
        wrong = [name for name in names if params.get(name) and other != task]
        if wrong:
            raise typer.BadParameter(f"--{wrong[0].replace('_', '-')} belongs to {other}, not to {task}")
    given = {name: params[name] for name in _OF_TASK.get(task, ()) if params.get(name)}
    if "labels" in given:
        given["labels"] = labels_of(given["labels"])
    if "schema" in given:
        given["schema"] = _json_file(given["schema"], "--schema")
    return Asked(task, given, _job_options(params))


def _job_options(params: Mapping[str, Any]) -> dict[str, Any]:
    options = {
        "lane": params.get("lane"),
        "priority": params.get("priority"),
        "deadline_s": duration_s(params["deadline"]) if params.get("deadline") else None,
        "max_attempts": params.get("max_attempts"),
        "max_cost_usd": params.get("max_cost"),
        "max_total_tokens": params.get("max_total_tokens"),
        "max_output_tokens": params.get("max_output_tokens"),
        "user": params.get("user"),
        "on_failure": params.get("on_failure"),
        "durability": params.get("durability"),
        "metadata": key_values(params["metadata"], "--metadata") if params.get("metadata") else None,
    }
    return {name: value for name, value in options.items() if value is not None}


def json_object(text: str, where: str) -> dict[str, Any]:
    """A JSON object, read strictly. Raises BadParameter that names *where*."""
    try:
        value = loads_strict(text, max_bytes=Limits().request_bytes)
    except StrictJsonError as error:
        raise typer.BadParameter(f"{where} is not JSON: {error.message}") from None
    if not isinstance(value, dict):
        raise typer.BadParameter(f"{where} is not a JSON object but {json.dumps(value)[:40]}")
    return value


def _json_file(path: str, option: str) -> dict[str, Any]:
    return json_object(file_text(path), f"{option} {path}")
