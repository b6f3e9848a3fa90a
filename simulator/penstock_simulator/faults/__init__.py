"""Everything that can be made to go wrong, as one table.

`FAULTS` is the list that `--help`, the control endpoint and the documentation show. A fault is asked for by
name and parameters, in a header, in the model's name, in the text or by a script: see `spec`.
"""

from __future__ import annotations

from collections.abc import Iterable

from penstock_simulator.faults.kinds import Fault, FaultKind, Params, Stage
from penstock_simulator.faults.table import ROWS

__all__ = ["FAULTS", "Fault", "FaultKind", "Params", "Stage", "describe"]

FAULTS: dict[str, FaultKind] = {kind.name: kind for kind in ROWS}
"""All faults by name, in the order of the stages."""


def describe(kinds: Iterable[FaultKind] = ROWS) -> str:
    """The table as text: one line per fault with its parameters' defaults and whether it is charged."""
    lines = []
    for kind in kinds:
        params = " ".join(f"{name}={value}" for name, value in kind.params.items())
        charged = "charged" if kind.billed else "free"
        lines.append(f"{kind.name:20} {kind.stage:9} {charged:8} {kind.doc}" + (f" [{params}]" if params else ""))
    return "\n".join(lines)
