"""The part of a request that others share, for the caches that providers keep of prompts' beginnings.

What never changes stands first: instructions, tools and schema, then what of the user part does not come from one job's
text. Providers cache no beginning of fewer than about a thousand tokens.
"""

from __future__ import annotations

import hashlib
from urllib.parse import urlsplit

import orjson

from penstock_worker.llm.port import CallRequest, Target

LEAST_CHARS = 4_096
"""Some 1,024 tokens of English: the least that OpenAI, Gemini and most models of Anthropic cache."""

_OWN_HOSTS = (".openai.com", ".openai.azure.com")


def prefix_digest(request: CallRequest) -> str | None:
    """32 hex digits for the beginning that the request shares with others; None when it is too short to be cached."""
    if len(request.system) + request.prefix_chars < LEAST_CHARS:
        return None
    parts = [
        request.system,
        request.user[: request.prefix_chars],
        [tool.name for tool in request.tools],
        request.schema,
    ]
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def cache_key_field(target: Target, request: CallRequest) -> dict[str, str]:
    """OpenAI's ``prompt_cache_key``, by which equal beginnings are sent where they are cached; {} for none.

    The option ``prompt_cache_key`` says whether the server knows the field; by default OpenAI's and Azure's own do.
    """
    host = urlsplit(target.base_url).hostname or ""
    if not (target.prompt_cache and target.options.get("prompt_cache_key", host.endswith(_OWN_HOSTS))):
        return {}
    digest = prefix_digest(request)
    return {"prompt_cache_key": digest} if digest else {}
