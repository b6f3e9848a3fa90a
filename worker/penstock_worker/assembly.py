"""From settings to a worker that is ready to run."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from penstock_schemas.errors import ConfigurationError
from penstock_worker.llm.client import FAMILIES, check_target
from penstock_worker.llm.port import CallLimits, SchemaMode, Target
from penstock_worker.llm.proxies import proxy_for
from penstock_worker.llm.secrets import SecretRef
from penstock_worker.routing.configured import make_route, window_of
from penstock_worker.routing.policy import BreakerPolicy, Policy, TargetLimits
from penstock_worker.routing.routes import DEFAULT, Routes
from penstock_worker.settings import ProviderSection, Settings
from penstock_worker.tasks.definition import Task, tasks

log = structlog.get_logger("penstock.worker")

STREAM_FROM_TOKENS = {"asked": None, "long": 4096, "always": 1}
"""When a call is streamed though nobody listens -> the output cap from which on it is."""

BUILT_IN = ("summarize", "classify", "extract")


def load_tasks(settings: Settings) -> dict[str, Task[Any]]:
    """Import the three tasks and those of ``worker.tasks``; all that have a route.

    Raises ConfigurationError for a module that cannot be imported, and when there is no route at all: such a worker
    would run, and leave every job where it is.
    """
    for name in BUILT_IN:
        importlib.import_module(f"penstock_worker.tasks.{name}")
    for module in settings.worker.tasks:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ConfigurationError("worker.tasks", f"{module} cannot be imported: {error}") from None
    known = dict(tasks())
    if not settings.routes:
        raise ConfigurationError("routes", "there is none; name the models that answer in routes.default.targets")
    unknown = sorted(settings.routes.keys() - known.keys() - {DEFAULT})
    if unknown:
        raise ConfigurationError(f"routes.{unknown[0]}", f"there is no such task; known: {', '.join(sorted(known))}")
    used = {name: task for name, task in known.items() if name in settings.routes or DEFAULT in settings.routes}
    for name, task in used.items():
        _check_tools(name, task, settings)
    return used


def _check_tools(name: str, task: Task[Any], settings: Settings) -> None:
    """Whether all tools of a task are there, its targets can be told of them, and no answer stands in for an act."""
    offered = task.offered()
    if not offered:
        return
    route = name if name in settings.routes else DEFAULT
    changes = [tool.name for tool in offered if not tool.read_only]
    for key in ("cache_s", "single_flight"):
        if changes and getattr(settings.routes[route], key):
            what = f"must be off for the task {name!r}: an answer used again would leave out what {changes[0]!r} does"
            raise ConfigurationError(f"routes.{route}.{key}", what)
    for target in settings.routes[route].all_targets:
        provider = target.split("/", 1)[0]
        kind = settings.providers[provider].kind
        if not FAMILIES[kind].takes_tools:
            what = (
                f"{target!r} cannot be told of the tools of the task {name!r}: providers.{provider} is of kind {kind}"
            )
            raise ConfigurationError(f"routes.{route}.targets", what)


def make_routes(settings: Settings, config_folder: Path) -> Routes:
    """The routes and all targets they name. Raises what :func:`make_route` does."""
    targets = {
        name: checked_target(name, settings.providers)
        for section in settings.routes.values()
        for name in section.all_targets
    }
    routes = {
        name: make_route(name, section, targets, config_folder / "prompts") for name, section in settings.routes.items()
    }
    return Routes(routes, targets)


def make_policy(settings: Settings) -> Policy:
    """How targets are spared."""
    limits = {
        name: TargetLimits(provider.requests_per_min, provider.tokens_per_min, provider.max_in_flight)
        for name, provider in settings.providers.items()
    }
    return Policy(BreakerPolicy(**settings.worker.breaker.model_dump(exclude={"access_refused"})), limits)


def checked_target(name: str, providers: Mapping[str, ProviderSection]) -> Target:
    """The target ``provider/model``. Raises ConfigurationError for what could never be called, or only unsafely."""
    target = make_target(name, providers)
    try:
        check_target(target)
    except ValueError as error:
        raise ConfigurationError(f"providers.{name.split('/', 1)[0]}", str(error)) from None
    if target.api_key is not None and (warning := target.api_key.warning()):
        log.warning("secret_file_open", what=warning)
    return target


def make_target(name: str, providers: Mapping[str, ProviderSection]) -> Target:
    """The target ``provider/model``."""
    provider_name, model = name.split("/", 1)
    provider = providers[provider_name]
    limits = provider.limits
    return Target(
        name=name,
        kind=provider.kind,
        model=model,
        base_url=provider.base_url,
        proxy=_proxy(provider_name, provider),
        api_key=_secret(provider),
        limits=CallLimits(limits.connect_s, limits.first_content_s, limits.content_idle_s, limits.whole_call_s),
        schema_mode=SchemaMode(provider.schema_mode),
        stream_from_tokens=STREAM_FROM_TOKENS[provider.stream],
        price_ref=provider.price_refs.get(model),
        context_window=window_of(provider, model, provider.price_refs.get(model, name)),
        allow_private=provider.allow_private,
        prompt_cache=provider.prompt_cache,
        ca_file=str(provider.ca_file) if provider.ca_file else None,
        options=provider.options,
    )


def _proxy(name: str, provider: ProviderSection) -> str | None:
    """Raises ConfigurationError for a proxy that is none, without quoting it: it may hold a password."""
    try:
        return proxy_for(provider.base_url, provider.proxy)
    except ValueError as error:
        raise ConfigurationError(f"providers.{name}.proxy", str(error)) from None


def _secret(provider: ProviderSection) -> SecretRef | None:
    if provider.api_key is None:
        return None
    file = provider.api_key.file
    return SecretRef(env=provider.api_key.env, file=str(file) if file else None)
