"""Work that a provider goes on with by itself, under an id by which whoever comes later finds it again.

1. One POST begins it and gives the id, which is kept before anything else is done.
2. It is looked for by GET until it has ended; whoever has the id can do that, and nothing is begun a second time.
   What goes wrong with a look is no end of the work: it is looked for again, until a limit of the call is reached.
3. At a limit, or when it is not wanted any more, it is cancelled.

A provider that does not know the id any more makes a :class:`~penstock_worker.llm.errors.ResponseGoneError`.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import quote

from penstock_worker.llm.errors import BadResponseError, CallError, ModelNotFoundError, ResponseGoneError
from penstock_worker.llm.port import KeptId
from penstock_worker.llm.wire import document, text_of

FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 5.0
"""Between two looks: the first, and what it grows to, half as long again each time."""

LOOK_S: Final = 20.0
"""How long one look may take."""

WITHDRAW_S: Final = 3.0
"""How long it is tried to cancel what is not wanted any more."""

_GOES_ON: Final = ("queued", "in_progress")


class Response(Protocol):
    """What a request was answered with."""

    headers: dict[str, str]


class Look(NamedTuple):
    """The state of the work as it was seen."""

    body: bytes
    top: Mapping[str, Any]
    response: Response

    @property
    def ended(self) -> bool:
        """Whether it has become what it will be."""
        return self.top.get("status") not in _GOES_ON


Send = Callable[[str, str, bytes], Awaitable[tuple[bytes, Response]]]
"""Sends method, path and body; gives the body and the response of a 200. Raises CallError for any other end."""


async def work_out(send: Send, path: str, body: bytes, kept: KeptId) -> Look:
    """Begin the work, or find again what was begun under *kept*, and wait until it has ended. Raises CallError."""
    look = await _begin(send, path, body, kept) if kept.id is None else await _look(send, path, kept.id)
    pause_s = FIRST_PAUSE_S
    while look is None or not look.ended:
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)
        look = await _look(send, path, str(kept.id))
    return look


async def withdraw(send: Send, path: str, kept_id: str) -> None:
    """Cancel the work; that it cannot be done is no error, for nothing more could be done about it."""
    with contextlib.suppress(CallError, TimeoutError):
        async with asyncio.timeout(WITHDRAW_S):
            await send("POST", f"{_place(path, kept_id)}/cancel", b"")


async def _begin(send: Send, path: str, body: bytes, kept: KeptId) -> Look | None:
    look = _read(*await send("POST", path, body))
    found = text_of(look.top.get("id"), 256)
    if found is not None:
        await kept.keep(found)
    elif not look.ended:
        raise BadResponseError(detail="work in the background without an id")
    return look


async def _look(send: Send, path: str, kept_id: str) -> Look | None:
    """The state of the work; None when it cannot be told now. Raises ResponseGoneError."""
    try:
        async with asyncio.timeout(LOOK_S):
            return _read(*await send("GET", _place(path, kept_id), b""))
    except ModelNotFoundError as error:
        raise ResponseGoneError(detail=error.detail, request_id=error.request_id) from None
    except TimeoutError:
        return None
    except CallError as error:
        await asyncio.sleep(min(error.retry_after_s or 0.0, LOOK_S))
        return None


def _place(path: str, kept_id: str) -> str:
    return f"{path}/{quote(kept_id, safe='')}"


def _read(body: bytes, response: Response) -> Look:
    return Look(body, document(body), response)
