"""A route: the targets a task's jobs go to, in order, and how they are asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from penstock_schemas.errors import ConfigurationError
from penstock_worker.llm.port import Target
from penstock_worker.prompts.prompt import Prompt
from penstock_worker.routing.conditions import Condition, Gate
from penstock_worker.routing.experiment import Experiment

DEFAULT = "default"
"""The route of every task that has none of its own."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One target of a route."""

    target: Target
    when: Condition | None = None
    """None: it is always asked when it is its turn."""
    gate: Gate | None = None
    """None: whatever passes the task's checks ends the route."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a task's jobs go."""

    name: str
    targets: tuple[Target, ...]
    """In order of preference; each is tried at most once in an attempt."""
    max_output_tokens: int = 1024
    """The cap that is sent with every call, thinking included."""
    temperature: float | None = None
    """None leaves it to the provider."""
    fallback: bool = True
    """Whether the task's fallback may answer when no target can."""
    unknown_price: Literal["refuse", "allow"] = "refuse"
    """Whether a target is called whose price is unknown."""
    prompt: Prompt | None = None
    """Instead of the task's own; None for that."""
    cache_s: float | None = None
    """How long an answer is kept for equal requests; None: it is not."""
    single_flight: bool = False
    """Whether equal jobs that are there at once make one call."""
    whole_bytes: int | None = None
    """A longer text is worked on in parts; None: one that fits no window is."""
    chunk_bytes: int | None = None
    """How large these are; None: as a window allows, within reason."""
    overlap_bytes: int = 0
    """How much of the one before each repeats."""
    chunks_at_once: int = 4
    """Calls for the parts of one job in flight."""
    terms: Mapping[str, Entry] = field(default_factory=dict)
    """Name of a target -> that target with its condition or gate; the others have neither."""
    arm: str | None = None
    """``<experiment>/<arm>`` that it is a part of; None for none."""
    experiment: Experiment | None = field(default=None, compare=False)
    """Set: a job's route is that of its arm."""

    @property
    def all_targets(self) -> tuple[Target, ...]:
        """Every target that a job of this route may be sent to, those of arms included."""
        if self.experiment is None:
            return self.targets
        return tuple({target.name: target for arm in self.experiment.arms for target in arm.route.targets}.values())

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All targets with their terms, in order."""
        return tuple(self.terms.get(target.name) or Entry(target) for target in self.targets)


class Routes:
    """The routes of a worker, by task."""

    def __init__(self, routes: Mapping[str, Route], targets: Mapping[str, Target]) -> None:
        self._routes = routes
        self._targets = targets

    def configured(self, task: str) -> Route:
        """The task's route, or the default one, as it is configured: with its experiment. Raises as :meth:`route`."""
        route = self._routes.get(task) or self._routes.get(DEFAULT)
        if route is None:
            raise ConfigurationError(f"routes.{task}", "is missing, and there is no routes.default")
        return route

    @property
    def targets(self) -> Iterable[str]:
        """The names of all targets that are configured."""
        return self._targets.keys()

    def route(self, task: str, target: str | None = None, key: str = "", made_in: Iterable[str | None] = ()) -> Route:
        """The task's route, or the default one; with *target*, that target alone, in no experiment.

        *key* is what an experiment tells jobs apart by, *made_in* the arms of the job's calls so far. A target that
        this worker does not know leaves the route as it is configured: a replay's wish must not send a job somewhere
        that the configuration does not name. Raises ConfigurationError without any route.
        """
        route = self.configured(task)
        if target is not None and target in self._targets:
            return replace(route, targets=(self._targets[target],), terms={}, experiment=None)
        return route if route.experiment is None else route.experiment.arm(key, made_in).route
