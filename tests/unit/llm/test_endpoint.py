"""Which addresses may be called."""

import asyncio
import socket
import threading
from typing import Any

import pytest

from penstock_worker.llm.endpoint import CheckedResolver, check_base_url
from penstock_worker.llm.http import tls_context

PUBLIC = ["https://api.openai.com/v1", "https://8.8.8.8/v1", "https://[2606:4700::1111]/v1", "https://example.com:8443"]
PRIVATE = [
    "http://api.openai.com/v1",
    "https://localhost/v1",
    "https://127.0.0.1/v1",
    "https://10.0.0.7/v1",
    "https://192.168.1.1",
    "https://169.254.169.254/latest",
    "https://100.64.0.1",
    "https://0.0.0.0",
    "https://[::1]/v1",
    "https://[fe80::1]/v1",
    "https://[fc00::1]/v1",
    "https://[::ffff:127.0.0.1]/v1",
    "https://[::ffff:10.0.0.1]/v1",
    "https://224.0.0.1",
]
NEVER = [
    "",
    "openai.com",
    "ftp://example.com",
    "file:///etc/passwd",
    "https://",
    "https://user@example.com",
    "https://user:secret@example.com/v1",
    "https://example.com/v1?key=secret",
    "https://example.com/v1#secret",
    "https://exa mple.com",
]


@pytest.mark.parametrize("url", PUBLIC)
def test_public_endpoints_pass(url: str) -> None:
    """A public https address needs no leave."""
    assert check_base_url(url, allow_private=False).scheme == "https"


@pytest.mark.parametrize("url", PRIVATE)
def test_private_endpoints_need_leave(url: str) -> None:
    """Plain http and addresses that are not public are for those who say so."""
    with pytest.raises(ValueError, match="allow_private"):
        check_base_url(url, allow_private=False)
    check_base_url(url, allow_private=True)


@pytest.mark.parametrize("url", NEVER)
def test_some_are_never_permitted(url: str) -> None:
    """What is no endpoint, or has a secret in it, is refused without being quoted."""
    with pytest.raises(ValueError, match=r"is not a URL|must") as caught:
        check_base_url(url, allow_private=True)
    assert "secret" not in str(caught.value)


async def test_a_name_is_checked_by_what_it_resolves_to() -> None:
    """A name of this machine gives no address without leave, and its addresses with it."""
    with pytest.raises(OSError, match="private"):
        await CheckedResolver(allow_private=False).resolve("localhost", 443)
    hosts = {hit["host"] for hit in await CheckedResolver(allow_private=True).resolve("localhost", 443)}
    assert hosts & {"127.0.0.1", "::1"}


async def test_a_lookup_that_hangs_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many hang, another name is found; and a thread that hangs is no reason for the process not to end."""
    free, real = threading.Event(), socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        if host == "hang.test":
            free.wait(60)
        return real("127.0.0.1" if host == "hang.test" else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    resolver = CheckedResolver(allow_private=True)
    hanging = [asyncio.create_task(resolver.resolve("hang.test", 443)) for _ in range(50)]
    try:
        assert (await resolver.resolve("127.0.0.1", 443))[0]["host"] == "127.0.0.1"
        assert not any(task.done() for task in hanging)
        threads = [thread for thread in threading.enumerate() if thread.name == "penstock-resolve"]
        assert threads and all(thread.daemon for thread in threads)
        hanging[0].cancel()
    finally:
        free.set()
    ends = await asyncio.gather(*hanging, return_exceptions=True)
    assert isinstance(ends[0], asyncio.CancelledError)
    assert all(end[0]["host"] == "127.0.0.1" for end in ends[1:] if not isinstance(end, BaseException))


def test_tls_has_a_floor_and_authorities() -> None:
    """Names and certificates are checked, from TLS 1.2 on, against authorities that are there."""
    context = tls_context(None)
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"
    assert context.minimum_version.name == "TLSv1_2"
    assert context.cert_store_stats()["x509_ca"] > 50
