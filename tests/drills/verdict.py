"""What a drill has measured, what it had to be, and whether it was."""

import json
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One measured figure and its limit."""

    what: str
    value: str
    limit: str
    held: bool
    speed: bool = False
    """Whether it is one of how fast: on a machine that is busy with other things it says little when it is broken."""


class Verdict:
    """Collects figures; the drill has passed when all held."""

    def __init__(self, drill: str) -> None:
        self.drill = drill
        self.figures: list[Figure] = []
        self.faults: list[str] = []
        self.skipped: str | None = None
        """Why this machine cannot hold the drill; None: it can."""

    @property
    def passed(self) -> bool:
        """Whether there are figures, and all of them held."""
        return bool(self.figures) and all(figure.held for figure in self.figures)

    @property
    def safe(self) -> bool:
        """Whether there are figures, and all but those of speed held."""
        return bool(self.figures) and all(figure.held or figure.speed for figure in self.figures)

    def at_most(self, what: str, value: float, limit: float, *, speed: bool = False) -> None:
        """*value* must not exceed *limit*."""
        self._add(what, f"{value:g}", f"≤ {limit:g}", value <= limit, speed=speed)

    def at_least(self, what: str, value: float, limit: float, *, speed: bool = False) -> None:
        """*value* must not be below *limit*."""
        self._add(what, f"{value:g}", f"≥ {limit:g}", value >= limit, speed=speed)

    def exactly(self, what: str, value: object, expected: object) -> None:
        """*value* must be *expected*."""
        self._add(what, str(value), f"= {expected}", value == expected)

    def none_of(self, what: str, faults: Collection[str]) -> None:
        """There must be no faults; those there are will be printed."""
        self.faults.extend(faults)
        self._add(what, str(len(faults)), "= 0", not faults)

    def skip(self, why: str) -> None:
        """The drill cannot be held here: nothing has passed, and nothing failed."""
        self.skipped = why

    def report(self, *, as_json: bool, busy: bool = False) -> int:
        """Print it; 0 when the drill has passed or could not be held, else 1. *busy*: figures of speed fail nothing."""
        if self.skipped is not None:
            told = json.dumps({"drill": self.drill, "skipped": self.skipped})
            print(told if as_json else f"skip  {self.drill}: {self.skipped}", flush=True)
            return 0
        if as_json:
            figures = [vars(figure) for figure in self.figures]
            row = {"drill": self.drill, "passed": self.passed, "figures": figures, "faults": self.faults}
            print(json.dumps(row))
        else:
            self._print()
        return 0 if self.passed or (busy and self.safe) else 1

    @property
    def _word(self) -> str:
        return "pass" if self.passed else "slow" if self.safe else "FAIL"

    def _print(self) -> None:
        figures = [f"{figure.what} {figure.value} ({figure.limit})" for figure in self.figures]
        print(f"{self._word}  {self.drill}: {'; '.join(figures)}", flush=True)
        for figure in self.figures:
            if not figure.held:
                print(
                    f"      {'SLOW' if figure.speed else 'BROKEN'}  {figure.what}: {figure.value}, limit {figure.limit}"
                )
        for fault in self.faults:
            print(f"      {fault}")

    def _add(self, what: str, value: str, limit: str, held: bool, *, speed: bool = False) -> None:
        self.figures.append(Figure(what, value, limit, held, speed))
