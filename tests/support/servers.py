"""Which server the tests run on: PENSTOCK_TEST_REDIS is ``valkey`` (the default), ``redis7`` or a path."""

import os
import shutil
from pathlib import Path

from penstock_store.server import bundled_redis

VARIABLE = "PENSTOCK_TEST_REDIS"


def server_binary() -> Path:
    """The server that PENSTOCK_TEST_REDIS names. ``valkey`` is the bundled one, ``redis7`` that on PATH."""
    choice = os.environ.get(VARIABLE, "valkey")
    if choice == "valkey":
        return bundled_redis()
    binary = shutil.which("redis-server" if choice == "redis7" else choice)
    if binary is None:
        raise RuntimeError(f"{VARIABLE}={choice}: there is no such server; expected valkey, redis7 or a path")
    return Path(binary)
