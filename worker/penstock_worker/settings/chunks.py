"""The part of a route's settings that is about texts too long for one call."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from penstock_store.settings import Section


class RouteChunks(Section):
    """When a text is worked on in parts, and how. Tokens are counted as a third of a byte each, whatever the model."""

    max_input_tokens: int | None = Field(default=None, ge=200, le=10_000_000)
    """A text of more is worked on in parts; None: one of more than ``chunk_tokens``, and without that one that does not
    fit the window of any target."""
    chunk_tokens: int | None = Field(default=None, ge=200, le=1_000_000)
    """Size of a part, its overlap included; None: 8,000, or less where ``max_input_tokens`` or a window is less."""
    chunk_overlap_tokens: int = Field(default=100, ge=0, le=100_000)
    """How much of the part before each repeats, in whole sentences; at most a fourth of a part."""
    chunks_at_once: int = Field(default=4, ge=1, le=100)
    """Calls for the parts of one job in flight at the same time."""

    @model_validator(mode="after")
    def _chunks_fit(self) -> Self:
        if self.chunk_tokens and self.max_input_tokens and self.chunk_tokens > self.max_input_tokens:
            raise ValueError(
                f"chunk_tokens ({self.chunk_tokens}) must not be above max_input_tokens ({self.max_input_tokens})"
            )
        return self
