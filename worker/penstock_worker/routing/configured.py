"""Routes, from their sections of the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from penstock_schemas.errors import ConfigurationError
from penstock_schemas.results import Quality
from penstock_worker.llm.ollama import NUM_CTX
from penstock_worker.llm.port import Target
from penstock_worker.money.usage import BYTES_PER_TOKEN
from penstock_worker.prompts.prompt import load_prompt
from penstock_worker.routing.conditions import Condition, Gate, Scalar, codes_named
from penstock_worker.routing.experiment import Arm, Experiment, arm_label
from penstock_worker.routing.routes import Entry, Route
from penstock_worker.routing.windows import known_window
from penstock_worker.settings import ProviderSection, RouteSection
from penstock_worker.settings.routes import CascadeSection, WhenSection
from penstock_worker.tasks.definition import Task, tasks


def make_route(name: str, section: RouteSection, targets: Mapping[str, Target], prompts: Path) -> Route:
    """The route of this name, with its arms. *targets* are all that are configured, by name.

    Raises ConfigurationError for a prompt that cannot be read, and for a confidence that no task measures.
    """
    _check_confidence(name, section)
    plain = Route(
        name=name,
        targets=tuple(targets[target] for target in section.targets),
        max_output_tokens=section.max_output_tokens,
        temperature=section.temperature,
        fallback=section.fallback != "none",
        unknown_price=section.unknown_price,
        prompt=load_prompt(prompts, section.prompt) if section.prompt else None,
        cache_s=section.cache_s,
        single_flight=section.single_flight,
        whole_bytes=_bytes(section.max_input_tokens or section.chunk_tokens),
        chunk_bytes=_bytes(section.chunk_tokens),
        overlap_bytes=section.chunk_overlap_tokens * BYTES_PER_TOKEN,
        chunks_at_once=section.chunks_at_once,
        terms={
            target: Entry(targets[target], _condition(section.when.get(target)), _gate(section.cascade.get(target)))
            for target in section.when.keys() | section.cascade.keys()
        },
    )
    if section.experiment is None:
        return plain
    arms = [_arm(plain, section, arm, targets, prompts) for arm in section.arms]
    return replace(plain, experiment=Experiment(section.experiment, arms))


def _bytes(tokens: int | None) -> int | None:
    """So many bytes are not more tokens, in any script."""
    return None if tokens is None else tokens * BYTES_PER_TOKEN


def window_of(provider: ProviderSection, model: str, price_ref: str) -> int | None:
    """Tokens that a model takes: what the configuration says, else Ollama's own window, else what is known of it."""
    if model in provider.context_windows:
        return provider.context_windows[model]
    if provider.kind == "ollama":
        return int(provider.options.get("num_ctx", NUM_CTX))
    return known_window(price_ref)


def _arm(plain: Route, section: RouteSection, name: str, targets: Mapping[str, Target], prompts: Path) -> Arm:
    arm = section.arms[name]
    route = replace(
        plain,
        targets=tuple(targets[target] for target in arm.targets) if arm.targets else plain.targets,
        prompt=load_prompt(prompts, arm.prompt) if arm.prompt else plain.prompt,
        arm=arm_label(section.experiment or "", name),
    )
    return Arm(name, arm.weight, route)


def _condition(section: WhenSection | None) -> Condition | None:
    if section is None:
        return None
    return Condition(
        input_tokens_from=section.input_tokens_from,
        input_tokens_to=section.input_tokens_to,
        tasks=_set(section.tasks),
        tenants=_set(section.tenants),
        lanes=_set(section.lanes),
        metadata=_values(section.metadata),
        fields=_values(section.fields),
        time_left_s=section.time_left_s,
        after=codes_named(tuple(section.after)) if section.after else None,
    )


def _set(names: Sequence[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def _values(table: Mapping[str, Sequence[Scalar]] | None) -> Mapping[str, tuple[Scalar, ...]] | None:
    return None if table is None else {name: tuple(values) for name, values in table.items()}


def _gate(section: CascadeSection | None) -> Gate | None:
    return None if section is None else Gate(Quality(section.quality), section.min_confidence)


def _check_confidence(name: str, section: RouteSection) -> None:
    task = tasks().get(name)
    if task is None or type(task).confidence is not Task.confidence:
        return
    if asks := next((target for target, gate in section.cascade.items() if gate.min_confidence is not None), None):
        message = f"the task {name!r} has no measure of confidence, so that no answer would pass"
        raise ConfigurationError(f"routes.{name}.cascade.{asks}.min_confidence", message)
