"""Alerts that a script told, for the log of whoever called it. Each is told once in its window, by one worker."""

from __future__ import annotations

from typing import Any

import orjson
import structlog

log = structlog.get_logger("penstock.money")


def heard(reply: Any) -> Any:
    """What a script answered, without the alerts that came with it; these are logged."""
    if not isinstance(reply, list) or not reply or reply[0] != b"alerts":
        return reply
    for text in reply[2:]:
        log_alert(orjson.loads(text))
    return reply[1]


def log_alert(told: dict[str, str]) -> None:
    """Write one alert to the log. A user's id stays out of it; the event has it."""
    scope = told["scope"]
    if scope.startswith("user:"):
        scope = scope.partition("/")[0] + "/..."
    log.warning("alert", code=told["alert"], scope=scope, window=told["window"])
