"""Azure OpenAI: Chat Completions with Azure's paths, key header and content filter.

The model of a target is the name of a deployment, of which the price table knows nothing: ``price_ref`` names the
model that is behind it. The base URL is the resource's own, such as ``https://name.openai.azure.com``.

Options of a target of this kind, besides those of Chat Completions:

=============== ============ ==========================================================================
``path``         ``v1``       or ``deployments``: the older path with the deployment's name in it
``api_version``  none         the query ``api-version``; ``deployments`` needs one
``auth``         ``api-key``  or ``bearer``: the key is an Entra token
=============== ============ ==========================================================================
"""

from dataclasses import replace
from types import MappingProxyType
from urllib.parse import quote

from penstock_worker.llm.base import below
from penstock_worker.llm.family import Prepared
from penstock_worker.llm.openai_chat import OpenAIChat
from penstock_worker.llm.port import CallRequest, Target


class AzureOpenAI(OpenAIChat):
    """The family ``azure``."""

    options = MappingProxyType(
        {
            **OpenAIChat.options,
            "path": (str, ("v1", "deployments")),
            "api_version": (str, ()),
            "auth": (str, ("api-key", "bearer")),
        }
    )

    def check_options(self, target: Target) -> None:
        """Raise ValueError naming the option that is unknown, missing, or has a wrong value."""
        super().check_options(target)
        if target.options.get("path") == "deployments" and not target.options.get("api_version"):
            raise ValueError("options.api_version: needed with path = deployments, such as 2024-10-21")

    def prepare(self, target: Target, request: CallRequest) -> Prepared:
        """Make the body of Chat Completions, and Azure's path."""
        return replace(super().prepare(target, request), path=_path(target))

    def _key_header(self, target: Target, key: str) -> dict[str, str]:
        if target.options.get("auth") == "bearer":
            return super()._key_header(target, key)
        return {"api-key": key}


def _path(target: Target) -> str:
    version = target.options.get("api_version")
    query = f"?api-version={quote(version, safe='')}" if version else ""
    if target.options.get("path") == "deployments":
        return f"/openai/deployments/{quote(target.model, safe='')}/chat/completions{query}"
    return below(target, "/openai/v1", "/chat/completions") + query
