"""Logs hold ids, codes, counts and times; no prompt, no answer, no secret, whoever logs."""

import ast
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from penstock_worker.engine import core
from penstock_worker.engine.lease import about
from penstock_worker.logs import FIELDS, LIBRARIES, NOT_A_CODE, configure_logs

CANARY = "sk-canary-7f3a the patient's name is Jane"


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    """Where the logs of this test go; everything is as before after it."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level, {name: logging.getLogger(name).level for name in LIBRARIES})
    stream = io.StringIO()
    configure_logs(stream=stream, level=logging.DEBUG, pretty=False)
    yield stream
    structlog.reset_defaults()
    root.handlers[:], level, levels = before
    root.setLevel(level)
    for name, was in levels.items():
        logging.getLogger(name).setLevel(was)


def rows(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_field_that_is_not_listed_is_dropped(out: io.StringIO) -> None:
    """Also one that a new line of code brings along."""
    structlog.get_logger("penstock.test").info("attempt_ended", job_id="j1", calls=2, prompt=CANARY, answer=CANARY)
    (row,) = rows(out)
    assert set(row) <= FIELDS
    assert (row["event"], row["job_id"], row["calls"]) == ("attempt_ended", "j1", 2)
    assert "canary" not in out.getvalue()


@pytest.mark.parametrize("field", sorted(FIELDS - {"event", "timestamp", "logger", "exception", "what"}))
def test_a_listed_field_holds_an_id_or_a_code(out: io.StringIO, field: str) -> None:
    """A text by mistake in the right field does not get out either."""
    structlog.get_logger("penstock.test").info("attempt_ended", **{field: CANARY})
    structlog.get_logger("penstock.test").info("attempt_ended", **{field: "openai/gpt-4o-mini@1"})
    first, second = rows(out)
    assert first[field] == ("info" if field == "level" else NOT_A_CODE)
    assert second[field] == ("info" if field == "level" else "openai/gpt-4o-mini@1")


def test_bound_fields_are_sifted_too(out: io.StringIO) -> None:
    """What is bound once per attempt is on every line of it."""
    with structlog.contextvars.bound_contextvars(job_id="j1", text=CANARY):
        structlog.get_logger("penstock.test").info("attempt_ended")
    (row,) = rows(out)
    assert row["job_id"] == "j1"
    assert "canary" not in out.getvalue()


def test_an_exception_is_its_type_and_place(out: io.StringIO) -> None:
    """Its message may hold anything; so may those it came from."""
    try:
        try:
            raise ValueError(CANARY)
        except ValueError as error:
            raise RuntimeError(f"while doing: {CANARY}") from error
    except RuntimeError:
        structlog.get_logger("penstock.test").exception("attempt_crashed", job_id="j1")
    (row,) = rows(out)
    assert row["exception"].startswith("RuntimeError <- test_logs.py:")
    assert "canary" not in out.getvalue()


@pytest.mark.parametrize("name", [*LIBRARIES, "somebody.else", "penstock_worker.engine.worker"])
def test_a_librarys_words_are_replaced_by_their_place(out: io.StringIO, name: str) -> None:
    """Message, arguments, extra fields, exception and stack. Those that the client silences say nothing at all."""
    logger = logging.getLogger(name)
    try:
        raise ValueError(CANARY)
    except ValueError:
        logger.error("%s failed: %s", CANARY, {"key": CANARY}, exc_info=True, extra={"body": CANARY})
    logger.error(CANARY, stack_info=True)
    assert "canary" not in out.getvalue()
    assert "Jane" not in out.getvalue()
    if name in ("arq", "redis", "somebody.else", "penstock_worker.engine.worker"):
        first, second = rows(out)
        assert first["event"] == second["event"] == "library_message"
        assert first["what"].startswith(f"{name} test_logs:")
        assert first["exception"].startswith("ValueError <- ")


def test_the_engine_tells_events_by_name(out: io.StringIO) -> None:
    """With the job it is about, and without its text, which is for those who use the engine alone."""
    record = logging.LogRecord(
        "arq.worker", logging.WARNING, core.__file__, 1, "job %s could not be handed back: %s", ("j1", CANARY), None
    )
    vars(record).update(about("hand_back_failed", "j1", count=3, body=CANARY))
    logging.getLogger("arq.worker").handle(record)
    (row,) = rows(out)
    assert (row["event"], row["job_id"], row["count"]) == ("hand_back_failed", "j1", 3)
    assert "canary" not in out.getvalue()


def test_every_warning_of_the_engine_has_a_name() -> None:
    """Else it would be a library's message."""
    for path in sorted(Path(core.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in LOUD:
                assert any(keyword.arg == "extra" for keyword in node.keywords), f"{path.name}:{node.lineno}"


LOUD = {f"logger.{level}" for level in ("warning", "error", "exception", "critical")}


def test_chatty_libraries_are_heard_from_warnings_on(out: io.StringIO) -> None:
    """A line for every request would drown what matters."""
    for name in LIBRARIES:
        logging.getLogger(name).info("noise")
    assert out.getvalue() == ""


def test_a_warning_of_python_is_sifted(out: io.StringIO) -> None:
    """Through the logging module's own capture, when somebody turns it on."""
    logging.getLogger("py.warnings").warning("%s", CANARY)
    assert "canary" not in out.getvalue()


def test_columns_hold_no_more_than_json(out: io.StringIO) -> None:
    """A terminal is a place like any other."""
    pretty = io.StringIO()
    configure_logs(stream=pretty, pretty=True)
    structlog.get_logger("penstock.test").warning("attempt_ended", job_id="j1", prompt=CANARY)
    logging.getLogger("redis").error(CANARY)
    assert "attempt_ended" in pretty.getvalue()
    assert "j1" in pretty.getvalue()
    assert "canary" not in pretty.getvalue()


def test_configuring_twice_logs_once(out: io.StringIO) -> None:
    """A repeat replaces the set-up."""
    again = io.StringIO()
    configure_logs(stream=again, pretty=False)
    structlog.get_logger("penstock.test").info("worker_started")
    assert len(rows(again)) == 1
    assert out.getvalue() == ""
