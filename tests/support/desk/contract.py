"""What the desk is asked and what it gives back."""

from pydantic import BaseModel

from penstock_schemas.tasks import TaskInput


class Reply(BaseModel):
    """The output of reply."""

    answer: str


class Letter(TaskInput[Reply]):
    """A letter about an order."""

    task = "desk_of_tests"

    text: str
