"""What the demo needs running: Redis, a provider, two workers. All of it is gone when the demo is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from penstock_simulator.process import SimulatorProcess
from penstock_simulator.worker_process import WorkerProcess
from penstock_store.server import RedisServer, free_port

SIMULATED_MODEL = "gpt-4o-mini"
DOWN = "offline/any-model"
"""The target of the second worker: nobody listens there."""


@dataclass(frozen=True, slots=True)
class Model:
    """Who answers."""

    target: str
    provider: Mapping[str, object]
    """Its section in the configuration."""
    simulated: bool


@dataclass(frozen=True, slots=True)
class Stage:
    """What was started."""

    redis_url: str
    model: Model


def real_model(base_url: str | None, model: str | None) -> Model | None:
    """The model that the caller's wishes and the environment name; None when it is to be simulated."""
    if base_url:
        provider = {"kind": "openai", "base_url": base_url, "allow_private": True, "schema_mode": "json_object"}
        if os.environ.get("OPENAI_API_KEY"):
            provider["api_key"] = {"env": "OPENAI_API_KEY"}
        return Model(f"server/{model or 'default'}", provider, simulated=False)
    if os.environ.get("OPENAI_API_KEY"):
        key = {"env": "OPENAI_API_KEY"}
        provider = {"kind": "openai", "base_url": "https://api.openai.com/v1", "api_key": key}
        return Model(f"openai/{model or SIMULATED_MODEL}", provider, simulated=False)
    return None


@contextmanager
def set_up(base_url: str | None, model: str | None) -> Iterator[Stage]:
    """Start everything and wait until it is ready. Leaves no process and no file behind, however it ends.

    Redis is always one of its own: in one that is in use, the jobs of the demo would stay, and other workers
    would take them.
    """
    with ExitStack() as running:
        server = running.enter_context(RedisServer())
        answering = real_model(base_url, model) or _simulated(running.enter_context(_simulator()))
        for lanes, target in (({"interactive": 6, "standard": 3}, answering.target), ({"bulk": 1}, DOWN)):
            settings = _settings(server.url, lanes, target, answering)
            running.enter_context(WorkerProcess(settings))
        yield Stage(server.url, answering)


def _simulator() -> SimulatorProcess:
    return SimulatorProcess(latency="lognormal:median=250ms,p99=900ms", seed=7)


def _simulated(simulator: SimulatorProcess) -> Model:
    provider = {"kind": "openai", "base_url": simulator.base_url, "allow_private": True}
    return Model(f"openai/{SIMULATED_MODEL}", provider, simulated=True)


def _settings(redis_url: str, lanes: Mapping[str, int], target: str, model: Model) -> dict[str, Any]:
    """A worker's settings. Its route for extract always names the model, so that a replay can be sent there."""
    provider, _, _ = model.target.partition("/")
    offline = {"kind": "openai", "base_url": f"http://127.0.0.1:{free_port()}/v1", "allow_private": True}
    return {
        "redis": {"url": redis_url},
        "worker": {"concurrency": 20, "lanes": lanes},
        "providers": {provider: model.provider, "offline": offline},
        "routes": {
            "default": {"targets": [target], "max_output_tokens": 1000},
            "extract": {"targets": [model.target], "max_output_tokens": 1000},
        },
    }
