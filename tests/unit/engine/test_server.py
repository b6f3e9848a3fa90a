"""Which servers cannot be worked on at all."""

from typing import Any

import pytest

from penstock_worker.engine.server import wrong_kind


@pytest.mark.parametrize(
    ("info", "setting"),
    [
        ({"redis_version": "6.2.14"}, "version"),
        ({"redis_version": "7.2.4", "cluster_enabled": 1}, "cluster-enabled"),
        ({"redis_version": "7.2.4", "redis_mode": "cluster"}, "cluster-enabled"),
    ],
)
def test_an_old_server_and_a_cluster_are_refused(info: dict[str, Any], setting: str) -> None:
    """By the name of what is wrong."""
    fault = wrong_kind(info)
    assert fault is not None and fault.setting == setting


@pytest.mark.parametrize("version", ["7.0.0", "7.2.4", "9.1.0", ""])
def test_others_are_fine(version: str) -> None:
    """Also one that hides its version."""
    assert wrong_kind({"redis_version": version, "redis_mode": "standalone", "cluster_enabled": 0}) is None
