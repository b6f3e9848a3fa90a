"""Lanes, tenants and tasks that are paused: their jobs wait, uncharged, until they are resumed.

A pause stops starts, of first attempts and of later ones. What runs goes on; what is enqueued is accepted and waits; a
deadline goes on running. It holds for all workers, is kept in Redis, and each change is noted in ``penstock:audit``.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence

from penstock.dead_letters import this_user
from penstock.producer import Producer
from penstock_schemas import keys
from penstock_schemas.errors import InvalidRequestError
from penstock_schemas.jobs import Lane
from penstock_schemas.limits import NAME_PATTERN, TASK_PATTERN
from penstock_store.scripts import load_script

_PAUSE = load_script("penstock", "pause")
_NAMES = re.compile(rf"lane:(?:{'|'.join(lane.value for lane in Lane)})|tenant:{NAME_PATTERN}|task:{TASK_PATTERN}")


class Pauses:
    """What is paused, over all tenants. Names are ``lane:bulk``, ``tenant:acme``, ``task:summarize``.

    *who* is noted beside what is done; None: the user of this process and its machine. Every method raises
    UnavailableError when Redis is away.
    """

    def __init__(self, producer: Producer, *, who: str | None = None) -> None:
        self._link = producer.link
        self._who = who or this_user()

    async def names(self) -> list[str]:
        """All that is paused, in order."""
        return sorted(name.decode(errors="replace") for name in await self._link.execute("SMEMBERS", keys.PAUSED))

    async def pause(self, names: Sequence[str]) -> list[str]:
        """Pause these; those that were not paused before. Raises InvalidRequestError for a name there cannot be."""
        return await self._change("pause", names)

    async def resume(self, names: Sequence[str]) -> list[str]:
        """Let these go on, within about two seconds; those that were paused. Raises as :meth:`pause`."""
        return await self._change("resume", names)

    async def _change(self, what: str, names: Sequence[str]) -> list[str]:
        for name in names:
            if not _NAMES.fullmatch(name):
                lanes = ", ".join(f"lane:{lane.value}" for lane in Lane)
                raise InvalidRequestError(f"{name!r} is none of {lanes}, tenant:NAME, task:NAME", field="name")
        replies = await self._link.call(_PAUSE, [], [what, self._who, secrets.token_hex(8), *names])
        return [name for name, changed in zip(names, replies, strict=True) if changed]
