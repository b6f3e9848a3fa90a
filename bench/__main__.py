"""`scripts/bench NAME [ARGUMENTS]` runs a benchmark; without a name, lists them."""

import ast
import importlib
import sys
from collections.abc import Collection
from pathlib import Path

HERE = Path(__file__).resolve().parent
NOT_BENCHMARKS = {"__init__", "__main__", "support"}


def summaries(folder: Path = HERE, without: Collection[str] = NOT_BENCHMARKS) -> dict[str, str]:
    """Module of *folder* -> first line of its docstring, read without running it."""
    paths = (path for path in sorted(folder.glob("*.py")) if path.stem not in without)
    return {path.stem: (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0] for path in paths}


def main(argv: list[str]) -> int:
    """Run the benchmark named first with the other arguments. 2 for a name there is not."""
    known = summaries()
    if not argv or argv[0] in ("-h", "--help"):
        width = max(map(len, known), default=0)
        print("scripts/bench NAME [--help | --json | --rounds N | ...]\n")
        for name, summary in known.items():
            print(f"  {name:{width}}  {summary}")
        return 0
    if argv[0] not in known:
        print(f"scripts/bench: no benchmark {argv[0]!r}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    return int(importlib.import_module(f"bench.{argv[0]}").main(argv[1:]) or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
