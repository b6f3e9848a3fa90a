"""Where a request may go: the check of a configured address, and of every address its name resolves to.

The name is resolved, the addresses are checked, and the connection goes to a checked address, so that a name
which changes its mind between check and use gains nothing.
"""

import asyncio
import ipaddress
import re
import socket
import threading
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult


class Progress:
    """How far one request has come, as its connection tells."""

    __slots__ = ("connected",)

    def __init__(self) -> None:
        self.connected = False
        """A connection was handed to the request; from here on it may have been sent."""


PROGRESS: ContextVar[Progress | None] = ContextVar("penstock_call_progress", default=None)


def check_base_url(base_url: str, *, allow_private: bool) -> httpx.URL:
    """Return the parsed address of an endpoint. Raises ValueError saying what is wrong, without the address.

    Without *allow_private* it must be ``https://`` and no literal private, loopback or link-local address. It
    never has a user, a query or a fragment: what stands there ends in logs.
    """
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        raise ValueError("is not a URL") from None
    if url.scheme not in ("https", "http") or not re.fullmatch(r"[\w.:-]+", url.host):
        raise ValueError("must begin with https:// and a host")
    if url.userinfo or url.query or url.fragment:
        raise ValueError("must have no user, password, query or fragment; a key goes into api_key")
    if not allow_private:
        _check_public(url)
    return url


def _check_public(url: httpx.URL) -> None:
    if url.scheme != "https":
        raise ValueError("must begin with https://; allow_private = true permits a server of your own")
    if url.host == "localhost" or not _is_public(url.host, unknown=True):
        raise ValueError("is a private address; allow_private = true permits a server of your own")


def _is_public(address: str, *, unknown: bool = False) -> bool:
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return unknown
    mapped = getattr(ip, "ipv4_mapped", None) or getattr(ip, "sixtofour", None)
    return (mapped or ip).is_global and not ip.is_multicast


class CheckedResolver(AbstractResolver):
    """Resolves names in threads of its own and, unless *allow_private*, gives public addresses only."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Look *host* up. Raises OSError when there is no address that may be used."""
        found = await _apart(host, port, family)
        usable = [hit for hit in found if self._allow_private or _is_public(hit["host"])]
        if not usable:
            raise OSError(None, "the name resolves to private addresses only")
        return usable

    async def close(self) -> None:
        """Nothing is held."""


async def _apart(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    """Look up in a thread of its own, which nobody waits for.

    A lookup may hang for half a minute, and nothing can stop it. So it takes no thread of anybody else's, and is no
    reason for the process not to end. The connector asks once for all who wait for one name.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[ResolveResult]] = loop.create_future()

    def tell(result: list[ResolveResult] | OSError) -> None:
        if found.done():
            return
        if isinstance(result, OSError):
            found.set_exception(result)
        else:
            found.set_result(result)

    def run() -> None:
        result: list[ResolveResult] | OSError
        try:
            result = _look_up(host, port, family)
        except OSError as error:
            result = error
        except UnicodeError:
            result = OSError(None, "the name cannot be looked up")
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(tell, result)

    threading.Thread(target=run, name="penstock-resolve", daemon=True).start()
    return await found


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    infos = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    return [
        ResolveResult(
            hostname=host,
            host=str(address[0]),
            port=int(address[1]),
            family=kind,
            proto=proto,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for kind, _, proto, _, address in infos
    ]


class TellingConnector(aiohttp.TCPConnector):
    """A connector that notes in :data:`PROGRESS` when a request has got its connection."""

    async def connect(self, *args: Any, **kwargs: Any) -> Any:
        """Hand a connection to a request, new or from the pool."""
        connection = await super().connect(*args, **kwargs)
        progress = PROGRESS.get()
        if progress is not None:
            progress.connected = True
        return connection
