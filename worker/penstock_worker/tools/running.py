"""One call of a tool, from the model's words to an answer for the model; whatever happens is a value.

Arguments are checked by the tool's pydantic model before anything is called. What a tool returns is data of somebody
else: it goes back between two random marks, bounded. What went wrong is told in a closed set of codes; the text of an
exception is not, unless the tool raised it for the model (:class:`~penstock_worker.tools.definition.ToolError`).
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import hashlib
import inspect
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import orjson
import pydantic_core
import structlog
from pydantic import BaseModel, ValidationError

from penstock_worker.llm.absent import drop_absent
from penstock_worker.llm.errors import bounded
from penstock_worker.prompts.prompt import fenced
from penstock_worker.tools.definition import Tool, ToolContext, ToolError

log = structlog.get_logger("penstock.tools")

Code = Literal[
    "ok", "unknown_tool", "invalid_arguments", "too_many_calls", "timed_out", "tool_failed", "outcome_unknown"
]

MAX_ARGUMENT_BYTES = 64 * 1024
MAX_MESSAGE_BYTES = 1024
THREADS = 32
"""Calls of functions that are not async, at one time in a process; more wait, within their time limit."""


class ToolAnswer(NamedTuple):
    """What the model is told of a call."""

    code: Code
    text: str
    ms: int = 0

    @property
    def failed(self) -> bool:
        """Whether it tells of an error."""
        return self.code != "ok"


class Checked(NamedTuple):
    """Arguments that fit."""

    value: BaseModel
    digest: str
    """Of tool and arguments: equal for equal ones."""

    @property
    def mark(self) -> str:
        """Under what the journal of a job has that it was begun."""
        return f"tool:{self.digest}"


def check(tool: Tool, arguments: str) -> Checked | ToolAnswer:
    """The arguments as the tool takes them, or what is wrong with them."""
    if len(arguments.encode("utf-8", "replace")) > MAX_ARGUMENT_BYTES:
        return refused("invalid_arguments", f"The arguments are larger than {MAX_ARGUMENT_BYTES} bytes.")
    try:
        plain = orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:
        return refused("invalid_arguments", "The arguments are not valid JSON.")
    try:
        plain = drop_absent(plain, tool.spec.parameters)
        value = tool.args_type.model_validate(plain)
    except ValidationError as error:
        return refused("invalid_arguments", _faults(error))
    canonical = orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)
    return Checked(value, hashlib.sha256(f"{tool.name}\0".encode() + canonical).hexdigest()[:32])


def refused(code: Code, message: str) -> ToolAnswer:
    """An error in our own words."""
    return ToolAnswer(code, orjson.dumps({"error": code, "message": bounded(message, MAX_MESSAGE_BYTES)}).decode())


class ToolRunner:
    """Calls tools; one per worker process."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(THREADS)

    async def run(self, tool: Tool, args: BaseModel, context: ToolContext, limit_s: float | None = None) -> ToolAnswer:
        """Call *tool*, for at most its own time limit and *limit_s* (None: no other). Raises only what cancels it."""
        began = time.monotonic()
        answer = await self._run(tool, args, context, min(tool.timeout_s, limit_s or tool.timeout_s))
        return answer._replace(ms=round((time.monotonic() - began) * 1000))

    async def _run(self, tool: Tool, args: BaseModel, context: ToolContext, limit_s: float) -> ToolAnswer:
        try:
            async with asyncio.timeout(limit_s):
                result = await self._call(tool, (args, context) if tool.wants_context else (args,))
            return ToolAnswer("ok", _told(result, tool.max_result_bytes))
        except TimeoutError:
            return _too_late(tool)
        except ToolError as error:
            return refused("tool_failed", str(error) or "The tool failed.")
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
        except Exception:
            log.exception("tool_failed", tool=tool.name)
        return refused("tool_failed", "The tool failed.")

    async def _call(self, tool: Tool, given: tuple[Any, ...]) -> Any:
        if inspect.iscoroutinefunction(tool.function):
            return await tool.function(*given)
        await self._room.acquire()
        call = partial(contextvars.copy_context().run, tool.function, *given)
        return await in_thread(call, done=self._room.release)


async def in_thread(call: Callable[[], Any], *, done: Callable[[], None]) -> Any:
    """What *call* returns or raises, in a thread of its own; *done* is called in the loop when it has ended.

    The thread is a daemon: one that hangs is given up with the call, and does not keep the process from its end.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def finish(result: Any, error: BaseException | None) -> None:
        done()
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    def run() -> None:
        result, error = None, None
        try:
            result = call()
        except BaseException as raised:
            error = RuntimeError("StopIteration") if isinstance(raised, StopIteration) else raised
        with contextlib.suppress(RuntimeError):  # the loop is gone
            loop.call_soon_threadsafe(finish, result, error)

    threading.Thread(target=run, daemon=True, name="penstock-tool").start()
    return await future


def _too_late(tool: Tool) -> ToolAnswer:
    if tool.read_only:
        return refused("timed_out", "The tool did not answer in time.")
    return unknown_end()


def unknown_end() -> ToolAnswer:
    """For a tool that changes something, was begun, and whose end nobody saw."""
    text = "It was begun, and it is not known whether it took effect. It is not called again with these arguments."
    return refused("outcome_unknown", text)


def _told(result: Any, max_bytes: int) -> str:
    """A result as the model gets it. Raises what pydantic raises for a value that is no JSON."""
    plain = result if isinstance(result, str) else pydantic_core.to_json(result).decode()
    raw = plain.encode("utf-8", "replace")
    if len(raw) <= max_bytes:
        return fenced(raw.decode(), what="The tool's result")
    cut = raw[:max_bytes].decode("utf-8", "ignore")
    return fenced(cut, what=f"The first {max_bytes} of {len(raw)} bytes of the tool's result")


def _faults(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    lines = [f"{'.'.join(map(str, fault['loc'])) or 'arguments'}: {fault['msg']}" for fault in faults[:8]]
    return "The arguments do not fit. " + "; ".join(lines)
