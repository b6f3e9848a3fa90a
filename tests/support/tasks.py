"""Tasks of one's own, as a service would define them."""

from typing import Any

from pydantic import BaseModel, Field

from penstock import TaskInput


class Translation(BaseModel):
    """The output of reword."""

    text: str
    language: str


class Translate(TaskInput[Translation]):
    """A text in another language, with whatever a service wants to say about it."""

    task = "reword"

    text: str
    language: str = "German"
    about: Any = None
    tags: list[str] = Field(default_factory=list)
