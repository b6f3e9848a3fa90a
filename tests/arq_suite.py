"""Run arq's own test suite against the stock Worker and against ours, and print what differs.

    scripts/arq-suite [--json] [-k EXPRESSION] [--only ours|stock]

Fetches arq's source distribution by pip, puts a local Redis in place of its container fixture, and runs the
suite twice: once as it is, once with penstock_worker.engine.Worker put in the place of arq.Worker. The packages
that the suite needs, in the versions of arq's lock file, live in a virtual environment of their own, kept in the
user's cache. Exits with 0 when the only differences are those that docs/arq-compatibility.md lists.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

from penstock_store.server import RedisServer

ROOT = Path(__file__).resolve().parent.parent
ARQ = "0.28.0"
TEST_PACKAGES = [
    "pytest==8.4.2",
    "pytest-asyncio==0.23.6",
    "pytest-mock==3.15.1",
    "pytest-timeout",
    "msgpack",
    "dirty-equals",
    "pytz",
    "tzdata",
    "watchfiles",
]
CONTAINER = '''
import os


class RedisContainer:
    """In the place of a container: the server whose port is in ARQ_SUITE_PORT."""

    port = 6379

    def __init__(self, image):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass

    def get_container_host_ip(self):
        return "127.0.0.1"

    def get_exposed_port(self, port):
        return int(os.environ["ARQ_SUITE_PORT"])
'''
SWAP = """
import arq
import arq.worker

from penstock_worker.engine import Worker

arq.Worker = arq.worker.Worker = Worker
"""


def main() -> int:
    options = parse_args()
    with tempfile.TemporaryDirectory(prefix="arq-suite-") as scratch, RedisServer() as server:
        suite = fetch(Path(scratch))
        port = server.url.rsplit(":", 1)[1].split("/")[0]
        outcomes = {}
        for worker in ("stock", "ours"):
            if options.only in (None, worker):
                outcomes[worker] = run(suite, worker, port, options.k)
    return report(outcomes, options.json)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("-k", default="", metavar="EXPRESSION", help="only tests that match, as pytest's -k")
    parser.add_argument("--only", choices=["ours", "stock"], help="run against one of the workers only")
    return parser.parse_args()


def fetch(scratch: Path) -> Path:
    """arq's source distribution, unpacked, with our container fixture beside its tests."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--no-binary", "arq", "-d", scratch, f"arq=={ARQ}"], check=True)
    with tarfile.open(scratch / f"arq-{ARQ}.tar.gz") as archive:
        archive.extractall(scratch, filter="data")
    suite = scratch / f"arq-{ARQ}"
    (suite / "arq").rename(suite / "arq-source")  # the installed arq is tested, the one that we subclass
    (suite / "testcontainers").mkdir()
    (suite / "testcontainers" / "__init__.py").touch()
    (suite / "testcontainers" / "redis.py").write_text(CONTAINER)
    (suite / "swap_worker.py").write_text(SWAP)
    return suite


def interpreter() -> Path:
    """A virtual environment with the suite's packages in front of this interpreter's own."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "penstock" / f"arq-suite-{ARQ}"
    python = home / "bin" / "python"
    wanted = "\n".join(TEST_PACKAGES)
    complete = home / "complete"
    if not complete.exists() or complete.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, *TEST_PACKAGES], check=True)
        complete.write_text(wanted)
    ours = [entry for entry in sys.path if entry.endswith("site-packages") or entry.startswith(str(ROOT))]
    site = next(home.glob("lib/python*/site-packages"))
    (site / "penstock-environment.pth").write_text("\n".join(ours))
    return python


def run(suite: Path, worker: str, port: str, expression: str) -> dict[str, str]:
    """Outcome of each test: passed, failed or skipped."""
    xml = suite / f"{worker}.xml"
    command = [interpreter(), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={xml}", "-k", expression]
    # The suite is pinned to redis-py 4 and turns warnings into errors; under redis-py 5, close() warns.
    command += ["-W", "ignore:Call to deprecated close:DeprecationWarning"]
    if worker == "ours":
        command += ["-p", "swap_worker"]
    # Plugins of ours are not for this suite; those of its own are named.
    plugins = ["pytest_asyncio.plugin", "pytest_mock", "pytest_timeout"]
    environment = {
        **os.environ,
        "ARQ_SUITE_PORT": port,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_PLUGINS": ",".join(plugins),
        "PYTHONPATH": str(suite),
    }
    with open(suite / f"{worker}.log", "w+") as log:
        subprocess.run(command, cwd=suite, env=environment, stdout=log, stderr=log)
        log.seek(0)
        if os.environ.get("ARQ_SUITE_LOG"):
            Path(os.environ["ARQ_SUITE_LOG"]).write_text(log.read())
        elif not xml.exists():
            sys.exit(f"the suite did not run:\n{log.read()}")
    return {f"{case.get('classname')}::{case.get('name')}": outcome(case) for case in ET.parse(xml).iter("testcase")}


def outcome(case: ET.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "skipped" if case.find("skipped") is not None else "passed"


def listed() -> set[str]:
    """Tests that may differ: those that docs/arq-compatibility.md names in backquotes."""
    page = (ROOT / "docs" / "arq-compatibility.md").read_text()
    return set(re.findall(r"`(tests\.[\w.]+::[^`]+)`", page))


def report(outcomes: dict[str, dict[str, str]], as_json: bool) -> int:
    tallies = {worker: tally(tests) for worker, tests in outcomes.items()}
    stock = outcomes.get("stock")
    ours = outcomes.get("ours", {})
    differences = {} if stock is None else {t: f"{stock[t]} -> {o}" for t, o in ours.items() if stock.get(t) != o}
    unlisted = sorted(set(differences) - listed())
    if as_json:
        print(json.dumps({"arq": ARQ, "tallies": tallies, "differences": differences, "unlisted": unlisted}))
    else:
        for worker, counts in tallies.items():
            print(f"{worker:6}", ", ".join(f"{count} {name}" for name, count in counts.items()))
        for test, change in sorted(differences.items()):
            print(f"{'listed' if test not in unlisted else 'UNLISTED':9} {change:18} {test}")
        if stock is None:
            print(*(f"{result:8} {test}" for test, result in ours.items() if result == "failed"), sep="\n")
    return 1 if unlisted else 0


def tally(tests: dict[str, str]) -> dict[str, int]:
    return {name: list(tests.values()).count(name) for name in ("passed", "failed", "skipped")}


if __name__ == "__main__":
    sys.exit(main())
