"""What the HTTP libraries raise, in our words: the one table at the edge.

Foreign errors carry the request, and with it the key and the URL; ours are built anew and keep no link to them.
The transport names some aiohttp errors badly (a server that hangs up after the request becomes a
``ConnectTimeout``), so that where there is an aiohttp error underneath, it alone is looked at.
"""

import asyncio
import ssl

import aiohttp
import httpx

from penstock_worker.llm.errors import (
    BadResponseError,
    CallError,
    ConnectFailedError,
    ConnectionLostError,
    RedirectedError,
    TlsFailedError,
)

FOREIGN: dict[type[BaseException], type[CallError]] = {
    # aiohttp, most of them below ClientError
    aiohttp.ClientError: ConnectionLostError,
    aiohttp.ClientResponseError: BadResponseError,
    aiohttp.TooManyRedirects: RedirectedError,
    aiohttp.ClientConnectionError: ConnectionLostError,
    aiohttp.ClientOSError: ConnectionLostError,
    aiohttp.ClientConnectorError: ConnectFailedError,
    aiohttp.ClientConnectorDNSError: ConnectFailedError,
    aiohttp.ClientSSLError: TlsFailedError,
    aiohttp.ServerFingerprintMismatch: TlsFailedError,
    aiohttp.ServerDisconnectedError: ConnectionLostError,
    aiohttp.ConnectionTimeoutError: ConnectFailedError,
    aiohttp.SocketTimeoutError: ConnectionLostError,
    aiohttp.ServerTimeoutError: ConnectionLostError,
    aiohttp.ClientPayloadError: ConnectionLostError,
    aiohttp.InvalidURL: ConnectFailedError,
    aiohttp.NonHttpUrlClientError: ConnectFailedError,
    # httpx, where it speaks for itself
    httpx.HTTPError: ConnectionLostError,
    httpx.RequestError: ConnectionLostError,
    httpx.TransportError: ConnectionLostError,
    httpx.TimeoutException: ConnectionLostError,
    httpx.ConnectTimeout: ConnectFailedError,
    httpx.ReadTimeout: ConnectionLostError,
    httpx.WriteTimeout: ConnectionLostError,
    httpx.PoolTimeout: ConnectFailedError,
    httpx.NetworkError: ConnectionLostError,
    httpx.ReadError: ConnectionLostError,
    httpx.WriteError: ConnectionLostError,
    httpx.ConnectError: ConnectFailedError,
    httpx.CloseError: ConnectionLostError,
    httpx.ProxyError: ConnectFailedError,
    httpx.UnsupportedProtocol: ConnectFailedError,
    httpx.ProtocolError: BadResponseError,
    httpx.LocalProtocolError: BadResponseError,
    httpx.RemoteProtocolError: BadResponseError,
    httpx.DecodingError: BadResponseError,
    httpx.TooManyRedirects: RedirectedError,
    httpx.HTTPStatusError: BadResponseError,
    httpx.InvalidURL: ConnectFailedError,
    httpx.CookieConflict: BadResponseError,
    httpx.StreamError: ConnectionLostError,
    httpx.StreamConsumed: ConnectionLostError,
    httpx.StreamClosed: ConnectionLostError,
    httpx.ResponseNotRead: ConnectionLostError,
    httpx.RequestNotRead: ConnectionLostError,
    # below both
    ssl.SSLError: TlsFailedError,
    asyncio.TimeoutError: ConnectionLostError,
    OSError: ConnectionLostError,
    RuntimeError: ConnectionLostError,  # "Session is closed"
    ValueError: BadResponseError,  # headers and chunk sizes that are no numbers
}

CAUGHT = (
    aiohttp.ClientError,
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.CookieConflict,
    OSError,
    RuntimeError,
    ValueError,
)
"""What the edge catches. Cancellation and errors of programming pass."""


def translate(error: BaseException, *, connected: bool) -> CallError:
    """Make a CallError of a library's error.

    *connected* is whether a connection had been handed to the request: before that nothing was sent, after
    that something may have been, whatever the error is called.
    """
    cause = error.__cause__
    root = cause if isinstance(cause, aiohttp.ClientError) else error
    kind = next((FOREIGN[base] for base in type(root).__mro__ if base in FOREIGN), ConnectionLostError)
    detail = type(root).__name__
    if not connected:
        return (kind if kind is TlsFailedError else ConnectFailedError)(sent=False, detail=detail)
    return (ConnectionLostError if kind in (ConnectFailedError, TlsFailedError) else kind)(detail=detail)
