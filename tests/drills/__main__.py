"""`scripts/drill NAME... [--long] [--json]` runs drills; `--all` runs every one."""

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
        print("scripts/drill NAME... | --all [--long] [--json]        short versions without --long\n")
        for name, summary in known.items():
            print(f"  {name:24}  {summary}")
        return 0
    if unknown := [name for name in names if name not in known]:
        print(f"scripts/drill: no drill {unknown[0]!r}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    codes = [int(importlib.import_module(f"tests.drills.{name}").main(options)) for name in names or known]
    return max(codes, default=0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
