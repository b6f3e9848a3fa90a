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
OPENAI_KEY, OPENAI_URL = "OPENAI_API_KEY", "https://api.openai.com/v1"
DOWN = "offline/any-model"
"""The target of the second worker: nobody listens there."""


@dataclass(frozen=True, slots=True)
class Model:
    """Who answers."""

    target: str
    provider: Mapping[str, object]
    """Its section in the configuration, without the kind."""
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """What was started."""

    redis_url: str
    model: Model


def named_model(base_url: str | None, model: str | None, api_key_env: str | None) -> Model | None:
    """The model that the caller's wishes and the environment name; None when it is to be simulated.

    Raises ValueError for wishes that do not go together. The key for OpenAI is sent to nobody else.
    """
    if base_url is None:
        if not os.environ.get(OPENAI_KEY):
            _refuse(model or api_key_env, f"--model and --api-key-env need --base-url, or {OPENAI_KEY} for OpenAI")
            return None
        return Model(f"openai/{model or SIMULATED_MODEL}", {"base_url": OPENAI_URL, **_key(OPENAI_KEY)})
    _refuse(not model, "--base-url needs --model, the name by which that server knows its model")
    _refuse(api_key_env and not os.environ.get(api_key_env), f"--api-key-env: {api_key_env} is not set")
    provider = {"base_url": base_url, "allow_private": True, "schema_mode": "json_object"}
    return Model(f"server/{model}", {**provider, **(_key(api_key_env) if api_key_env else {})})


def _refuse(wrong: object, message: str) -> None:
    if wrong:
        raise ValueError(message)


def _key(variable: str) -> dict[str, object]:
    return {"api_key": {"env": variable}}


@contextmanager
def set_up(answering: Model | None) -> Iterator[Stage]:
    """Start everything and wait until it is ready; None for *answering* starts a simulator for it.

    Leaves no process and no file behind, however it ends. Redis is always one of its own: in one that is in use,
    the jobs of the demo would stay, and other workers would take them.
    """
    with ExitStack() as running:
        server = running.enter_context(RedisServer())
        answering = answering or _simulated(running.enter_context(_simulator()))
        for lanes, target in (({"interactive": 6, "standard": 3}, answering.target), ({"bulk": 1}, DOWN)):
            running.enter_context(WorkerProcess(_settings(server.url, lanes, target, answering)))
        yield Stage(server.url, answering)


def _simulator() -> SimulatorProcess:
    return SimulatorProcess(latency="lognormal:median=250ms,p99=900ms", seed=7)


def _simulated(simulator: SimulatorProcess) -> Model:
    provider = {"base_url": simulator.base_url, "allow_private": True}
    return Model(f"openai/{SIMULATED_MODEL}", provider, simulated=True)


def _settings(redis_url: str, lanes: Mapping[str, int], target: str, model: Model) -> dict[str, Any]:
    """A worker's settings. Its route for extract always names the model, so that a replay can be sent there."""
    provider, _, _ = model.target.partition("/")
    offline = {"base_url": f"http://127.0.0.1:{free_port()}/v1", "allow_private": True}
    providers: dict[str, Mapping[str, object]] = {provider: model.provider, "offline": offline}
    asked = {"max_output_tokens": 1000, "unknown_price": "allow"}  # the price of a model of one's own
    return {
        "redis": {"url": redis_url, "allow_volatile": True},
        "worker": {"concurrency": 20, "lanes": lanes, "breaker": {"access_refused": "fail"}},
        "providers": {name: {"kind": "openai", **made} for name, made in providers.items()},
        "routes": {
            "default": {"targets": [target], **asked},
            "extract": {"targets": [model.target], **asked},
        },
    }
