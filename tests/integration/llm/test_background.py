"""Work in the background: begun once, looked for by its id, cancelled when it is not wanted any more."""

import asyncio
from typing import Any

import orjson
import pytest

from penstock_simulator.simulator import Simulator
from penstock_worker.llm.client import HttpModelClient, check_target
from penstock_worker.llm.errors import (
    CallDeadlineError,
    CallError,
    ResponseGoneError,
    ServerFailedError,
    WholeCallTimeoutError,
)
from penstock_worker.llm.port import CallLimits, CallRequest, KeptId, StopReason, Target
from tests.support.provider import Provider, Request, dumped
from tests.support.provider import response as whole


def target(base_url: str, **fields: Any) -> Target:
    limits = CallLimits(**fields.pop("limits", {}))
    options = {"background": True, **fields}
    return Target(
        "o/m", "openai-responses", "gpt-4o-mini", base_url, limits=limits, allow_private=True, options=options
    )


ASK = CallRequest(system="Be brief.", user="The mill stands by the river.", max_output_tokens=100)


class Notes:
    """Where ids are kept."""

    def __init__(self, id: str | None = None) -> None:
        self.noted: list[str] = []
        self.kept = KeptId(id, self.note)

    async def note(self, id: str) -> None:
        self.noted.append(id)


async def test_it_is_begun_looked_for_and_read(client: HttpModelClient) -> None:
    """One call on the bill; the id was kept; who wants deltas gets the answer as one."""
    async with Simulator(latency="300ms") as simulator:
        notes, said = Notes(), list[str]()
        answer = await client.call(target(simulator.base_url), ASK, kept=notes.kept, on_delta=said.append)
        (call,) = simulator.calls()
        assert notes.noted == [call.response_id]
        assert (answer.stop, "".join(said)) == (StopReason.COMPLETE, answer.text)
        assert answer.usage and answer.usage.output_tokens == call.visible_output_tokens
        assert answer.first_content_ms is not None and answer.first_content_ms >= 250


async def test_what_is_kept_is_not_begun_again(client: HttpModelClient) -> None:
    """Whoever has the id gets the answer, also a second time, and nothing more is on the bill."""
    async with Simulator(latency="300ms") as simulator:
        place, notes = target(simulator.base_url), Notes()
        waiting = asyncio.create_task(client.call(place, ASK, kept=notes.kept))
        await simulator.until(lambda stats: stats.requests == 1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        kept = simulator.calls()[0].response_id
        answers = [await client.call(place, ASK, kept=Notes(kept).kept) for _ in range(2)]
        assert answers[0].text == answers[1].text != ""
        assert len(simulator.calls()) == 1
        assert simulator.calls()[0].billed


async def test_an_id_that_is_not_known_is_told(client: HttpModelClient) -> None:
    """It may have been billed, whatever became of it."""
    async with Simulator() as simulator:
        with pytest.raises(ResponseGoneError) as caught:
            await client.call(target(simulator.base_url), ASK, kept=Notes("resp_gone").kept)
    assert caught.value.billed == "unknown"


@pytest.mark.parametrize(
    ("limits", "in_s", "error"), [({"whole_call_s": 0.4}, None, WholeCallTimeoutError), ({}, 0.4, CallDeadlineError)]
)
async def test_at_a_limit_it_is_cancelled(
    client: HttpModelClient, limits: dict[str, float], in_s: float | None, error: type[CallError]
) -> None:
    """It was cancelled in the queue, so it costs nothing at the provider; nobody here can know that."""
    async with Simulator(latency="30s") as simulator:
        deadline = None if in_s is None else asyncio.get_running_loop().time() + in_s
        with pytest.raises(error) as caught:
            await client.call(target(simulator.base_url, limits=limits), ASK, kept=Notes().kept, deadline=deadline)
        assert caught.value.billed == "unknown"
        kept = simulator.calls()[0].response_id
        assert simulator._provider.stored.get(str(kept))["status"] == "cancelled"  # type: ignore[index]


async def test_a_deadline_that_has_passed_says_nothing_of_what_goes_on(client: HttpModelClient) -> None:
    """Nothing is begun without an id; with one the work is cancelled, and may be billed."""
    async with Simulator(latency="30s") as simulator:
        place, past = target(simulator.base_url), asyncio.get_running_loop().time() - 1
        with pytest.raises(CallDeadlineError) as caught:
            await client.call(place, ASK, kept=Notes().kept, deadline=past)
        assert (caught.value.billed, simulator.calls()) == ("no", [])
        with pytest.raises(CallDeadlineError) as caught:
            await client.call(place, ASK, kept=Notes("resp_x").kept, deadline=past)
        assert caught.value.billed == "unknown"


def response(status: str, **fields: Any) -> dict[str, Any]:
    part = {"type": "output_text", "text": "done", "annotations": []}
    output = [{"type": "message", "role": "assistant", "content": [part]}] if status == "completed" else []
    return {"id": "resp_1/x", "object": "response", "status": status, "model": "m", "output": output, **fields}


async def test_a_look_that_fails_is_no_end(client: HttpModelClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused key, a server that fails, a body that is none, a connection that breaks: it is looked for again."""
    monkeypatch.setattr("penstock_worker.llm.background.FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr("penstock_worker.llm.background.LONGEST_PAUSE_S", 0.02)
    asked: list[str] = []

    async def serve(request: Request) -> None:
        asked.append(request.head.decode().split("\r\n")[0].removesuffix(" HTTP/1.1"))
        match len(asked):
            case 1:
                await request.send(whole(dumped(response("queued"))))
            case 2:
                await request.send(whole(dumped({"error": {"code": "invalid_api_key"}}), status="401 Unauthorized"))
            case 3:
                await request.send(whole(b"<html>", status="502 Bad Gateway"))
            case 4:
                await request.send(whole(b"{cut"))
            case 5:
                request.writer.close()
            case 6:
                await request.send(whole(dumped(response("in_progress"))))
            case _:
                await request.send(whole(dumped(response("completed"))))

    async with Provider(serve) as provider:
        answer = await client.call(target(provider.base_url), ASK, kept=Notes().kept)
    assert answer.text == "done"
    assert asked == ["POST /v1/responses", *["GET /v1/responses/resp_1%2Fx"] * 6]
    assert orjson.loads(provider.requests[0].body)["background"] is True


async def test_work_that_failed_may_have_been_billed(client: HttpModelClient) -> None:
    """The provider's own error, and its worst case stays on the books."""

    async def serve(request: Request) -> None:
        await request.send(whole(dumped(response("failed", error={"code": "server_error", "message": "no"}))))

    async with Provider(serve) as provider:
        with pytest.raises(ServerFailedError) as caught:
            await client.call(target(provider.base_url), ASK, kept=Notes().kept)
    assert caught.value.billed == "unknown"


def test_what_is_not_stored_cannot_be_found_again() -> None:
    """A contradiction in the options is an error at the start; other kinds do not know the option."""
    with pytest.raises(ValueError, match=r"options\.store: must not be false"):
        check_target(target("https://api.openai.com/v1", store=False))
    with pytest.raises(ValueError, match=r"options\.background: unknown"):
        check_target(Target("o/m", "openai", "m", "https://api.openai.com/v1", options={"background": True}))
