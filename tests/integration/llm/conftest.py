"""A client and the two sides of a call."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from penstock_worker.llm.client import HttpModelClient
from penstock_worker.llm.port import CallLimits, CallRequest, Target
from tests.support.provider import Provider


@pytest.fixture
async def client() -> AsyncIterator[HttpModelClient]:
    """A client that is closed in the end."""
    client = HttpModelClient()
    yield client
    await client.aclose()


@pytest.fixture
def target() -> Callable[..., Target]:
    """Make a target at a provider; fields of CallLimits go into its limits."""

    def make(provider: Provider, **fields: Any) -> Target:
        limits = {name: fields.pop(name) for name in CallLimits.__slots__ if name in fields}
        base = {"name": "test/model", "kind": "openai", "model": "model", "base_url": provider.base_url}
        return Target(**{**base, "allow_private": True, "limits": CallLimits(**limits), **fields})

    return make


@pytest.fixture
def ask() -> Callable[..., CallRequest]:
    """Make a small request."""

    def make(**fields: Any) -> CallRequest:
        return CallRequest(**{"system": "Be brief.", "user": "Hi", "max_output_tokens": 100, **fields})

    return make
