"""What a provider's refusal means: retry or not, another target or not, billed or not."""

import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock_worker.llm.client import HttpModelClient
from penstock_worker.llm.errors import CallError
from penstock_worker.llm.port import StopReason
from penstock_worker.llm.secrets import SecretReader, SecretRef
from tests.support.provider import (
    LAST_CHUNK,
    STREAM_HEAD,
    Provider,
    Request,
    completion,
    delta,
    dumped,
    event,
    response,
)

Make = Callable[..., Any]
KEY = "sk-canary-3f9a7c"


def error(**fields: Any) -> bytes:
    return dumped({"error": {"message": "provider words", "type": None, "param": None, "code": None, **fields}})


REFUSALS = [
    # status, body, headers -> code, retry, next target, breaker, billed
    ("401 U", error(code="invalid_api_key"), [], ("auth_failed", False, True, True, "no")),
    ("402 P", error(), [], ("quota_exhausted", False, True, True, "no")),
    ("403 F", error(), [], ("auth_failed", False, True, True, "no")),
    ("403 F", error(metadata={"reasons": ["x"]}), [], ("content_filtered", False, False, False, "no")),
    ("404 N", error(code="model_not_found"), [], ("model_not_found", False, True, True, "no")),
    ("408 T", error(), [], ("server_error", True, True, True, "no")),
    ("409 C", error(), [], ("server_error", True, True, True, "no")),
    ("413 L", error(), [], ("context_too_long", False, True, False, "no")),
    ("422 U", error(), [], ("request_rejected", False, False, False, "no")),
    ("429 T", error(), [], ("throttled", True, True, False, "no")),
    ("429 T", error(code="slow_down"), [], ("throttled", True, True, False, "no")),
    ("429 T", error(code="insufficient_quota"), [], ("quota_exhausted", False, True, True, "no")),
    ("429 T", error(), ["x-should-retry: false"], ("throttled", False, True, False, "no")),
    ("500 S", error(type="server_error"), [], ("server_error", True, True, True, "no")),
    ("502 B", b"<html>", [], ("gateway_error", True, True, True, "unknown")),
    ("503 U", error(type="server_error"), [], ("overloaded", True, True, True, "no")),
    ("503 U", error(type="unavailable_error"), [], ("overloaded", True, True, True, "no")),
    ("504 T", b"", [], ("gateway_error", True, True, True, "unknown")),
    ("524 T", b"<html>", [], ("gateway_error", True, True, True, "unknown")),
    ("529 O", error(type="overloaded_error"), [], ("overloaded", True, True, True, "no")),
    ("400 B", error(), [], ("request_rejected", False, False, False, "no")),
    ("400 B", error(code="context_length_exceeded"), [], ("context_too_long", False, True, False, "no")),
    (
        "400 B",
        dumped({"object": "error", "message": "This model's maximum context length is 8192 tokens", "code": 400}),
        [],
        ("context_too_long", False, True, False, "no"),
    ),
    ("400 B", error(param="response_format"), [], ("schema_unsupported", False, True, False, "no")),
    ("400 B", error(message="Invalid json_schema"), [], ("schema_unsupported", False, True, False, "no")),
    (
        "400 B",
        error(code="content_filter", innererror={"code": "ResponsibleAIPolicyViolation"}),
        [],
        ("content_filtered", False, False, False, "no"),
    ),
    ("400 B", b"plain text", [], ("request_rejected", False, False, False, "no")),
    ("307 R", b"", ["location: /elsewhere"], ("redirected", False, True, True, "no")),
    ("204 N", b"", [], ("bad_response", True, True, True, "unknown")),
    # inside a 200, where it may have worked before it failed
    ("200 OK", error(code=429), [], ("throttled", True, True, False, "unknown")),
    ("200 OK", error(code="server_error"), [], ("server_error", True, True, True, "unknown")),
    ("200 OK", dumped({"error": "boom"}), [], ("server_error", True, True, True, "unknown")),
    ("200 OK", b"", [], ("bad_response", True, True, True, "unknown")),
    ("200 OK", b"<html>Please log in</html>", [], ("bad_response", True, True, True, "unknown")),
    ("200 OK", b"[]", [], ("bad_response", True, True, True, "unknown")),
    ("200 OK", dumped({"choices": []}), [], ("bad_response", True, True, True, "unknown")),
    ("200 OK", dumped(completion(finish="error")), [], ("server_error", True, True, True, "unknown")),
    ("200 OK", b'{"choices":[{"message":{"content":"\\ud800"}}]}', [], ("bad_response", True, True, True, "unknown")),
]


@pytest.mark.parametrize(("status", "body", "headers", "expected"), REFUSALS)
async def test_refusals(
    client: HttpModelClient, target: Make, ask: Make, status: str, body: bytes, headers: list[str], expected: Any
) -> None:
    """Every answer that is none has one code, and says what to do about it."""

    async def script(request: Request) -> None:
        await request.send(response(body, status=status, headers=[*headers, "x-request-id: req-9"]))

    async with Provider(script) as provider:
        with pytest.raises(CallError) as caught:
            await client.call(target(provider), ask())
        assert len(provider.requests) == 1
    seen = caught.value
    assert (seen.code, seen.retry, seen.next_target, seen.trips_breaker, seen.billed) == expected
    assert seen.request_id == "req-9"
    assert seen.sent
    assert "provider words" not in str(seen) + seen.message


@pytest.mark.parametrize("cut", range(0, 200, 7))
async def test_cut_json_is_never_a_success(client: HttpModelClient, target: Make, ask: Make, cut: int) -> None:
    """A body that ends early, though its length is as announced, is a bad response."""
    body = dumped(completion("x" * 100))

    async def script(request: Request) -> None:
        await request.send(response(body[:cut]))

    async with Provider(script) as provider:
        with pytest.raises(CallError) as caught:
            await client.call(target(provider), ask())
    assert caught.value.code == "bad_response"


async def test_wait_is_handed_on(client: HttpModelClient, target: Make, ask: Make) -> None:
    """The provider's wait is on the error."""

    async def script(request: Request) -> None:
        await request.send(response(error(), status="429 T", headers=["retry-after: 7"]))

    async with Provider(script) as provider:
        with pytest.raises(CallError) as caught:
            await client.call(target(provider), ask())
    assert (caught.value.retry_after_s, caught.value.status) == (7.0, 429)


@pytest.mark.parametrize(
    ("finish", "refusal", "stop"),
    [
        ("length", None, StopReason.LENGTH),
        ("content_filter", None, StopReason.CONTENT_FILTER),
        ("tool_calls", None, StopReason.TOOL_CALLS),
        ("stop", "I can't", StopReason.REFUSAL),
        ("something_new", None, StopReason.UNKNOWN),
        (None, None, StopReason.UNKNOWN),
    ],
)
async def test_stop_reasons(
    client: HttpModelClient, target: Make, ask: Make, finish: str | None, refusal: str | None, stop: StopReason
) -> None:
    """A cut-off, a refusal and an unknown reason are answers, and are not complete; streamed or whole."""

    async def script(request: Request) -> None:
        if request.json.get("stream"):
            parts = [event(delta("a")), event(delta(finish=finish, refusal=refusal)), event("[DONE]")]
            await request.send(STREAM_HEAD, *parts, LAST_CHUNK)
            return
        body = completion("a", finish=finish)
        body["choices"][0]["message"]["refusal"] = refusal
        await request.send(response(dumped(body)))

    async with Provider(script) as provider:
        for stream in (False, True):
            answer = await client.call(target(provider), ask(stream=stream))
            assert (answer.stop, answer.refusal) == (stop, refusal)


@pytest.mark.parametrize("figure", ["NaN", "Infinity", "1e400", "-5", '"12"', "1" + "0" * 30])
async def test_absurd_usage_keeps_the_answer(client: HttpModelClient, target: Make, ask: Make, figure: str) -> None:
    """An answer is not lost for a usage that cannot be."""
    body = dumped(completion("kept")).replace(b'"completion_tokens": 3', b'"completion_tokens": ' + figure.encode())

    async def script(request: Request) -> None:
        await request.send(response(body))

    async with Provider(script) as provider:
        answer = await client.call(target(provider), ask())
    assert answer.text == "kept"
    assert answer.usage is not None
    assert answer.usage.suspect
    assert answer.usage.output_tokens == 2  # four bytes of answer


async def test_redirect_is_not_followed(client: HttpModelClient, target: Make, ask: Make) -> None:
    """The key goes to the configured address and nowhere else."""

    async def never(request: Request) -> None:
        raise AssertionError

    async with Provider(never) as other:

        async def script(request: Request) -> None:
            where = f"location: http://127.0.0.1:{other.port}/v1/chat/completions"
            await request.send(response(b"", status="307 Temporary Redirect", headers=[where]))

        async with Provider(script) as provider:
            with pytest.raises(CallError) as caught:
                await client.call(target(provider), ask())
        assert other.connections == 0
    assert caught.value.code == "redirected"


FAILURES: dict[str, Callable[[Request], bytes]] = {
    "quoted": lambda request: response(error(message=f"Incorrect API key {KEY}"), status="401 U"),
    "shaped": lambda request: response(error(message="Incorrect API key sk-proj-****abcd1234"), status="401 U"),
    "echoed": lambda request: response(request.head + request.body, status="500 S"),
    "broken": lambda request: b"HTTP/1.1 banana\r\n\r\n",
    "cut": lambda request: b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{",
}


@pytest.mark.parametrize("name", FAILURES)
async def test_the_key_is_nowhere(
    client: HttpModelClient,
    target: Make,
    ask: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    name: str,
) -> None:
    """No failure shows the key, the prompt or the URL: not in an error, its links, its trace or a log."""
    monkeypatch.setenv("CANARY_KEY", KEY)
    caplog.set_level(logging.DEBUG)

    async def script(request: Request) -> None:
        await request.send(FAILURES[name](request))
        request.writer.close()

    place_ref = SecretRef(env="CANARY_KEY")
    async with Provider(script) as provider:
        place = target(provider, api_key=place_ref)
        with pytest.raises(CallError) as caught:
            await client.call(place, ask(user="canary prompt"))
        seen = caught.value
    assert seen.__cause__ is None
    assert seen.__context__ is None
    written = "".join(traceback.format_exception(seen)) + repr(vars(seen)) + repr(place) + caplog.text
    written += "".join(repr(answer) for answer in capfd.readouterr())
    assert KEY not in written
    assert "abcd1234" not in written
    assert f":{provider.port}" not in "".join(traceback.format_exception(seen)) + caplog.text


async def test_rotated_key_is_read_again(target: Make, ask: Make, tmp_path: Path) -> None:
    """After a 401 the key file is read afresh, however recently it was read."""
    path = tmp_path / "key"
    path.write_text("sk-old\n")
    path.chmod(0o600)

    async def script(request: Request) -> None:
        right = request.headers["authorization"] == "Bearer sk-new"
        body = response(dumped(completion())) if right else response(error(), status="401 U")
        await request.send(body)

    client = HttpModelClient(secrets=SecretReader(reread_s=1e9))
    async with Provider(script) as provider:
        place = target(provider, api_key=SecretRef(file=str(path)))
        with pytest.raises(CallError):
            await client.call(place, ask())
        path.write_text("sk-new\n")
        assert (await client.call(place, ask())).text == "hello"
    await client.aclose()


async def test_missing_key_sends_nothing(client: HttpModelClient, target: Make, ask: Make) -> None:
    """Without its key a call is not made."""

    async def never(request: Request) -> None:
        raise AssertionError

    async with Provider(never) as provider:
        with pytest.raises(CallError) as caught:
            await client.call(target(provider, api_key=SecretRef(env="NO_SUCH_KEY_HERE")), ask())
        assert provider.connections == 0
    assert (caught.value.code, caught.value.sent, caught.value.billed) == ("auth_failed", False, "no")


async def test_unusable_prompt_sends_nothing(client: HttpModelClient, target: Make, ask: Make) -> None:
    """Half a surrogate pair cannot be sent."""

    async def never(request: Request) -> None:
        raise AssertionError

    async with Provider(never) as provider:
        with pytest.raises(CallError) as caught:
            await client.call(target(provider), ask(user="\ud800"))
        assert provider.connections == 0
    assert (caught.value.code, caught.value.sent) == ("request_rejected", False)
