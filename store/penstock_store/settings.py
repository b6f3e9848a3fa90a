"""The part of the configuration that every process of ours reads: ``penstock.toml`` and ``PENSTOCK_…`` variables.

1. The file: the one that is named, else that of ``PENSTOCK_CONFIG``, else ``penstock.toml`` here if it is there.
2. A variable names a key by its path with two underscores between the parts, ``PENSTOCK_REDIS__URL``, and wins
   over the file; what is given in code or on the command line wins over both.
3. A key that does not exist is an error, so that a misspelt limit is never silently off. Sections that are not
   described here are the worker's, whose settings build on these.
"""

from __future__ import annotations

import os
import stat
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from penstock_schemas.errors import ConfigurationError
from penstock_schemas.validation import first_fault
from penstock_store.connection import check_url

CONFIG_VARIABLE = "PENSTOCK_CONFIG"
DEFAULT_FILE = "penstock.toml"
REDIS_URL_VARIABLE = "REDIS_URL"


class Section(BaseModel):
    """Base of all sections: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class RedisSection(Section):
    """Where Redis is."""

    url: str = "redis://localhost:6379/0"
    allow_plaintext: bool = False
    """Allow ``redis://`` to another machine: prompts, answers and the password then cross the network readable."""
    allow_volatile: bool = False
    """Let workers start on a Redis that keeps nothing on disk: all jobs are lost when it ends. For development."""
    require_own_user: bool = False
    """Let no worker start as Redis' default user, who may do anything; else it is only warned of on another machine."""


class ProducerSection(Section):
    """What the command uses when it enqueues and looks."""

    tenant: str = "default"


class SharedSettings(BaseSettings):
    """The sections that everyone reads; others are let through unread."""

    model_config = SettingsConfigDict(
        env_prefix="PENSTOCK_",
        env_nested_delimiter="__",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    redis: RedisSection = RedisSection()
    producer: ProducerSection = ProducerSection()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given, then variables, then the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


SettingsT = TypeVar("SettingsT", bound=SharedSettings)


def config_file(given: str | None = None) -> Path | None:
    """The file to read: *given*, else ``PENSTOCK_CONFIG``, else ``penstock.toml`` if it is there; None for none.

    Raises ConfigurationError when a file that was named does not exist.
    """
    named = given or os.environ.get(CONFIG_VARIABLE)
    path = Path(named or DEFAULT_FILE)
    if path.is_file():
        return path
    if named:
        raise ConfigurationError("config", f"there is no file {path}")
    return None


def read_settings(kind: type[SettingsT], given: str | None = None, **overrides: Any) -> SettingsT:
    """Read and check the configuration as *kind*. *overrides* (sections as dicts) win over file and variables.

    ``REDIS_URL`` is taken for ``redis.url`` where nothing else sets it. Raises ConfigurationError with the key
    and what was expected of it; its message never holds the value.
    """
    path = config_file(given)
    try:
        settings = _from_file(kind, path)(**overrides)
    except ValidationError as error:
        key, message = first_fault(error)
        raise ConfigurationError(key or "configuration", message) from None
    except (ValueError, OSError) as error:
        raise ConfigurationError(str(path), f"cannot be read as TOML: {error}") from None
    if "url" not in settings.redis.model_fields_set and (url := os.environ.get(REDIS_URL_VARIABLE)):
        settings = settings.model_copy(update={"redis": settings.redis.model_copy(update={"url": url})})
    _check_redis(settings.redis)
    return settings


def exposed_password(path: Path | None, settings: SharedSettings) -> bool:
    """Whether the Redis password stands in a file that others than its owner may read."""
    if path is None or os.name != "posix" or not urlsplit(settings.redis.url).password:
        return False
    if os.environ.get("PENSTOCK_REDIS__URL") or "url" not in settings.redis.model_fields_set:
        return False
    return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def is_this_machine(url: str) -> bool:
    """Whether a Redis URL leads to a loopback address or a Unix socket, so that nothing crosses a network."""
    parts = urlsplit(url)
    if parts.scheme == "unix" or parts.hostname == "localhost":
        return True
    try:
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def _from_file(kind: type[SettingsT], path: Path | None) -> type[SettingsT]:
    """*kind*, reading *path*: where pydantic-settings wants to be told the file."""
    config = SettingsConfigDict(toml_file=path)
    return type(kind.__name__, (kind,), {"model_config": config, "__module__": kind.__module__})


def _check_redis(section: RedisSection) -> None:
    check_url(section.url)
    if section.url.startswith("redis://") and not is_this_machine(section.url) and not section.allow_plaintext:
        raise ConfigurationError(
            "redis.url",
            "redis:// to another machine sends everything unencrypted; use rediss://, or set "
            "redis.allow_plaintext = true (PENSTOCK_REDIS__ALLOW_PLAINTEXT=true) for a network you trust",
        )
