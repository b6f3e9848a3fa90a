"""The proxy that a provider is reached through, where one is wanted: nothing is taken from the environment unasked.

With a proxy it is the proxy that looks the provider's name up, so the check of addresses that names resolve to is its
too. TLS is between us and the provider: the proxy sees the provider's name, and no key.
"""

import urllib.request
from typing import Final

import httpx

ENVIRONMENT: Final = "environment"
"""In a configuration: whatever HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY say."""


def proxy_for(base_url: str, setting: str | None) -> str | None:
    """The proxy's URL for an endpoint; None for none.

    *setting* is a URL, ``environment``, or None for no proxy. Raises ValueError for what is none.
    """
    if setting is None:
        return None
    if setting != ENVIRONMENT:
        return _checked(setting)
    url, found = httpx.URL(base_url), urllib.request.getproxies_environment()
    if urllib.request.proxy_bypass_environment(url.host, found):  # type: ignore[attr-defined]
        return None
    named = found.get(url.scheme) or found.get("all")
    return _checked(named) if named else None


def _checked(text: str) -> str:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        raise ValueError("is not a URL") from None
    if url.scheme != "http" or not url.host or url.path not in ("", "/") or url.query or url.fragment:
        raise ValueError(f'must be "{ENVIRONMENT}", or a URL such as http://proxy.example:3128')
    return text
