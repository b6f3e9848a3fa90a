"""The command starts fast, because it loads little; and says what there is."""

import json
import subprocess
import sys

import pytest

from penstock.cli import catalog, exits
from penstock_schemas import errors

HEAVY = {
    *("redis", "pydantic", "pydantic_core", "pydantic_settings", "httpx", "arq", "rich", "orjson", "anyio", "asyncio"),
    *("penstock_worker", "penstock_simulator", "structlog", "jsonschema", "uvloop"),
}


def modules_after(*arguments: str) -> tuple[set[str], str]:
    """Top-level modules that a fresh interpreter has loaded after the command with *arguments*, and its output."""
    code = (
        "import contextlib, io, json, sys\nfrom penstock.cli import main\nout = io.TextIOWrapper(io.BytesIO())\n"
        f"with contextlib.redirect_stdout(out):\n    code = main({list(arguments)!r})\n    out.flush()\n"
        "print(json.dumps([code, sorted(sys.modules), out.buffer.getvalue().decode()]))"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    exit_code, modules, output = json.loads(printed)
    assert exit_code == 0
    return {name.partition(".")[0] for name in modules}, output


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help", "exit-codes"], ["--version"]])
def test_help_loads_typer_and_nothing_heavy(arguments: list[str]) -> None:
    """Neither a Redis client nor the contracts nor what draws tables; a fourth of a second is spent on those."""
    loaded, output = modules_after(*arguments)
    assert "typer" in loaded
    assert not loaded & HEAVY
    assert output.strip()


def test_a_subcommand_loads_the_client() -> None:
    """Otherwise the test above could not fail."""
    assert {"redis", "pydantic"} <= modules_after("status", "--help")[0]


@pytest.mark.parametrize("name", [entry.name for entry in catalog.LISTED.values() if entry.module])
def test_each_subcommand_of_ours_has_help_with_an_example(name: str) -> None:
    _, output = modules_after(name, "--help")
    assert "Example" in output
    assert f"penstock {name}" in output


@pytest.mark.parametrize("noun", ["dead", "degraded"])
@pytest.mark.parametrize("verb", ["list", "show", "replay", "purge"])
def test_each_verb_has_help_with_an_example(noun: str, verb: str) -> None:
    assert f"penstock {noun} {verb}" in modules_after(noun, verb, "--help")[1].partition("Example")[2]


def test_the_help_screen_lists_every_subcommand_once() -> None:
    _, output = modules_after("--help")
    listed = [line.split()[0] for line in output.splitlines() if line.startswith("  ") and line[2] != " "]
    for name in catalog.LISTED.keys() - {"help"}:
        assert listed.count(name) == 1
    assert max(map(len, output.splitlines())) <= 100


def test_every_error_has_an_exit_code_of_the_table() -> None:
    """A new error ends in 1 unless it is said otherwise; none ends in 0."""

    def below(kind: type[errors.PenstockError]) -> list[type[errors.PenstockError]]:
        return [kind, *(sub for direct in kind.__subclasses__() for sub in below(direct))]

    codes = {kind.__name__: exits.exit_code(kind.__new__(kind)) for kind in below(errors.PenstockError)}
    assert codes["UnavailableError"] == exits.UNREACHABLE
    assert codes["ConfigurationError"] == exits.CONFIGURATION
    assert codes["InvalidRequestError"] == codes["UnknownTaskError"] == exits.USAGE
    assert codes["IdempotencyConflictError"] == codes["QueueFullError"] == codes["ReplayRefusedError"] == exits.REFUSED
    assert codes["JobNotFoundError"] == codes["ResultTimeoutError"] == exits.SOME_FAILED
    assert set(codes.values()) <= set(exits.MEANINGS) - {exits.DONE}
