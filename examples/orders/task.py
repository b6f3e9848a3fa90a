"""How a worker does it: two tools, of which one changes something, and the task that offers them."""

from pydantic import BaseModel, Field

from orders.contract import Letter
from penstock_worker.tasks import Task, task
from penstock_worker.tools import ToolContext, ToolError, tool

ORDERS = {"8812": "shipped on Monday", "8813": "waiting for payment"}  # in real life: your database


class Order(BaseModel):
    """The arguments of both tools; the model is told this schema, and anything else is not let through."""

    order_id: str = Field(pattern=r"^\d{4}$", description="four digits")


@tool(timeout_s=5)
async def lookup_order(args: Order) -> dict[str, str]:
    """Say what state an order is in."""
    if args.order_id not in ORDERS:
        raise ToolError("there is no order of that number")  # these words reach the model; no other exception's do
    return {"order_id": args.order_id, "state": ORDERS[args.order_id]}


@tool(timeout_s=10, read_only=False)
def cancel_order(args: Order, context: ToolContext) -> str:
    """Cancel an order that has not been shipped."""
    if ORDERS.get(args.order_id) != "waiting for payment":
        raise ToolError("only an order that waits for payment can be cancelled")
    # context.key is the same whenever this job asks for the same: hand it to what you call as its idempotency key.
    return f"cancelled, reference {context.key[:8]}"


@task(Letter, prompt="reply@1", tools=["lookup_order", "cancel_order"], tool_rounds=4)
class ReplyTask(Task[Letter]):
    """The answer is checked against its schema, whatever the tools said. There is no fallback worth having."""
