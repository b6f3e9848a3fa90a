"""OpenAI's stored responses: `GET` and `DELETE /v1/responses/{id}`, `POST /v1/responses/{id}/cancel`."""

from __future__ import annotations

import re

from penstock_simulator.ask import JsonObject, Problem, RefusedError, Request
from penstock_simulator.stored import StoredAnswers
from penstock_simulator.wire.openai_family import OpenAIFamily

_PATH = re.compile(r"^(?:/v1)?/responses/([^/]+)(/cancel)?$")
_FAMILY = OpenAIFamily()


def answer(request: Request, stored: StoredAnswers, api_key: str | None) -> JsonObject | None:
    """The document that answers *request*; None when it is not about a stored response.

    RefusedError: 401 without the key, 404 for an unknown id, 400 for a cancel of what was not in the background.
    """
    found = _PATH.match(request.path)
    if found is None:
        return None
    _FAMILY.authorize(request, api_key)
    id, cancels = found[1], found[2] is not None
    match request.method, cancels:
        case "GET", False:
            document = stored.get(id)
        case "POST", True:
            document = _cancelled(stored, id)
        case "DELETE", False:
            document = {"id": id, "object": "response", "deleted": True} if stored.delete(id) else None
        case _:
            return None
    if document is None:
        raise RefusedError(Problem(404, f"Response with id '{id}' not found."))
    return document


def _cancelled(stored: StoredAnswers, id: str) -> JsonObject | None:
    try:
        return stored.cancel(id)
    except ValueError:
        raise RefusedError(Problem(400, "Cannot cancel a synchronous response.")) from None
