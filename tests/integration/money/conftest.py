"""A provider and a producer for a worker with budgets."""

from tests.integration.attempt.conftest import producer, settings, simulator

__all__ = ["producer", "settings", "simulator"]
