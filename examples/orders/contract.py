"""What is asked for and what comes back. Shared by services and workers, so it needs nothing but ``penstock``."""

from pydantic import BaseModel, Field

from penstock import TaskInput


class Reply(BaseModel):
    """The output of reply."""

    answer: str = Field(min_length=1)
    order_id: str | None
    """The order that the letter is about; None when it cannot be told."""


class Letter(TaskInput[Reply]):
    """A customer's letter."""

    task = "reply"

    text: str = Field(min_length=1)
