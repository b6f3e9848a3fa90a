"""Rules that hold for every file of the product, each with the sample that breaks it."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "schemas/penstock_schemas",
    "store/penstock_store",
    "producers/penstock",
    "worker/penstock_worker",
    "simulator/penstock_simulator",
)
PRODUCT = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
SCRIPTS = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.lua"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

MONEY = re.compile(r"usd|cost|price|spend|spent|budget", re.IGNORECASE)
NOT_MONEY = re.compile(r"_(s|ms|at|ratio|share|fraction)$", re.IGNORECASE)
MAX_LINES = 400

Rule = Callable[[ast.AST], bool]


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def _called(node: ast.AST) -> str:
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


def unpickles(node: ast.AST) -> bool:
    """Bytes of Redis must never become code."""
    return _called(node) in {"pickle.loads", "pickle.load", "pickle.Unpickler"} or any(
        isinstance(node, ast.ImportFrom) and node.module == "pickle" and alias.name != "dumps"
        for alias in getattr(node, "names", [])
    )


def pickles(node: ast.AST) -> bool:
    """Values are JSON."""
    return any(name.split(".")[0] in {"pickle", "marshal", "shelve", "dill", "cloudpickle"} for name in _names(node))


def evaluates(node: ast.AST) -> bool:
    """eval, exec, or a YAML document that may build objects."""
    return _called(node) in {"eval", "exec", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}


def uses_a_shell(node: ast.AST) -> bool:
    """A shell gives meaning to what an argument contains."""
    if _called(node) in {"os.system", "os.popen", "subprocess.getoutput", "asyncio.create_subprocess_shell"}:
        return True
    return isinstance(node, ast.Call) and any(
        keyword.arg == "shell" and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
        for keyword in node.keywords
    )


def lists_all_keys(node: ast.AST) -> bool:
    """KEYS blocks the server for as long as the database is large; a dict's ``keys()`` has no argument."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "keys":
        return bool(node.args)
    return isinstance(node, ast.Call) and any(
        isinstance(argument, ast.Constant) and argument.value == "KEYS" for argument in node.args[:1]
    )


def _is_money(name: str) -> bool:
    return bool(MONEY.search(name)) and not NOT_MONEY.search(name)


def counts_money_in_floats(node: ast.AST) -> bool:
    """Money is an integer of nano-USD, or a Decimal at the edges."""
    if isinstance(node, ast.arg) and node.annotation is not None:
        return _is_money(node.arg) and "float" in ast.unparse(node.annotation)
    if isinstance(node, ast.AnnAssign):
        return _is_money(ast.unparse(node.target)) and "float" in ast.unparse(node.annotation)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is not None:
        return _is_money(node.name) and "float" in ast.unparse(node.returns)
    return _called(node) == "float" and isinstance(node, ast.Call) and _is_money(ast.unparse(node))


def fakes(node: ast.AST) -> bool:
    """Tests run against the real thing."""
    return any(name.split(".")[0] in {"fakeredis", "mock"} or name == "unittest.mock" for name in _names(node)) or (
        isinstance(node, ast.ImportFrom)
        and node.module == "unittest"
        and any(alias.name == "mock" for alias in node.names)
    )


IN_PRODUCT: dict[Rule, list[str]] = {
    unpickles: ["pickle.loads(value)", "from pickle import loads"],
    pickles: ["import pickle", "from pickle import dumps", "import marshal as m"],
    evaluates: ["eval(text)", "exec(code)", "yaml.load(text)"],
    uses_a_shell: ["subprocess.run(line, shell=True)", "run(line, shell=flag)", "os.system(line)"],
    lists_all_keys: ["await redis.keys('penstock:*')", "redis.execute_command('KEYS', '*')"],
    counts_money_in_floats: [
        "def charge(cost: float): ...",
        "cost_usd: float | None = None",
        "def price_of(call) -> float: ...",
        "total = float(row['spent'])",
    ],
}
IN_TESTS: dict[Rule, list[str]] = {
    fakes: ["import fakeredis.aioredis", "from unittest import mock", "from unittest.mock import patch"]
}
ALLOWED = [
    "record.keys()",
    "json.loads(text)",
    "subprocess.run(argv, shell=False)",
    "cost_nanousd: int | None = None",
    "cost_usd: Decimal",
    "ratio = float(share)",
    "price_age_s: float",
    "import unittest",
]


def violations(source: str, rules: list[Rule]) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source)):
        for rule in rules:
            if rule(node):
                yield getattr(node, "lineno", 0), f"{rule.__name__}: {rule.__doc__}"


def found_in(paths: list[Path], rules: list[Rule]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line}: {what}"
        for path in paths
        for line, what in violations(path.read_text(), rules)
    ]


def test_the_product_keeps_the_rules() -> None:
    """No pickle, no eval, no shell, no KEYS, no money in floats.

    The engine alone may write pickle, which is arq's default for who uses it without Penstock.
    """
    engine = [path for path in PRODUCT if path.is_relative_to(ROOT / "worker/penstock_worker/engine")]
    rest = [path for path in PRODUCT if path not in engine]
    assert len(rest) > 20
    assert found_in(rest, list(IN_PRODUCT)) == []
    assert found_in(engine, [rule for rule in IN_PRODUCT if rule is not pickles]) == []


def test_the_tests_fake_nothing() -> None:
    """No fakeredis, no mocks."""
    assert found_in(TESTS, list(IN_TESTS)) == []


@pytest.mark.parametrize(
    ("rule", "sample"), [(rule, sample) for rule, samples in (IN_PRODUCT | IN_TESTS).items() for sample in samples]
)
def test_each_rule_finds_what_it_forbids(rule: Rule, sample: str) -> None:
    """Otherwise the tests above could not fail."""
    assert list(violations(f"async def f():\n {sample}", [rule]))


@pytest.mark.parametrize("sample", ALLOWED)
def test_no_rule_forbids_what_is_fine(sample: str) -> None:
    """The neighbours of what is forbidden."""
    assert list(violations(sample, list(IN_PRODUCT | IN_TESTS))) == []


def test_no_script_lists_all_keys() -> None:
    """Nor does a script call what a cluster or a replica would run differently."""
    forbidden = re.compile(r"""call\(\s*["'](KEYS|FLUSHDB|FLUSHALL|RANDOMKEY)["']""", re.IGNORECASE)
    assert forbidden.search('redis.call("keys", "*")')
    assert SCRIPTS
    assert [str(path.relative_to(ROOT)) for path in SCRIPTS if forbidden.search(path.read_text())] == []


def test_no_module_outgrows_its_name() -> None:
    """A module of more than 400 lines wants to be two."""
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in PRODUCT}
    assert {path: count for path, count in lines.items() if count > MAX_LINES} == {}
