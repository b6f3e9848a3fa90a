"""The table of foreign errors is complete, and says whether a request was sent."""

import asyncio
from collections.abc import Iterator

import aiohttp
import httpx
import pytest

from penstock_worker.llm.errors import (
    CallError,
    ConnectFailedError,
    ConnectionLostError,
    OverloadedError,
    TlsFailedError,
)
from penstock_worker.llm.foreign import CAUGHT, FOREIGN, translate

PASSED_OVER = {
    # of websockets, unix sockets and proxies, which are not used; of redirects, which are not followed
    "WSServerHandshakeError",
    "ContentTypeError",
    "ClientHttpProxyError",
    "ClientProxyConnectionError",
    "UnixClientConnectorError",
    "RedirectClientError",
    "InvalidUrlRedirectClientError",
    "NonHttpUrlRedirectClientError",
    # treated as their base class
    "InvalidUrlClientError",
    "ClientConnectorSSLError",
    "ClientConnectorCertificateError",
    "ClientConnectionResetError",
    "ServerConnectionError",
    "UploadAbortedError",
}


def descendants(base: type[BaseException]) -> Iterator[type[BaseException]]:
    for child in base.__subclasses__():
        yield child
        yield from descendants(child)


def httpx_errors() -> list[type[BaseException]]:
    exported = (getattr(httpx, name) for name in httpx.__all__)
    return [item for item in exported if isinstance(item, type) and issubclass(item, BaseException)]


@pytest.mark.parametrize("kind", httpx_errors(), ids=lambda kind: kind.__name__)
def test_every_httpx_error_is_mapped(kind: type[BaseException]) -> None:
    """A new httpx has no error that the table does not know by name, and none that the edge lets through."""
    assert kind in FOREIGN
    assert issubclass(kind, CAUGHT)


def test_every_aiohttp_error_is_mapped_or_named() -> None:
    """A new aiohttp has no client error that nobody has thought about."""
    theirs = {kind for kind in descendants(aiohttp.ClientError) if kind.__module__.startswith("aiohttp.")}
    unknown = {kind.__name__ for kind in theirs if kind not in FOREIGN} - PASSED_OVER
    assert unknown == set()
    assert all(issubclass(kind, CAUGHT) for kind in theirs)


@pytest.mark.parametrize(
    "kind", [aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, asyncio.TimeoutError, OSError]
)
def test_a_connected_request_may_have_been_sent(kind: type[Exception]) -> None:
    """A hang-up after the request is "lost, billed unknown", though the transport calls it ConnectTimeout."""
    wrapped = httpx.ConnectTimeout("x")
    wrapped.__cause__ = kind()
    error = translate(wrapped, connected=True)
    assert type(error) is ConnectionLostError
    assert (error.sent, error.billed) == (True, "unknown")


def test_nothing_was_sent_before_a_connection() -> None:
    """The same error without a connection is certain not to cost anything."""
    error = translate(aiohttp.ServerDisconnectedError(), connected=False)
    assert type(error) is ConnectFailedError
    assert (error.sent, error.billed) == (False, "no")


def test_tls_stays_tls() -> None:
    """A failed handshake is told from an unreachable host."""
    import ssl

    assert type(translate(ssl.SSLError(1, "bad"), connected=False)) is TlsFailedError


def test_content_that_was_seen_is_billed() -> None:
    """An error that costs nothing in itself does once content has come."""
    assert OverloadedError().billed == "no"
    assert OverloadedError(received_bytes=9).billed == "yes"
    assert OverloadedError(received_bytes=9, sent=False).billed == "no"


def all_errors(base: type[CallError] = CallError) -> Iterator[type[CallError]]:
    yield base
    for child in base.__subclasses__():
        yield from all_errors(child)


def test_codes_are_unique_and_messages_safe() -> None:
    """Each code names one class, and no class is without a message of its own kind."""
    named = [kind for kind in all_errors() if "code" in vars(kind)]
    assert len({kind.code for kind in named}) == len(named)
    assert all(kind().message == kind.message and kind.message.endswith(".") for kind in named)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """The drawing lists every class with its code."""
    from penstock_worker.llm import errors

    drawn = errors.__doc__ or ""
    for kind in all_errors():
        assert kind.__name__ in drawn
        assert "code" not in vars(kind) or kind is CallError or kind.code in drawn


def test_detail_is_bounded_and_printable() -> None:
    """A provider's words are cut to 256 bytes and lose their control characters."""
    error = CallError(detail="\x1b[31m" + "é" * 1000)
    assert len(error.detail.encode()) <= 256
    assert error.detail.isprintable()
    assert "é" not in repr(error) + str(error)
