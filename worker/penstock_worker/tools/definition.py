"""What a worker has to know of a tool: a function of yours that a model may ask to have called.

    from pydantic import BaseModel
    from penstock_worker.tools import tool

    class OrderQuery(BaseModel):
        order_id: str

    @tool(timeout_s=5)
    async def lookup_order(args: OrderQuery) -> dict[str, str]:
        '''Find an order by its id.'''
        return await orders.find(args.order_id)

A task names the tools it offers, ``@task(..., tools=["lookup_order"])``; nothing else can be called. The docstring and
the arguments' JSON Schema are what the model is told. A function that is not async runs in a thread.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from penstock_schemas.errors import ConfigurationError
from penstock_worker.llm.port import ToolSpec

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

TIMEOUT_S = 10.0
MAX_RESULT_BYTES = 16 * 1024
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


class ToolError(Exception):
    """Raise it in a tool to tell the model what was wrong: its text goes to the model, bounded; no other's does."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """For whom a tool is called; a tool that has a second parameter of this type gets it."""

    job_id: str
    tenant: str
    key: str
    """The same for equal arguments of this tool in this job, in every attempt and run: an idempotency key."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A registered tool."""

    spec: ToolSpec
    args_type: type[BaseModel]
    function: Callable[..., Any]
    timeout_s: float
    read_only: bool
    """False: it changes something, and is begun at most once for equal arguments in a job."""
    max_result_bytes: int
    wants_context: bool

    @property
    def name(self) -> str:
        """What the model calls it by."""
        return self.spec.name


_registry: dict[str, Tool] = {}


def tool(
    *,
    timeout_s: float = TIMEOUT_S,
    read_only: bool = True,
    name: str | None = None,
    max_result_bytes: int = MAX_RESULT_BYTES,
) -> Callable[[FunctionT], FunctionT]:
    """Register a function of one pydantic model (and, if it likes, a :class:`ToolContext`) as a tool; returns it.

    *timeout_s*: seconds that one call may take; a function that is not async goes on in its thread, unheard.
    *read_only* True: calling it twice does no harm. A tool that changes something must say False: it is begun at
    most once for equal arguments in a job, and a call whose end nobody saw is never made again. *name* None takes
    the function's. *max_result_bytes* of the result reach the model, the rest is cut.

    Raises ConfigurationError for a second tool of the same name, for a function without a docstring, and for
    parameters that are not these.
    """

    def register(function: FunctionT) -> FunctionT:
        label = name or function.__name__
        if timeout_s <= 0 or max_result_bytes < 1:
            raise ConfigurationError(f"tool {label}", "timeout_s and max_result_bytes must be above 0")
        made = _make(label, function, timeout_s, read_only, max_result_bytes)
        known = _registry.get(label)
        if known is not None and known.function.__qualname__ != function.__qualname__:
            raise ConfigurationError(f"tool {label}", f"is already the name of {known.function.__qualname__}")
        _registry[label] = made
        return function

    return register


def tools() -> Mapping[str, Tool]:
    """The tools registered in this process, by name."""
    return _registry


def tools_named(names: Iterable[str]) -> tuple[Tool, ...]:
    """The tools of these names. Raises ConfigurationError for one that is not registered."""
    missing = sorted(set(names) - _registry.keys())
    if missing:
        known = ", ".join(sorted(_registry)) or "none"
        raise ConfigurationError(
            "tools", f"there is no tool {missing[0]!r} in the modules of worker.tasks; known: {known}"
        )
    return tuple(_registry[name] for name in names)


def _make(name: str, function: Callable[..., Any], timeout_s: float, read_only: bool, max_result_bytes: int) -> Tool:
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"tool {name}", "a name is of letters, digits, _ and -, at most 64 of them")
    about = inspect.getdoc(function)
    if not about:
        raise ConfigurationError(f"tool {name}", "has no docstring, which is what the model is told of it")
    args_type, wants_context = _parameters(name, function)
    schema = args_type.model_json_schema()
    spec = ToolSpec(name, about, {key: value for key, value in schema.items() if key not in ("title", "description")})
    return Tool(spec, args_type, function, timeout_s, read_only, max_result_bytes, wants_context)


def _parameters(name: str, function: Callable[..., Any]) -> tuple[type[BaseModel], bool]:
    wanted = ConfigurationError(f"tool {name}", "takes one pydantic model, and after it a ToolContext if it likes")
    try:
        hints = typing.get_type_hints(function)
    except NameError as error:
        raise ConfigurationError(f"tool {name}", f"has a type that cannot be found: {error}") from None
    kinds = [hints.get(parameter) for parameter in inspect.signature(function).parameters]
    if not kinds or not (isinstance(kinds[0], type) and issubclass(kinds[0], BaseModel)):
        raise wanted
    if len(kinds) > 2 or (len(kinds) == 2 and kinds[1] is not ToolContext):
        raise wanted
    return kinds[0], len(kinds) == 2
