"""Logs: events with fixed names and fields, one JSON object a line, readable columns on a terminal.

What may be logged is listed: ids, codes, counts, times. A field that is not on the list is dropped, and so is a text
that is neither an id nor a code, so that no prompt, answer or secret gets out by a new field, by a wrong value, or by
a library's own message.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

FIELDS = frozenset(
    word
    for line in (
        "event level timestamp logger exception what",
        "job_id tenant lane task run attempt call deaths",
        "target prompt outcome reason code error state",
        "delay_s took_ms stall_s count calls held lost refused restarts cost_nanousd uncertain_nanousd",
        "worker_id index pid port concurrency processes lanes routes tasks function version",
        "redis policy signal exit_code scope window",
    )
    for word in line.split()
)
"""The fields that may appear; ``exception`` holds types and places, never messages."""

_WORDS = frozenset(("event", "timestamp", "logger", "exception", "what"))
"""Fields whose texts are made here or stand in the code."""

_ENGINE = str(Path(__file__).parent / "engine") + os.sep

_CODE = re.compile(r"[A-Za-z0-9_.:,/@+-]{0,128}")
"""What the texts of all other fields look like: ids, names of targets and prompts, codes."""

NOT_A_CODE = "(left out)"

LIBRARIES = ("arq", "httpx", "httpcore", "aiohttp", "redis", "asyncio", "openai", "uvicorn", "json_repair")


def configure_logs(*, stream: TextIO | None = None, level: int = logging.INFO, pretty: bool | None = None) -> None:
    """Set structlog and the standard library's loggers up for this process; a repeat replaces the set-up.

    *pretty* None: columns where *stream* (standard error by default) is a terminal, JSON otherwise.
    """
    out = stream or sys.stderr
    columns = out.isatty() if pretty is None else pretty
    render: Processor = structlog.dev.ConsoleRenderer() if columns else structlog.processors.JSONRenderer(_dumps)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _with_ids,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _exception_places,
        only_listed_fields,
    ]
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda name="": _NamedWriter(out, name),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_foreign_event, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)


_IDS: ContextVar[Mapping[str, Any]] = ContextVar("penstock_log_ids", default=MappingProxyType({}))


def bind(**ids: Any) -> None:
    """Put *ids* into all that this task, and what it starts, logs from now on."""
    _IDS.set({**_IDS.get(), **ids})


def _with_ids(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {**_IDS.get(), **event}


class _NamedWriter(structlog.WriteLogger):
    """Writes lines of our own straight to the stream: the standard library's way costs four times as much."""

    def __init__(self, out: TextIO, name: str) -> None:
        super().__init__(out)
        self.name = name


def _dumps(event: EventDict, **_: Any) -> str:
    return orjson.dumps(event, default=repr).decode()


def only_listed_fields(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Drop every field that is not on the list, and texts that are no codes."""
    return {name: _shown(name, value) for name, value in event.items() if name in FIELDS or name.startswith("_")}


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, str) and name not in _WORDS and not name.startswith("_") and not _CODE.fullmatch(value):
        return NOT_A_CODE
    return value


def _exception_places(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """An exception as its type and where it was raised; its message may hold anything."""
    info: Any = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["exception"] = " <- ".join(_places(error))
    return event


def _places(error: BaseException) -> list[str]:
    places, trace = [type(error).__name__], error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.insert(1, f"{code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return places[:8]


def _foreign_event(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A library's own message is replaced by where it came from; its text and arguments may hold anything.

    The engine, which is used without these logs too, tells an event's name and its fields beside the text.
    """
    record = event.get("_record")
    if isinstance(record, logging.LogRecord):
        if record.pathname.startswith(_ENGINE) and "event" in vars(record):
            event.update((name, value) for name, value in vars(record).items() if name in FIELDS - {"exception"})
        else:
            event["event"] = "library_message"
            event["what"] = f"{record.name} {record.module}:{record.lineno}"
        if record.exc_info:
            event["exc_info"] = record.exc_info
    return event
