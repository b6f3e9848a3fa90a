"""`scripts/drill NAME... [--long] [--json]` runs drills; `--all` every one; `--again` once more what has failed.

With `--pairs` two run at a time. With `--busy` what broke of the figures of speed is told as slow, and fails nothing:
for a machine that is shared.
"""

import importlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.__main__ import summaries

NOT_DRILLS = {"__init__", "__main__", "checker", "kit", "leases", "stage", "supervisor", "verdict"}


def main(argv: list[str]) -> int:
    """0 when all passed, 1 when one did not, 2 for a name there is not. A failed drill does not stop the others."""
    known = summaries(Path(__file__).parent, NOT_DRILLS)
    names = [word for word in argv if not word.startswith("-")]
    options = [word for word in argv if word.startswith("-")]
    if not (names or "--all" in options) or "--help" in options:
        print("scripts/drill NAME... | --all [--long] [--again] [--pairs] [--busy] [--json]    short without --long\n")
        for name, summary in known.items():
            print(f"  {name:24}  {summary}")
        return 0
    if unknown := [name for name in names if name not in known]:
        print(f"scripts/drill: no drill {unknown[0]!r}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    if "--pairs" in options:
        codes = _run_pairs(list(names or known), [option for option in options if option in _EACH])
    else:
        codes = {name: _run(name, options) for name in names or known}
    if "--again" in options:
        failed = [name for name, code in codes.items() if code]
        codes |= {name: _run(name, options) for name in failed}
    return max(codes.values(), default=0)


_EACH = {"--long", "--busy", "--json"}


def _run_pairs(names: list[str], options: list[str]) -> dict[str, int]:
    """Each in a process of its own, two at a time; what one prints stands together."""

    def run(name: str) -> int:
        command = [sys.executable, "-m", "tests.drills", name, *options]
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        print(ended.stdout, end="", flush=True)
        return ended.returncode

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(names, pool.map(run, names), strict=True))


def _run(name: str, options: list[str]) -> int:
    return int(importlib.import_module(f"tests.drills.{name}").main(options))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
