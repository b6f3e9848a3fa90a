"""The worker's settings: ``penstock.toml``, overridden by ``PENSTOCK_…`` variables, checked before anything starts.

A variable names a key by its path with two underscores between the parts: ``PENSTOCK_WORKER__CONCURRENCY=50``.
Keys that do not exist are errors, so that a misspelt limit is never silently off.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from penstock_schemas.jobs import Name
from penstock_schemas.limits import MAX_OUTPUT_TOKENS
from penstock_store.settings import Section, SharedSettings, config_file, read_settings
from penstock_worker.settings.chunks import RouteChunks
from penstock_worker.settings.money import BudgetSection, PriceSection, WatchSection
from penstock_worker.settings.routes import RouteTerms

__all__ = ["Settings", "config_file", "health_port", "load_settings"]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
LaneName = Literal["interactive", "standard", "bulk"]

_LANES: dict[LaneName, float] = {"interactive": 6, "standard": 3, "bulk": 1}


class BreakerSection(Section):
    """When a target that fails is left alone, and how it is tried again."""

    enabled: bool = True
    """False leaves it to a gateway of yours. A wait that a provider states is obeyed all the same."""
    window_s: Positive = 30.0
    """How far back failures count."""
    min_calls: int = Field(default=20, ge=1)
    """Below so many calls in the window the rate of failures says nothing."""
    failure_ratio: Annotated[float, Field(gt=0, le=1)] = 0.5
    """The part of the window's calls from which on it is left alone."""
    all_failed_calls: int = Field(default=5, ge=1)
    """So many failures without one success in the window are enough, for targets with few calls."""
    open_s: Positive = 5.0
    """How long it is left alone at first; twice as long each time that it fails again."""
    max_open_s: Positive = 60.0
    access_open_s: Positive = 30.0
    """The same for a refused key, an empty account and an unknown model."""
    max_access_open_s: Positive = 60.0
    probes: int = Field(default=3, ge=1, le=100)
    """Calls that try it again; when as many have gone well all go on."""
    ramp_s: Annotated[float, Field(ge=1, le=20)] = 10.0
    """From a reopening to full speed: five calls in the first second, twice as many in each that follows."""
    access_refused: Literal["wait", "fail"] = "wait"
    """Jobs that meet a refused key, an empty account or an unknown model wait until it is mended, at most to their
    deadlines; or they fail, and those that find the account closed too."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for least, most in (("open_s", "max_open_s"), ("access_open_s", "max_access_open_s")):
            if getattr(self, least) > getattr(self, most):
                raise ValueError(f"{least} ({getattr(self, least):g}) must not be above {most}")
        return self


class TenantSection(Section):
    """What differs for one tenant."""

    weight: Positive | None = None
    """Its share within a lane, where others have 1; None: 1."""
    cap: int | None = Field(default=None, ge=0)
    """The most of its jobs running; 0 for no bound, None: ``tenant_cap``."""


class WorkerSection(Section):
    """How a worker process works."""

    concurrency: int = Field(default=200, ge=1, le=10_000)
    """Jobs in flight in one process."""
    processes: int = Field(default=1, ge=1, le=256)
    """Processes with an event loop each, under one parent that starts again what dies."""
    lanes: dict[LaneName, Positive] = Field(default_factory=lambda: dict(_LANES))
    """Lanes served and their weights."""
    lease_s: Positive = 10.0
    """How long a job is held without a sign of life; a dead worker's jobs run again after it."""
    heartbeat_s: Positive = 3.0
    """How often leases are renewed."""
    drain_s: Positive = 150.0
    """How long a worker that is told to stop works on; longer than a call may take."""
    spare_slots: float = Field(default=0.1, ge=0, lt=1)
    """The part of a process' slots that one tenant's jobs of one lane leave to others, while there are others."""
    tenant_cap: int = Field(default=0, ge=0)
    """The most running jobs of one tenant; 0 for no bound."""
    tenants: dict[Name, TenantSection] = Field(default_factory=dict)
    """Tenants that differ from the others."""
    tasks: list[str] = Field(default_factory=list)
    """Modules of your own that register tasks, imported at start."""
    health_port: int | None = Field(default=None, ge=0, le=65_535)
    """A loopback port for liveness and readiness, of the first process; the others have those that follow.
    0: any; None: none."""
    breaker: BreakerSection = BreakerSection()
    dead_letter_days: Positive = 30.0
    """How long a dead letter made from an unreadable record is kept."""

    @model_validator(mode="after")
    def _safe_pairs(self) -> Self:
        if self.lease_s < 3 * self.heartbeat_s:
            raise ValueError(
                f"lease_s ({self.lease_s:g}) must be at least three times heartbeat_s ({self.heartbeat_s:g})"
            )
        if self.health_port and self.health_port + self.processes - 1 > 65_535:
            raise ValueError(f"health_port ({self.health_port}) leaves no port for each of {self.processes} processes")
        return self


class SecretSection(Section):
    """A secret by reference; the secret itself never stands in a configuration."""

    env: str | None = None
    """Name of an environment variable."""
    file: Path | None = None
    """A file that only its owner may read."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("give exactly one of env and file")
        return self


class LimitsSection(Section):
    """Limits on one call, in seconds."""

    connect_s: Positive = 5.0
    first_content_s: Positive = 60.0
    """Until the first content of a streamed answer."""
    content_idle_s: Positive = 30.0
    """Between two pieces of a streamed answer."""
    whole_call_s: Positive = 120.0


class ProviderSection(Section):
    """A provider, or anything that speaks its wire format."""

    kind: Literal["openai", "openai-responses", "anthropic", "azure", "gemini", "ollama"]
    """The wire format; ``openai`` is Chat Completions."""
    base_url: str
    api_key: SecretSection | None = None
    prompt_cache: bool = True
    """Use its cache of prompts' beginnings: they are marked where it wants that, and of jobs with a long one in common
    the first goes ahead of the others."""
    allow_private: bool = False
    """Allow plain http and private addresses: for a server on your own network."""
    proxy: str | None = None
    """URL of an HTTP proxy to reach it through, or ``environment`` for what HTTPS_PROXY and its like say; None: none,
    whatever they say."""
    limits: LimitsSection = LimitsSection()
    requests_per_min: int | None = Field(default=None, ge=1)
    """The most calls that each of its models is sent in a minute by all workers together; None: no limit."""
    tokens_per_min: int | None = Field(default=None, ge=1)
    """The same for tokens, input and output."""
    max_in_flight: int | None = Field(default=None, ge=1)
    """The same for calls at one time."""
    schema_mode: Literal["json_schema", "json_object", "prompt"] = "json_schema"
    """The strongest way of asking for a schema that it understands."""
    stream: Literal["asked", "long", "always"] = "long"
    """When answers are streamed to the worker: for jobs with ``stream`` alone; also where the output cap is at least
    4,096 tokens, so that one that turns into white space or a loop is cut and not paid for to its end; or always."""
    ca_file: Path | None = None
    price_refs: dict[str, str] = Field(default_factory=dict)
    """Model -> ``provider/model`` in the price table, where the name is one's own: a deployment, an alias."""
    context_windows: dict[str, Annotated[int, Field(ge=256)]] = Field(default_factory=dict)
    """Model -> tokens of input and output together that it takes, where that is not known or is less than is known."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What only this kind understands."""


class RouteSection(RouteTerms, RouteChunks):
    """Where a task's jobs go."""

    prompt: str | None = None
    """``name@version`` of a file in ``prompts`` beside the configuration; None: the task's own."""
    fallback: str | None = None
    """``"none"`` forbids the task's fallback; None, or its name, allows it."""
    max_output_tokens: int = Field(default=1024, ge=1, le=200_000)
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    unknown_price: Literal["refuse", "allow"] = "refuse"
    """``refuse``: a target without a price is an error at the start. ``allow``: it is called; what it costs is unknown,
    and budgets count its tokens alone."""
    cache_s: Positive | None = None
    """How long an answer without a doubt is kept for equal requests of the same tenant; None: it is not."""
    single_flight: bool = False
    """Equal jobs of a tenant that are there at once make one call, paid by the one that makes it."""


class LedgerSection(Section):
    """How long what was spent is kept. Entries are never taken out before they are in the sums."""

    entries_days: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 35.0
    """Each call by itself; 0: for ever. A month and some days, so that a provider's bill finds its calls."""
    entries: int = Field(default=1_000_000, ge=0)
    """The most calls kept by themselves, some 300 bytes each; 0: no bound."""
    hours_days: Positive = 35.0
    """Sums by hour."""
    days_days: Positive = 800.0
    """Sums by day."""


class QuotaSection(Section):
    """How much one tenant or user may enqueue, and how long its answers may be; None: no bound."""

    requests_per_min: int | None = Field(default=None, ge=1, le=2**31)
    tokens_per_min: int | None = Field(default=None, ge=1, le=2**40)
    request_bytes: int | None = Field(default=None, ge=1)
    max_output_tokens: int | None = Field(default=None, ge=1, le=MAX_OUTPUT_TOKENS)


class Settings(SharedSettings):
    """The whole configuration: what is shared, and what the worker alone reads."""

    model_config = SettingsConfigDict(extra="forbid")

    worker: WorkerSection = WorkerSection()
    providers: dict[str, ProviderSection] = Field(default_factory=dict)
    routes: dict[str, RouteSection] = Field(default_factory=dict)
    prices: dict[str, PriceSection] = Field(default_factory=dict)
    """``provider/model``, or ``provider/*`` -> prices, instead of those that are known."""
    ledger: LedgerSection = LedgerSection()
    budgets: dict[str, BudgetSection] = Field(default_factory=dict)
    """``global``, ``tenant:<name>``, ``tenant:*`` (each tenant without its own), ``user:<tenant>/<user>``,
    ``user:<tenant>/*``, ``user:*``, ``task:<name>`` or ``prompt:<name@version>`` -> limits."""
    watch: WatchSection = WatchSection()
    quotas: dict[str, QuotaSection] = Field(default_factory=dict)
    """``tenant:<name>``, ``tenant:*`` (each tenant without its own), ``user:<tenant>/<user>``, ``user:<tenant>/*`` or
    ``user:*`` -> how much may be enqueued."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for route, section in self.routes.items():
            for target in section.all_targets:
                provider = target.split("/", 1)[0]
                if "/" not in target or provider not in self.providers:
                    raise ValueError(
                        f"routes.{route}.targets: {target!r} is not provider/model of a configured provider"
                    )
        longest = max((p.limits.whole_call_s for p in self.providers.values()), default=0)
        if longest > self.worker.drain_s:
            raise ValueError(
                f"worker.drain_s ({self.worker.drain_s:g}) must not be below the longest whole_call_s ({longest:g})"
            )
        return self


def load_settings(given: str | None = None, **overrides: Any) -> Settings:
    """Read and check the whole configuration; see :func:`penstock_store.settings.read_settings`."""
    return read_settings(Settings, given, **overrides)


def health_port(section: WorkerSection, index: int) -> int | None:
    """The health port of the process with this index; 0 for any, None for none."""
    return section.health_port + index if section.health_port else section.health_port
