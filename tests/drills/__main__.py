"""`scripts/drill NAME... [--long] [--json]` runs drills; `--all` every one; `--again` once more what has failed.

With `--busy` what broke of the figures of speed is told as slow, and fails nothing: for a machine that is shared.
"""

import importlib
import sys
from pathlib import Path

from bench.__main__ import summaries

NOT_DRILLS = {"__init__", "__main__", "checker", "kit", "leases", "stage", "supervisor", "verdict"}


def main(argv: list[str]) -> int:
    """0 when all passed, 1 when one did not, 2 for a name there is not. A failed drill does not stop the others."""
    known = summaries(Path(__file__).parent, NOT_DRILLS)
    names = [word for word in argv if not word.startswith("-")]
    options = [word for word in argv if word.startswith("-")]
    if not (names or "--all" in options) or "--help" in options:
        print(
            "scripts/drill NAME... | --all [--long] [--again] [--busy] [--json]        short versions without --long\n"
        )
        for name, summary in known.items():
            print(f"  {name:24}  {summary}")
        return 0
    if unknown := [name for name in names if name not in known]:
        print(f"scripts/drill: no drill {unknown[0]!r}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    codes = {name: _run(name, options) for name in names or known}
    if "--again" in options:
        failed = [name for name, code in codes.items() if code]
        codes |= {name: _run(name, options) for name in failed}
    return max(codes.values(), default=0)


def _run(name: str, options: list[str]) -> int:
    return int(importlib.import_module(f"tests.drills.{name}").main(options))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
