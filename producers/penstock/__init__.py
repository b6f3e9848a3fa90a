"""Penstock: LLM work in a queue.

``from penstock import Producer, Summarize, Classify, Extract`` is all that a service needs. The names are loaded
at their first use, so that the command can show its help without a Redis client and the contracts in memory.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from penstock._api import *  # noqa: F403
    from penstock._api import __all__ as __all__
else:

    def __getattr__(name):
        if name.startswith("_") and name != "__all__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from penstock import _api

        try:
            value = globals()[name] = getattr(_api, name)
        except AttributeError:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
        return value

    def __dir__():
        return sorted({*globals(), *__getattr__("__all__")})
