"""What is each family's own: paths, keys, models, counts, caches, tools, answers in the background."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest

from penstock_simulator import Simulator
from tests.integration.simulator.families import (
    ANTHROPIC,
    AZURE,
    CHAT,
    FAMILIES,
    GEMINI,
    OLLAMA,
    RESPONSES,
    TEXT,
    Family,
)

LONG = "The tunnel stays open on every weekday this year. " * 200
KEYS: dict[str, tuple[dict[str, str], int, int]] = {
    "openai_chat": ({"authorization": "Bearer sk-right"}, 401, 401),
    "openai_responses": ({"authorization": "Bearer sk-right"}, 401, 401),
    "anthropic_messages": ({"x-api-key": "sk-right"}, 401, 401),
    "azure_openai": ({"api-key": "sk-right"}, 401, 401),
    "ollama_chat": ({}, 200, 200),
    "gemini": ({"x-goog-api-key": "sk-right"}, 403, 400),
}
"""The key's header, and the status without a key and with a wrong one."""


@asynccontextmanager
async def _running(**settings: Any) -> AsyncIterator[tuple[Simulator, httpx.AsyncClient]]:
    async with (
        Simulator(**settings) as simulator,
        httpx.AsyncClient(base_url=simulator.url, trust_env=False, timeout=30) as client,
    ):
        yield simulator, client


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
async def test_the_key_is_wanted_in_the_familys_own_header(family: Family) -> None:
    """Ollama wants none."""
    right, missing, wrong = KEYS[family.name]
    async with _running(api_key="sk-right") as (_, client):
        request = family.request(False)
        statuses = []
        for key in ({}, dict.fromkeys(right, "Bearer sk-wrong"), right):
            response = await client.post(
                family.path(False), json=request["json"], headers={**request["headers"], **key}
            )
            statuses.append(response.status_code)
    assert statuses == [missing, wrong, 200]


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
async def test_a_rate_that_is_used_up_is_told_in_the_familys_own_way(family: Family) -> None:
    """By headers, or in the error's details; Ollama by the usual header alone."""
    async with _running(requests_per_min=1) as (_, client):
        first, second = [await client.post(family.path(False), **family.request(False)) for _ in range(2)]
    told = {name for name in second.headers if name.startswith(("x-ratelimit", "anthropic-ratelimit", "retry-after"))}
    assert (first.status_code, second.status_code) == (200, 429)
    match family.name:
        case "anthropic_messages":
            assert {"retry-after", "anthropic-ratelimit-requests-reset"} <= told
            assert second.headers["anthropic-ratelimit-requests-reset"].endswith("Z")
        case "gemini":
            assert not told
            details = {detail["@type"].rpartition(".")[2]: detail for detail in second.json()["error"]["details"]}
            assert 0 < float(details["RetryInfo"]["retryDelay"].removesuffix("s")) <= 60.01
        case "azure_openai":
            assert {"retry-after", "retry-after-ms", "x-ms-retry-after-ms"} <= told | {
                name for name in second.headers if name.startswith("x-ms-")
            }
        case "ollama_chat":
            assert "retry-after" in told
        case _:
            assert {"retry-after", "retry-after-ms", "x-ratelimit-reset-requests"} <= told


@pytest.mark.parametrize("path", ["/v1/models", "/openai/v1/models", "/api/tags", "/v1beta/models"])
async def test_models_are_listed_in_each_format(path: str, client: httpx.AsyncClient) -> None:
    """With names that can be asked for."""
    document = (await client.get(path)).json()
    assert len(document.get("data") or document["models"]) >= 2


async def test_the_same_path_lists_models_in_anthropics_format(client: httpx.AsyncClient) -> None:
    """For those who send its version header."""
    page = (await client.get("/v1/models", headers=ANTHROPIC.headers)).json()
    assert (page["has_more"], page["data"][0]["type"], page["first_id"]) == (False, "model", page["data"][0]["id"])


async def test_an_unknown_path_is_an_error_in_the_format_of_its_place(client: httpx.AsyncClient) -> None:
    """OpenAI's where nobody else owns it."""
    documents = [(await client.post(path, json={})).json() for path in ("/api/nope", "/v1beta/nope", "/v1/nope")]
    assert isinstance(documents[0]["error"], str)
    assert documents[1]["error"]["code"] == 404
    assert documents[2]["error"]["code"] == "unknown_url"


async def test_azure_has_two_path_forms(client: httpx.AsyncClient) -> None:
    """The deployment in the path, with a version, or in the body; the answer names the model behind it."""
    request = AZURE.request(False)["json"] | {"model": "my-deployment"}
    in_path = await client.post(
        "/openai/deployments/my-deployment/chat/completions?api-version=2024-10-21", json=request
    )
    in_body = await client.post("/openai/v1/chat/completions", json=request)
    no_version = await client.post("/openai/deployments/my-deployment/chat/completions", json=request)
    assert {in_path.json()["model"], in_body.json()["model"]} == {"gpt-4o-mini-2024-07-18"}
    assert in_path.headers["x-ms-deployment-name"] == in_body.headers["x-ms-deployment-name"] == "my-deployment"
    assert no_version.status_code == 404


async def test_azure_tells_what_its_filter_found(client: httpx.AsyncClient) -> None:
    """Before the first choice of a stream, beside each choice, and in the error for a blocked prompt."""
    streamed = AZURE.understand(await client.post(AZURE.path(True), **AZURE.request(True)), True)
    assert streamed.events[0]["choices"] == []
    assert streamed.events[0]["prompt_filter_results"][0]["content_filter_results"]["hate"]["filtered"] is False
    headers = {"x-simulate": "content-filter"}
    cut = (await client.post(AZURE.path(False), json=AZURE.body(False), headers=headers)).json()["choices"][0]
    assert cut["content_filter_results"]["violence"]["filtered"] is True
    headers = {"x-simulate": "content-policy"}
    error = (await client.post(AZURE.path(False), json=AZURE.body(False), headers=headers)).json()["error"]
    assert error["innererror"]["code"] == "ResponsibleAIPolicyViolation"
    assert error["innererror"]["content_filter_result"]["violence"]["filtered"] is True


async def test_gemini_streams_an_array_unless_asked_for_events(client: httpx.AsyncClient) -> None:
    """The same chunks, each with the usage so far."""
    events = await client.post(GEMINI.path(True), **GEMINI.request(True))
    array = await client.post(GEMINI.path(True).removesuffix("?alt=sse"), **GEMINI.request(True))
    assert array.headers["content-type"].startswith("application/json")
    heard = GEMINI.hear(array, array.json())
    assert heard.text == GEMINI.understand(events, True).text
    counts = [event["usageMetadata"].get("candidatesTokenCount", 0) for event in array.json()]
    assert counts == sorted(counts)
    assert len(set(counts)) > 3


async def test_gemini_thinks_beside_its_answer(client: httpx.AsyncClient) -> None:
    """Thoughts are output that the candidates' count leaves out."""
    response = await client.post("/v1beta/models/gemini-2.5-flash:generateContent", json=GEMINI.body(False))
    usage = response.json()["usageMetadata"]
    counted = usage["promptTokenCount"] + usage["candidatesTokenCount"] + usage["thoughtsTokenCount"]
    assert usage["totalTokenCount"] == counted


async def test_ollama_reports_the_count_after_its_cut(client: httpx.AsyncClient) -> None:
    """And is silent about it."""
    request = {**OLLAMA.body(False), "messages": [{"role": "user", "content": LONG}], "options": {"num_ctx": 512}}
    del request["format"]
    response = await client.post("/api/chat", json=request)
    assert response.status_code == 200
    assert response.json()["prompt_eval_count"] <= 512


async def test_anthropic_caches_what_is_marked(client: httpx.AsyncClient) -> None:
    """Written once, read after; neither is within the input tokens."""
    blocks = [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}]
    request = ANTHROPIC.request(False, system=blocks)
    first, second = [(await client.post("/v1/messages", **request)).json()["usage"] for _ in range(2)]
    written = first["cache_creation_input_tokens"]
    assert written > 1024
    assert first["cache_creation"]["ephemeral_5m_input_tokens"] == written
    assert (second["cache_creation_input_tokens"], second["cache_read_input_tokens"]) == (0, written)
    assert first["input_tokens"] == second["input_tokens"] < 200


@pytest.mark.parametrize("family", [CHAT, RESPONSES, AZURE, GEMINI, OLLAMA, ANTHROPIC], ids=lambda family: family.name)
async def test_who_caches_by_itself_counts_it_inside_the_input(
    family: Family, client: httpx.AsyncClient, simulator: Simulator
) -> None:
    """The total is the same; Anthropic needs a mark, Ollama tells nothing."""
    model = {"gemini": "gemini-2.5-flash"}.get(family.name)
    path = family.path(False) if model is None else f"/v1beta/models/{model}:generateContent"
    body = orjson.loads(orjson.dumps(family.body(False)).replace(orjson.dumps(TEXT)[1:-1], orjson.dumps(LONG)[1:-1]))
    body.pop("options", None)
    for _ in range(2):
        response = await client.post(path, json=body, headers=family.headers)
        assert response.status_code == 200
    first, second = simulator.calls()
    assert first.input_tokens == second.input_tokens
    assert first.cached_input_tokens == 0
    assert (second.cached_input_tokens >= 1024) == (family not in (OLLAMA, ANTHROPIC))


async def test_a_second_turn_reads_what_the_first_wrote_and_no_other_prompt_does(client: httpx.AsyncClient) -> None:
    """A re-ask begins like the ask; other words at the front share nothing."""

    async def cached(*messages: tuple[str, str]) -> int:
        body = {"model": "gpt-4o-mini", "messages": [{"role": role, "content": text} for role, text in messages]}
        usage = (await client.post(CHAT.path(False), json=body)).json()["usage"]
        return int(usage["prompt_tokens_details"]["cached_tokens"])

    ask = (("system", "Be exact."), ("user", LONG))
    assert await cached(*ask) == 0
    assert await cached(*ask, ("assistant", "A tunnel."), ("user", "Answer in JSON.")) >= 1024
    assert await cached(("system", "Be brief."), ("user", LONG)) == 0
    assert await cached(("system", "Be exact."), ("user", f"Summarize. {LONG}")) == 0


async def test_newer_openai_models_count_what_they_write_to_the_cache(client: httpx.AsyncClient) -> None:
    """It has a price of its own there."""
    request = CHAT.request(False, model="gpt-5.6-sol", messages=[{"role": "user", "content": LONG}])
    usages = [(await client.post(CHAT.path(False), **request)).json()["usage"] for _ in range(2)]
    written = usages[0]["prompt_tokens_details"]["cache_write_tokens"]
    assert written >= 1024
    assert usages[1]["prompt_tokens_details"]["cached_tokens"] == written


TURNS: dict[str, Any] = {
    "openai_chat": lambda said, result: {
        "messages": [
            *CHAT.body(False)["messages"],
            said["choices"][0]["message"],
            {"role": "tool", "tool_call_id": said["choices"][0]["message"]["tool_calls"][0]["id"], "content": result},
        ]
    },
    "openai_responses": lambda said, result: {
        "input": [
            *RESPONSES.body(False)["input"],
            *said["output"],
            {"type": "function_call_output", "call_id": said["output"][0]["call_id"], "output": result},
        ]
    },
    "anthropic_messages": lambda said, result: {
        "messages": [
            *ANTHROPIC.body(False)["messages"],
            {"role": "assistant", "content": said["content"]},
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": said["content"][0]["id"], "content": result}],
            },
        ]
    },
    "azure_openai": lambda said, result: TURNS["openai_chat"](said, result),
    "ollama_chat": lambda said, result: {
        "messages": [*OLLAMA.body(False)["messages"], said["message"], {"role": "tool", "content": result}]
    },
    "gemini": lambda said, result: {
        "contents": [
            *GEMINI.body(False)["contents"],
            said["candidates"][0]["content"],
            {"role": "user", "parts": [{"functionResponse": {"name": "look_up", "response": {"found": result}}}]},
        ]
    },
}
"""The next turn of each family, from its answer and the tool's result."""


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_rule_has_a_tool_called_and_the_result_is_taken(
    family: Family, stream: bool, client: httpx.AsyncClient, simulator: Simulator
) -> None:
    """The arguments arrive as they were scripted; the next turn is answered as ever."""
    simulator.script([{"fault": """tool-call name=look_up arguments='{"city":"Rome"}'""", "times": 2}])
    first = family.request(stream, tools=[family.tool])
    heard = family.understand(await client.post(family.path(stream), **first), stream)
    assert [(name, orjson.loads(arguments)) for name, arguments in heard.tools] == [("look_up", {"city": "Rome"})]
    assert (heard.finish, heard.done, heard.text or "") == (family.finishes[3], True, "")
    said = (await client.post(family.path(False), **family.request(False, tools=[family.tool]))).json()
    request = family.request(stream, tools=[family.tool], **TURNS[family.name](said, "sunny"))
    last = family.understand(await client.post(family.path(stream), **request), stream)
    assert set(last.answer) == {"summary", "label"}
    one, _, three = simulator.calls()
    assert three.input_tokens > one.input_tokens


async def test_a_tool_call_without_tools_is_an_error_of_the_script(client: httpx.AsyncClient) -> None:
    """A drill that cannot happen proves nothing."""
    response = await client.post(CHAT.path(False), json=CHAT.body(False), headers={"x-simulate": "tool-call"})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "bad_fault_spec")


async def test_a_tool_that_must_be_called_is_called(client: httpx.AsyncClient) -> None:
    """With arguments that fit its schema, made from the text."""
    schema = {"type": "object", "properties": {"summary": {"type": "string"}}, "required": ["summary"]}
    tool = {"name": "tell", "input_schema": schema}
    request = ANTHROPIC.request(False, tools=[tool], tool_choice={"type": "tool", "name": "tell"})
    (block,) = (await client.post("/v1/messages", **request)).json()["content"]
    assert (block["name"], "bridge" in block["input"]["summary"]) == ("tell", True)
    function = {"type": "function", "function": {"name": "tell", "parameters": schema}}
    request = CHAT.request(False, tools=[function], tool_choice="required")
    message = (await client.post(CHAT.path(False), **request)).json()["choices"][0]["message"]
    assert "bridge" in orjson.loads(message["tool_calls"][0]["function"]["arguments"])["summary"]


async def _begin(client: httpx.AsyncClient, **headers: str) -> dict[str, Any]:
    request = RESPONSES.request(False, background=True)["json"]
    begun: dict[str, Any] = (await client.post("/v1/responses", json=request, headers=headers)).json()
    return begun


async def _fetched(client: httpx.AsyncClient, id: str) -> dict[str, Any]:
    """The response once it is over."""
    async with asyncio.timeout(10):
        while True:
            document: dict[str, Any] = (await client.get(f"/v1/responses/{id}")).json()
            if document["status"] not in {"queued", "in_progress"}:
                return document


async def test_a_background_answer_has_an_id_at_once_and_is_charged_once() -> None:
    """However often it is fetched; nothing of it is there before it is done."""
    async with _running(latency="60ms") as (simulator, client):
        begun = await _begin(client)
        assert (begun["status"], begun["output"], begun["usage"], begun["background"]) == ("queued", [], None, True)
        assert not simulator.calls()[0].billed
        document = await _fetched(client, begun["id"])
        assert simulator.calls()[0].billed
        assert document == await _fetched(client, begun["id"])
        assert orjson.loads(document["output"][0]["content"][0]["text"]).keys() == {"summary", "label"}
        (call,) = simulator.calls()
        usage = document["usage"]
        assert (usage["input_tokens"], usage["output_tokens"]) == (call.input_tokens, call.output_tokens)
        assert (call.response_id, simulator.stats().billed_calls) == (begun["id"], 1)


async def test_a_background_answer_outlives_a_lost_connection() -> None:
    """The client never learns the id, and pays."""
    async with _running(latency="20ms") as (simulator, client):
        with pytest.raises(httpx.ReadError):
            await _begin(client, **{"x-simulate": "cut-lost"})
        await simulator.until(lambda stats: stats.billed_calls == 1)


async def test_a_cancel_in_the_queue_costs_nothing() -> None:
    """And what is over stays what it was."""
    async with _running(latency="100ms") as (simulator, client):
        begun = await _begin(client)
        for _ in range(2):
            cancelled = await client.post(f"/v1/responses/{begun['id']}/cancel")
            assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
        other = await _begin(client)
        done = await _fetched(client, other["id"])
        assert (await client.post(f"/v1/responses/{other['id']}/cancel")).json() == done
        assert [call.billed for call in simulator.calls()] == [False, True]
        assert (await client.get(f"/v1/responses/{begun['id']}")).json()["status"] == "cancelled"


async def test_only_background_answers_can_be_cancelled_and_stored_ones_fetched(client: httpx.AsyncClient) -> None:
    """Those that were made at once are there to fetch, unless they were not to be stored."""
    kept = (await client.post("/v1/responses", **RESPONSES.request(False))).json()
    assert (await client.get(f"/v1/responses/{kept['id']}")).json() == kept
    assert (await client.post(f"/v1/responses/{kept['id']}/cancel")).status_code == 400
    lost = (await client.post("/v1/responses", **RESPONSES.request(False, store=False))).json()
    assert (await client.get(f"/v1/responses/{lost['id']}")).status_code == 404
    assert (await client.delete(f"/v1/responses/{kept['id']}")).json()["deleted"] is True
    assert (await client.get(f"/v1/responses/{kept['id']}")).status_code == 404


async def test_a_background_answer_can_fail() -> None:
    """Under a good status, with a code."""
    async with _running(latency="20ms") as (_, client):
        begun = await _begin(client, **{"x-simulate": "error-in-200"})
        assert begun["status"] == "queued"
        document = await _fetched(client, begun["id"])
    assert (document["status"], document["error"]["code"], document["output"]) == ("failed", "server_error", [])


async def test_a_background_stream_is_kept_as_well() -> None:
    """It is fetched as it ended."""
    async with _running(latency="20ms") as (simulator, client):
        request = RESPONSES.request(True, background=True)
        heard = RESPONSES.understand(await client.post("/v1/responses", **request), True)
        document = await _fetched(client, heard.events[0]["response"]["id"])
        assert document == heard.events[-1]["response"]
        await simulator.until(lambda stats: stats.billed_calls == 1)
