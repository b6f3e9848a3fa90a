"""What ``penstock health`` takes from the configuration when it is not told a port."""

from __future__ import annotations

from pydantic import BaseModel, Field

from penstock_store.command import CommandOptions
from penstock_store.settings import SharedSettings, read_settings


class _Worker(BaseModel):
    """The part of the worker's section that concerns its ports; the worker itself checks it all."""

    health_port: int = Field(default=0, ge=0, le=65_535)
    processes: int = Field(default=1, ge=1, le=256)


class _Settings(SharedSettings):
    worker: _Worker = _Worker()


def configured(options: CommandOptions) -> tuple[int, int]:
    """The first port, 0 for none, and the number of processes. Raises ConfigurationError."""
    section = read_settings(_Settings, options.config).worker
    return section.health_port, section.processes
