"""Its tools write a line into the file that ``DESK_LOG`` names each time they are really called."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from penstock_worker.tasks import Task, task
from penstock_worker.tools import ToolContext, ToolError, tool
from tests.support.desk.contract import Letter

LOG = "DESK_LOG"
TOOLS = ["lookup_order", "refund", "slow", "slow_refund", "broken", "told", "long", "plain"]


class OrderQuery(BaseModel):
    """Which order."""

    order_id: str = Field(max_length=8)
    note: str | None = None


def called(what: str) -> None:
    """Note that something was really called."""
    with Path(os.environ[LOG]).open("a") as log:
        log.write(f"{what}\n")


@tool(timeout_s=5)
async def lookup_order(args: OrderQuery) -> dict[str, str]:
    """Find an order by its id."""
    called(f"lookup_order {args.order_id}")
    return {"order_id": args.order_id, "state": "shipped"}


@tool(timeout_s=5, read_only=False)
async def refund(args: OrderQuery, context: ToolContext) -> str:
    """Give the money back."""
    called(f"refund {args.order_id} {context.tenant} {context.key}")
    return "refunded"


@tool(timeout_s=0.05)
async def slow(args: OrderQuery) -> str:
    """Take for ever."""
    await asyncio.get_running_loop().create_future()
    return "never"


@tool(timeout_s=0.05, read_only=False)
def slow_refund(args: OrderQuery) -> str:
    """Give the money back, some day."""
    called(f"slow_refund {args.order_id}")
    time.sleep(0.5)
    return "refunded"


@tool()
async def broken(args: OrderQuery) -> str:
    """Fail with a secret in the exception."""
    raise RuntimeError("password=hunter2")


@tool()
def told(args: OrderQuery) -> str:
    """Fail with words for the model."""
    raise ToolError("that order is archived")


@tool(max_result_bytes=10)
def long(args: OrderQuery) -> str:
    """Say more than may be said."""
    return "é" * 20


@tool()
def plain(args: OrderQuery) -> Any:
    """Return what is no JSON."""
    return object()


@task(Letter, prompt="reply@1", tools=TOOLS, tool_rounds=3, tool_calls=4)
class DeskTask(Task[Letter]):
    """Answers letters."""
