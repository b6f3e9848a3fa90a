"""Workers as processes of their own: `penstock worker`, with a configuration file made for the test."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson


def write_config(
    folder: Path,
    redis_url: str,
    base_url: str,
    *,
    targets: Sequence[str] = ("openai/gpt-4o-mini",),
    limits: Mapping[str, float] | None = None,
    route: Mapping[str, Any] | None = None,
    routes: Mapping[str, Mapping[str, Any]] | None = None,
    budgets: Mapping[str, Mapping[str, str]] | None = None,
    breaker: bool = True,
    redis: Mapping[str, Any] | None = None,
    **worker: Any,
) -> Path:
    """A penstock.toml with one provider, ``openai``, at *base_url*, and one route for all tasks without their own.

    Without *breaker* nothing is spared, and a refused key is a failure like any other.
    """
    sections: dict[str, dict[str, Any]] = {
        "redis": {"url": redis_url, "allow_volatile": True, **(redis or {})},
        "worker": {"concurrency": 10, **worker},
        "worker.breaker": {"enabled": breaker, "access_refused": "wait" if breaker else "fail"},
        "providers.openai": {"kind": "openai", "base_url": base_url, "allow_private": True},
        "providers.openai.limits": dict(limits or {}),
        "routes.default": {"targets": list(targets), **(route or {})},
    }
    sections |= {f"routes.{task}": dict(section) for task, section in (routes or {}).items()}
    sections |= {f'budgets."{scope}"': dict(section) for scope, section in (budgets or {}).items()}
    # JSON's scalars and lists are TOML's, too.
    lines = [
        line
        for name, section in sections.items()
        for line in (f"[{name}]", *(f"{key} = {orjson.dumps(value).decode()}" for key, value in section.items()))
    ]
    path = folder / "penstock.toml"
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o600)
    return path


def worker_argv(config: Path) -> list[str]:
    """The command of a worker with this configuration."""
    return [sys.executable, "-m", "penstock", "--config", str(config), "worker"]
