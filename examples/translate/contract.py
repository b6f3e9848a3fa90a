"""What is asked for and what comes back. Shared by services and workers, so it needs nothing but ``penstock``."""

from pydantic import BaseModel, Field

from penstock import TaskInput


class Translation(BaseModel):
    """The output of translate."""

    text: str = Field(min_length=1)


class Translate(TaskInput[Translation]):
    """The same text in another language."""

    task = "translate"

    text: str = Field(min_length=1)
    language: str = Field(min_length=2, max_length=40)
    glossary: dict[str, str] = Field(default_factory=dict)
    """Terms that have to be translated so, and not otherwise."""
