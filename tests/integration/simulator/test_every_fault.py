"""Every fault, in every family, whole and streamed, does over a real connection what is stated for it."""

from typing import Any

import httpx
import pytest

from penstock_simulator import FAULTS, Simulator
from tests.integration.simulator import effects
from tests.integration.simulator.families import CHAT, FAMILIES, Family

EFFECTS = [*effects.ANSWER, *effects.DOCUMENT, *effects.STREAMED, *effects.BYTES, *effects.WHOLE_ONLY]
every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def _request(family: Family, name: str, stream: bool) -> dict[str, Any]:
    request = family.request(stream, **({"tools": [family.tool]} if name == "tool-call" else {}))
    request["headers"] |= effects.spec(name)
    return request


def _code(document: dict[str, Any], family: Family) -> str | None:
    """The word by which a family tells an error from others."""
    if "promptFeedback" in document:
        return str(document["promptFeedback"]["blockReason"])
    error = document["error"]
    match family.name:
        case "ollama_chat":
            return None
        case "anthropic_messages":
            return str(error["type"])
        case "gemini":
            return str(error["status"])
    return str(error["code"] or error["type"])


def test_every_fault_has_a_stated_effect() -> None:
    """A new row of the table fails until its effect is stated."""
    stated = {*effects.REFUSED, *EFFECTS, *effects.BROKEN, *effects.SHORT, *effects.ENDLESS}
    assert stated == set(FAULTS)
    assert all(set(by_family) == set(FAMILIES) for by_family in effects.REFUSED.values())


@every_family
@both_ways
async def test_without_a_fault_the_answer_is_honest(
    family: Family, stream: bool, client: httpx.AsyncClient, simulator: Simulator
) -> None:
    """And what the bill says is what the answer says."""
    response = await client.post(family.path(stream), **family.request(stream))
    heard = family.understand(response, stream)
    assert effects.honest(heard, family)
    (call,) = simulator.calls()
    assert (call.wire, call.billed, call.stream) == (family.name, True, stream)
    spent, said, _ = family.counts
    assert heard.usage is not None
    assert (heard.usage[spent], heard.usage[said]) == (call.input_tokens, call.output_tokens)
    assert call.response_id is None or call.response_id in response.text


@every_family
@both_ways
@pytest.mark.parametrize("name", effects.REFUSED)
async def test_errors_are_the_familys_own(
    name: str, family: Family, stream: bool, client: httpx.AsyncClient, simulator: Simulator
) -> None:
    """In status, words and shape; they cost nothing, and a prompt that Gemini blocks is a 200."""
    response = await client.post(family.path(stream), **_request(family, name, stream))
    streamed = stream and response.status_code == 200
    (document,) = family.understand(response, streamed).events
    assert (response.status_code, _code(document, family)) == effects.REFUSED[name][family.name]
    assert [(call.billed, call.fault) for call in simulator.calls()] == [(False, name)]


@every_family
@both_ways
@pytest.mark.parametrize("name", EFFECTS)
async def test_answers_are_bent(
    name: str, family: Family, stream: bool, client: httpx.AsyncClient, simulator: Simulator
) -> None:
    """In the way that is stated, and in no other fault's place."""
    response = await client.post(family.path(stream), **_request(family, name, stream))
    heard = family.understand(response, stream)
    assert effects.effect_of(name, stream)(heard, family), response.text[:3000]
    (call,) = simulator.calls()
    assert (call.fault, call.billed) == (name, FAULTS[name].billed)


@every_family
@both_ways
@pytest.mark.parametrize("name", effects.BROKEN)
async def test_connections_break(
    name: str, family: Family, stream: bool, client: httpx.AsyncClient, simulator: Simulator
) -> None:
    """The client's library says so; the bill knows whether it cost anything."""
    with pytest.raises(effects.BROKEN[name]):
        await client.post(family.path(stream), **_request(family, name, stream), timeout=0.1)
    await simulator.until(lambda stats: stats.in_flight == 0 and stats.open_connections == 0)
    (call,) = simulator.calls()
    assert (call.fault, call.billed) == (name, FAULTS[name].billed)


@every_family
async def test_a_short_body_is_noticed(family: Family, client: httpx.AsyncClient) -> None:
    """The length told is not the length sent; a stream tells none and arrives."""
    with pytest.raises(httpx.RemoteProtocolError):
        await client.post(family.path(False), **_request(family, "short-body", False))
    streamed = await client.post(family.path(True), **_request(family, "short-body", True))
    assert effects.honest(family.understand(streamed, True), family)


@every_family
@both_ways
@pytest.mark.parametrize("name", effects.ENDLESS)
async def test_endless_answers_end_when_the_client_leaves(
    name: str, family: Family, stream: bool, client: httpx.AsyncClient, simulator: Simulator
) -> None:
    """Bytes keep coming; nothing is left behind."""
    async with client.stream("POST", family.path(stream), **_request(family, name, stream)) as response:
        chunks = response.aiter_raw()
        for _ in range(4):
            assert await anext(chunks)
    await simulator.until(lambda stats: stats.in_flight == 0)
    assert simulator.stats().disconnects == 1


@pytest.mark.parametrize("spec", ["429", "context-length", "cut-before", "hang"])
async def test_what_was_not_charged_warms_no_cache(spec: str, client: httpx.AsyncClient, simulator: Simulator) -> None:
    """A prompt that no model has read is not cached for the next call."""
    user = "The tunnel stays open on every weekday this year. " * 200
    request = CHAT.request(False, messages=[{"role": "user", "content": user}], response_format={"type": "text"})
    try:
        await client.post(CHAT.path(False), json=request["json"], headers={"x-simulate": spec}, timeout=0.1)
    except httpx.TransportError:
        await simulator.until(lambda stats: stats.in_flight == 0)
    usage = (await client.post(CHAT.path(False), json=request["json"])).json()["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == 0
    usage = (await client.post(CHAT.path(False), json=request["json"])).json()["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] >= 1024
