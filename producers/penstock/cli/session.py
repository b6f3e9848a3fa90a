"""What a subcommand runs in: the configuration, a producer, and where to print."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

import typer

from penstock.cli.output import Output
from penstock.cli.parsing import When, resolved
from penstock.producer import Producer
from penstock_schemas.errors import DurabilityError, UnavailableError
from penstock_schemas.results import moment
from penstock_store.command import CommandOptions
from penstock_store.settings import SharedSettings, config_file, exposed_password, read_settings

Work = Callable[["Session"], Awaitable[int | None]]


@dataclass(frozen=True, slots=True)
class Session:
    """One run of a subcommand."""

    options: CommandOptions
    settings: SharedSettings
    out: Output
    producer: Producer

    async def now(self) -> datetime:
        """Redis' time, by which everything is dated."""
        seconds, micros = await self.producer.link.execute("TIME")
        return moment(int(seconds) * 1000 + int(micros) // 1000)

    async def at(self, when: When | None) -> datetime | None:
        """A moment, or a time ago by Redis' clock, as a moment."""
        return None if when is None else resolved(when, await self.now())


def settings_of(options: CommandOptions) -> SharedSettings:
    """The configuration, with what stands before the subcommand over it. Raises ConfigurationError."""
    overrides: dict[str, dict[str, str]] = {}
    if options.redis_url is not None:
        overrides["redis"] = {"url": options.redis_url}
    if options.tenant is not None:
        overrides["producer"] = {"tenant": options.tenant}
    return read_settings(SharedSettings, options.config, **overrides)


def run(ctx: typer.Context, work: Work) -> None:
    """Run *work* in a session of this invocation, and end with the exit code that it returns (None: 0)."""
    options: CommandOptions = ctx.obj
    raise typer.Exit(asyncio.run(_run(options, work)) or 0)


async def _run(options: CommandOptions, work: Work) -> int | None:
    settings, out = settings_of(options), Output(options)
    file = config_file(options.config)
    if exposed_password(file, settings):
        out.error(f"penstock: warning: {file} holds a password and others may read it. Fix: chmod 600 {file}")
    async with Producer(settings.redis.url, tenant=settings.producer.tenant) as producer:
        try:
            return await work(Session(options, settings, out, producer))
        except DurabilityError:
            raise
        except UnavailableError as error:
            raise UnavailableError(f"{error.message} [{place_of(settings.redis.url)}]") from error


def place_of(url: str) -> str:
    """Where a Redis URL leads, without user and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
