"""The JSON Schemas for other languages: fresh, valid, and true of what is really written."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from penstock import Classify, Extract, InvalidRequestError, JobNotFoundError, QueueFullError, RequestError, Summarize
from penstock.requests import check_options, check_request, read_input
from penstock_schemas.events import Event
from penstock_schemas.limits import Limits
from penstock_schemas.results import JobFailure, JobResult, MadeBy, Quality, Usage, moment

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "schemas" / "json"
FILES = sorted(FOLDER.glob("*.json"))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The script, by this interpreter."""
    command = [sys.executable, str(ROOT / "scripts" / "export-schemas"), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def validator(name: str) -> Draft202012Validator:
    """A validator for the schema in the file of this name."""
    return Draft202012Validator(json.loads((FOLDER / f"{name}.json").read_text()))


def test_the_files_are_what_the_contracts_say() -> None:
    """A change of a contract comes with its schema."""
    checked = run("--check")
    assert checked.returncode == 0, checked.stderr


def test_the_check_finds_what_is_stale_missing_or_left_over(tmp_path: Path) -> None:
    """And exporting mends all three."""
    assert run("--to", str(tmp_path)).returncode == 0
    assert run("--check", "--to", str(tmp_path)).returncode == 0
    (tmp_path / "event.json").write_text("{}")
    (tmp_path / "usage.json").unlink()
    (tmp_path / "old.json").write_text("{}")
    checked = run("--check", "--to", str(tmp_path))
    assert checked.returncode == 1
    assert {line.split()[0] for line in checked.stderr.splitlines()} == {"event.json", "usage.json", "old.json"}
    assert run("--to", str(tmp_path)).returncode == 0
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {p.name: p.read_text() for p in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_is_a_schema_that_forbids_extras_and_describes_its_fields(path: Path) -> None:
    """For the dialect it names; an error may carry more with time."""
    schema = json.loads(path.read_text())
    Draft202012Validator.check_schema(schema)
    if path.stem != "error":
        assert schema["additionalProperties"] is False
    assert schema["title"]
    assert "None" not in path.read_text()
    assert not validator(path.stem).is_valid([])


@pytest.mark.parametrize(
    "asked",
    [
        Summarize(text="x", language="German"),
        Classify(text="x", labels={"a": "about", "b": None}),
        Extract(text="x", schema={"type": "object"}, instructions="Mind it."),
    ],
    ids=lambda asked: asked.task,
)
def test_what_is_enqueued_satisfies_its_schema(asked: Any) -> None:
    """The request as Redis holds it, and the input in it."""
    options = {"deadline_s": 60, "max_cost_usd": "0.02", "metadata": {"a": "b"}}
    request = json.loads(check_request(asked, check_options("acme", options), Limits()).body)
    validator("request").validate(request)
    validator(f"{asked.task}-input").validate(request["input"])
    for wrong in ({**request, "status": "done"}, {**request, "lane": "urgent"}, {**request, "deadline_s": 0}):
        assert not validator("request").is_valid(wrong)


@pytest.mark.parametrize(
    ("task", "fields", "fits"),
    [
        ("summarize", {"text": "x"}, True),
        ("summarize", {"text": "x", "max_words": 4}, False),
        ("summarize", {"text": "x", "style": "haiku"}, False),
        ("summarize", {}, False),
        ("classify", {"text": "x", "labels": ["a", "b"]}, True),
        ("classify", {"text": "x", "labels": {"a": "about"}}, True),
        ("classify", {"text": "x", "labels": []}, False),
        ("classify", {"text": "x", "labels": {}}, False),
        ("classify", {"text": "x", "labels": "a"}, False),
        ("extract", {"text": "x", "schema": {"type": "object"}}, True),
        ("extract", {"text": "x", "schema": []}, False),
        ("extract", {"text": "x", "schema": {"type": "object"}, "more": 1}, False),
    ],
)
def test_the_schema_of_an_input_takes_what_the_constructor_takes(task: str, fields: Any, fits: bool) -> None:
    """Checked on both sides."""
    assert validator(f"{task}-input").is_valid(fields) == fits
    if fits:
        read_input(task, json.dumps(fields))
    else:
        with pytest.raises(RequestError):
            read_input(task, json.dumps(fields))


def test_what_is_written_satisfies_its_schema() -> None:
    """A result with and without a failure, its usage, an event, an error."""
    failure = JobFailure(code="attempts_exhausted", message="No model gave an answer.")
    result = JobResult[Any](
        job_id="a" * 32,
        task="summarize",
        tenant="acme",
        run=1,
        state="degraded",
        quality=Quality.SUSPECT,
        reasons=("degraded",),
        failure=failure,
        output={"summary": "Short."},
        made_by=MadeBy(kind="fallback", name="extractive@1"),
        attempts=5,
        calls=5,
        usage=Usage(input_tokens=10),
        cost_nanousd=None,
        created_at=moment(0),
        started_at=moment(1),
        ended_at=moment(2),
    )
    plain = result.model_dump(mode="json")
    validator("result").validate(plain)
    validator("usage").validate(plain["usage"])
    validator("failure").validate(plain["failure"])
    validator("summarize-output").validate(plain["output"])
    assert not validator("result").is_valid({**plain, "quality": "fine"})
    event = Event(id="1-1", type="delta", at=moment(1), run=1, data={"text": "x"})
    validator("event").validate(event.model_dump(mode="json"))
    assert not validator("event").is_valid({**event.model_dump(mode="json"), "type": "woken"})
    for error in (
        InvalidRequestError("is wrong", field="input.text"),
        JobNotFoundError("a" * 32),
        QueueFullError("full", retry_after_s=5),
    ):
        validator("error").validate(json.loads(json.dumps(error.as_dict())))
