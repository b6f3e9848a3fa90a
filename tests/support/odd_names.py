"""Names that resolve oddly, for workers under test; ``odd_resolver``, as a module of tasks, puts it in place.

``hang.test`` takes half a minute, ``nowhere.test`` does not exist, ``rebind.test`` is public at first and of this
machine after, ``mapped.test``, ``metadata.test`` and ``private.test`` are addresses that are not public.
"""

import itertools
import socket
import time
from typing import Any

HANG_S = 30.0
PUBLIC = "2aff:ffff::1"
"""An address of nobody's, which counts as public and cannot be reached."""

_real = socket.getaddrinfo
rebound = itertools.chain([PUBLIC], itertools.repeat("127.0.0.1"))
"""What ``rebind.test`` is, time after time."""

_FIXED = {"private.test": "127.0.0.1", "mapped.test": "::ffff:127.0.0.1", "metadata.test": "169.254.169.254"}


def getaddrinfo(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
    """As the one of the library, but for the names above."""
    if host == "hang.test":
        time.sleep(HANG_S)  # what a resolver does whose server is silent
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")
    if host == "nowhere.test":
        raise socket.gaierror(socket.EAI_NONAME, "no such name")
    if host == "rebind.test":
        host = next(rebound)
    return _real(_FIXED.get(host, host), port, *arguments, **options)


def install() -> None:
    """Put it in the library's place, for the whole process."""
    socket.getaddrinfo = getaddrinfo
