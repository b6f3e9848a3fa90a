"""Guards on a real Redis, with a clock that the test moves."""

from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from penstock_worker.routing.policy import BreakerPolicy, Policy, TargetLimits
from tests.support.guards import ACCOUNT, Guards


@pytest.fixture
def guards(redis: Redis) -> Guards:
    """With the defaults, and without limits."""
    return Guards(redis)


@pytest.fixture
def limited(redis: Redis) -> Callable[..., Guards]:
    """Make guards with limits on each target of the account."""

    def make(**limits: Any) -> Guards:
        return Guards(redis, Policy(BreakerPolicy(), {ACCOUNT: TargetLimits(**limits)}))

    return make
