"""What the demo needs running: Redis, a provider, two workers. All of it is gone when the demo is."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from penstock_simulator.process import SimulatorProcess
from penstock_store.server import free_port, redis_url_or_server
from penstock_store.tether import TetheredProcess

SIMULATED_MODEL = "gpt-4o-mini"
DOWN = "offline/any-model"
"""The target of the second worker: nobody listens there."""

READY_EVENT = "worker_started"


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
    """Start everything and wait until it is ready. Leaves no process and no file behind."""
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="penstock-demo-")))
        redis_url = running.enter_context(redis_url_or_server())
        answering = real_model(base_url, model)
        if answering is None:
            simulator = running.enter_context(SimulatorProcess(latency="lognormal:median=250ms,p99=900ms", seed=7))
            provider = {"kind": "openai", "base_url": f"{simulator.url}/v1", "allow_private": True}
            answering = Model(f"openai/{SIMULATED_MODEL}", provider, simulated=True)
        for name, lanes, target in (
            ("main", {"interactive": 6, "standard": 3}, answering.target),
            ("unlucky", {"bulk": 1}, DOWN),
        ):
            config = folder / f"{name}.toml"
            config.write_text(_toml(redis_url, lanes, target, answering), "utf-8")
            running.enter_context(_worker(config))
        yield Stage(redis_url, answering)


def _toml(redis_url: str, lanes: Mapping[str, int], target: str, model: Model) -> str:
    """A worker's configuration. Its route for extract always names the model, so that a replay can be sent there."""
    provider, _, _ = model.target.partition("/")
    sections: dict[str, Mapping[str, object]] = {
        "redis": {"url": redis_url},
        "worker": {"concurrency": 20, "lanes": dict(lanes)},
        f"providers.{provider}": model.provider,
        "providers.offline": {
            "kind": "openai",
            "base_url": f"http://127.0.0.1:{free_port()}/v1",
            "allow_private": True,
        },
        "routes.default": {"targets": [target], "max_output_tokens": 1000},
        "routes.extract": {"targets": [model.target], "max_output_tokens": 1000},
    }
    return "\n".join(f"[{name}]\n{_pairs(section)}" for name, section in sections.items())


def _pairs(section: Mapping[str, object]) -> str:
    return "".join(f"{key} = {_value(value)}\n" for key, value in section.items())


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(part)}" for key, part in value.items()) + " }"
    return json.dumps(value)


@contextmanager
def _worker(config: Path) -> Iterator[None]:
    """A worker process, ready to work."""
    argv = [sys.executable, "-m", "penstock", "--config", str(config), "worker"]
    log = config.with_suffix(".log")
    with log.open("wb") as sink:
        process = TetheredProcess(argv, stdout=sink, stderr=sink)
        try:
            _wait_ready(process, log)
            yield
        finally:
            process.stop(timeout_s=10)


def _wait_ready(process: TetheredProcess, log: Path) -> None:
    give_up_at = time.monotonic() + 30
    while READY_EVENT not in log.read_text("utf-8", "replace"):
        if process.poll() is not None or time.monotonic() > give_up_at:
            raise RuntimeError(f"a worker did not start:\n{log.read_text('utf-8', 'replace')}")
        time.sleep(0.02)
