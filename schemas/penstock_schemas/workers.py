"""What a worker process tells of itself while it lives."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

REPORT_TTL_S = 30.0
"""How long a report is believed; it is renewed three times in that time."""


class WorkerReport(BaseModel):
    """One worker process. A reader lets fields through that it does not know."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    host: str
    pid: int
    started_at: AwareDatetime
    """By Redis' clock."""
    version: str
    concurrency: int = Field(ge=1)
    """The most jobs that it runs at one time."""
    held: int = Field(ge=0)
    """Jobs that it held a lease on."""
    lanes: list[str]
    """The lanes that it serves."""
    why_not: str | None = None
    """Why it does not take jobs, such as ``stopping``; None: it does."""
