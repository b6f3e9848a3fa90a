"""An existing arq application on this engine."""

from __future__ import annotations

import inspect
from typing import Any

from arq.utils import import_string

from penstock_schemas.errors import ConfigurationError
from penstock_worker.engine.worker import Worker

DRAIN_S = 30.0
"""Drain window where the application names no ``job_completion_wait``."""


def make_arq_worker(settings: str | type[Any], **options: Any) -> Worker:
    """The worker that an arq settings class describes, given as itself or as ``"package.module.WorkerSettings"``.

    *options* are laid over its attributes. Raises ConfigurationError for a class that cannot be imported or has
    neither functions nor cron jobs.
    """
    try:
        cls = import_string(settings) if isinstance(settings, str) else settings
    except ImportError as error:
        raise ConfigurationError("--arq", f"{settings}: {error}") from None
    known = inspect.signature(Worker).parameters
    kwargs = {name: value for name, value in vars(cls).items() if name in known} | options
    if "job_completion_wait" not in kwargs:
        kwargs.setdefault("drain_s", DRAIN_S)
    try:
        return Worker(**kwargs)
    except RuntimeError as error:
        raise ConfigurationError("--arq", f"{settings}: {error}") from None
