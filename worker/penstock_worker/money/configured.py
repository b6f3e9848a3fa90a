"""From settings to prices, budgets and what is watched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from penstock_schemas.budgets import WINDOWS, Budget, Limit
from penstock_schemas.errors import ConfigurationError
from penstock_schemas.results import nanousd
from penstock_worker.money.budgets import Bound, Budgets
from penstock_worker.money.costing import Costing
from penstock_worker.money.prices import PriceError, PriceTable
from penstock_worker.money.usage import token_bound
from penstock_worker.money.watch import Watch
from penstock_worker.routing.routes import Route, Routes
from penstock_worker.settings import Settings
from penstock_worker.settings.money import BudgetSection
from penstock_worker.tasks.definition import Task

_MB = 1_000_000
_FRAME_BYTES = 2_000
"""Of what a prompt puts around a task's input, beside its own text."""


def make_costing(settings: Settings) -> Costing:
    """The prices. Raises ConfigurationError for one that cannot be."""
    try:
        return Costing(PriceTable({name: s.model_dump(exclude_none=True) for name, s in settings.prices.items()}))
    except PriceError as error:
        raise ConfigurationError("prices", str(error)) from None


def check_prices(routes: Iterable[Route], costing: Costing) -> None:
    """Raise ConfigurationError for a target without a price, on a route that does not allow it."""
    for route in routes:
        for target in route.all_targets:
            if route.unknown_price == "refuse" and not costing.knows(target):
                ref = target.price_ref or target.name
                message = (
                    f'its price is unknown: give input_per_mtok and output_per_mtok ("0" for a model that is free), '
                    f'name its price in providers.*.price_refs, or set routes.{route.name}.unknown_price = "allow"'
                )
                raise ConfigurationError(f'prices."{ref}"', message)


def make_budgets(settings: Settings, tasks: Mapping[str, Task[Any]], routes: Routes, costing: Costing) -> Budgets:
    """The budgets. Raises ConfigurationError for a scope or an amount that is none."""
    bounds = {name: _bound(task, routes.configured(name), costing) for name, task in tasks.items()}
    return Budgets(
        {scope: _budget(scope, section) for scope, section in settings.budgets.items()},
        {name: bound for name, bound in bounds.items() if bound is not None},
    )


def make_watch(settings: Settings) -> Watch:
    """What is watched. Raises ConfigurationError for an amount that is none."""
    plain = settings.watch.model_dump()
    least = _amount("watch.min_usd", plain.pop("min_usd"))
    return Watch(min_nanousd=least or 0, **plain)


def _bound(task: Task[Any], route: Route, costing: Costing) -> Bound | None:
    """What one call of *task* may take at most, over all targets of its route; None where a price is unknown."""
    prompt, cap = route.prompt or task.prompt, route.max_output_tokens
    tokens = token_bound(len(prompt.system.encode()) + _FRAME_BYTES, strict=True)
    empty = [costing.worst_case(target, tokens, cap) for target in route.all_targets]
    full = [costing.worst_case(target, tokens + _MB, cap) for target in route.all_targets]
    if None in empty or None in full:
        return None
    most, most_full = max(n for n in empty if n is not None), max(n for n in full if n is not None)
    return Bound(most, most_full - most, tokens + cap)


def _budget(scope: str, section: BudgetSection) -> Budget:
    limits = {
        window: Limit(
            _amount(f"budgets.{scope}.{window}_usd", getattr(section, f"{window}_usd")),
            getattr(section, f"{window}_tokens"),
        )
        for window in WINDOWS
    }
    return Budget({window: limit for window, limit in limits.items() if limit.bounded}, section.when_spent)


def _amount(key: str, usd: str | None) -> int | None:
    try:
        amount = None if usd is None else nanousd(usd)
    except ValueError as error:
        raise ConfigurationError(key, f'give USD as a string such as "5.00" ({error})') from None
    if amount is not None and amount < 0:
        raise ConfigurationError(key, "must not be negative")
    return amount
