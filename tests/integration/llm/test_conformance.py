"""Every family against the simulator, which was written apart from it: one suite for all wire formats."""

import asyncio
from collections.abc import Iterator
from typing import Any

import jsonschema
import orjson
import pytest

from penstock_simulator.bill import BilledCall
from penstock_simulator.process import SimulatorProcess
from penstock_worker.llm.absent import drop_absent
from penstock_worker.llm.client import FAMILIES, HttpModelClient, check_target
from penstock_worker.llm.errors import CallError
from penstock_worker.llm.port import Answer, CallRequest, SchemaMode, StopReason, Target
from penstock_worker.llm.secrets import SecretRef
from penstock_worker.money.usage import Usage

KINDS = sorted(FAMILIES)
WITH_ACCOUNTS = [kind for kind in KINDS if kind != "ollama"]
"""Ollama has no keys, no quota and no filter."""
MODELS = {
    "openai": "gpt-4o-mini",
    "openai-responses": "gpt-4o-mini",
    "anthropic": "claude-haiku-4-5",
    "azure": "gpt-4o-mini",
    "gemini": "gemini-2.5-flash",
    "ollama": "llama3.2",
}
TEXT = "The cat sat on the mat. It was a good mat. The dog did not sit on it, though it would have liked to."
SCHEMA = {
    "type": "object",
    "properties": {
        "summary": {"type": "string", "minLength": 1},
        "score": {"type": "integer", "minimum": 0},
        "mood": {"enum": ["calm", "tense"]},
    },
    "required": ["summary"],
}
FREE_FORM = {"type": "object", "additionalProperties": {"type": "string"}}


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess() as process:
        yield process


@pytest.fixture(autouse=True)
def fresh(simulator: SimulatorProcess) -> None:
    """A bill and a prompt cache for each test alone."""
    simulator.reset()


def target(simulator: SimulatorProcess, kind: str, fault: str = "", **fields: Any) -> Target:
    """A target at the simulator, which plays *fault* on every call."""
    base_url = simulator.base_url if kind.startswith("openai") else simulator.url
    options = {**fields.pop("options", {}), **({"headers": {"x-simulate": fault}} if fault else {})}
    if kind == "gemini":
        options["thinking_budget"] = options.get("thinking_budget", 0)
    base = {"name": "s/m", "kind": kind, "model": MODELS[kind], "base_url": base_url, "allow_private": True}
    place = Target(**{**base, **fields}, options=options)
    check_target(place)
    return place


def ask(**fields: Any) -> CallRequest:
    return CallRequest(**{"system": "Summarize.", "user": TEXT, "max_output_tokens": 300, **fields})


def the_call(simulator: SimulatorProcess) -> BilledCall:
    """What the provider's own bill says of the one call."""
    (call,) = simulator.calls()
    return call


def expected(kind: str, call: BilledCall) -> Usage:
    """The bill in our buckets. Ollama counts neither a cache nor reasoning apart."""
    if kind == "ollama":
        return Usage(input_tokens=call.input_tokens, output_tokens=call.output_tokens)
    return Usage(
        input_tokens=call.uncached_input_tokens,
        cache_read_tokens=call.cached_input_tokens,
        cache_write_tokens=call.cache_write_tokens + call.cache_write_1h_tokens,
        output_tokens=call.visible_output_tokens,
        reasoning_tokens=call.reasoning_tokens,
    )


def same(ours: Usage | None, bill: Usage) -> bool:
    """Whether the figures agree, where a provider leaves out what is zero."""
    names = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
    return ours is not None and all((getattr(ours, name) or 0) == (getattr(bill, name) or 0) for name in names)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("schema", [None, SCHEMA, FREE_FORM], ids=["plain", "schema", "free-form"])
async def test_an_answer(
    client: HttpModelClient, simulator: SimulatorProcess, kind: str, stream: bool, schema: dict[str, Any] | None
) -> None:
    """The answer is whole, fits its schema, is the sum of its pieces, and its usage is the provider's own bill."""
    seen: list[str] = []
    place = target(simulator, kind)
    answer = await client.call(place, ask(stream=stream, schema=schema), on_delta=seen.append)
    assert answer.stop is StopReason.COMPLETE
    assert answer.text == "".join(seen)
    assert answer.text
    assert len(seen) > 1 or not stream or answer.text == "{}"
    assert answer.usage is not None
    assert not answer.usage.suspect
    assert same(answer.usage, expected(kind, the_call(simulator)))
    if schema is not None:
        jsonschema.validate(drop_absent(orjson.loads(answer.text), schema), schema)
    weaker = SchemaMode.PROMPT if kind == "anthropic" else SchemaMode.JSON_OBJECT
    modes = {None: None, "score": SchemaMode.JSON_SCHEMA, "free-form": weaker}
    assert answer.schema_mode is modes[schema and ("free-form" if schema is FREE_FORM else "score")]


@pytest.mark.parametrize("kind", KINDS)
async def test_whole_and_streamed_are_one_answer(
    client: HttpModelClient, simulator: SimulatorProcess, kind: str
) -> None:
    """Text, stop reason, model and usage do not depend on how the answer came."""
    place = target(simulator, kind)
    whole = await client.call(place, ask(schema=SCHEMA))
    streamed = await client.call(place, ask(schema=SCHEMA, stream=True))
    assert (streamed.text, streamed.stop, streamed.model) == (whole.text, whole.stop, whole.model)
    assert streamed.usage == whole.usage


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", [SchemaMode.JSON_OBJECT, SchemaMode.PROMPT])
async def test_weaker_modes(client: HttpModelClient, simulator: SimulatorProcess, kind: str, mode: SchemaMode) -> None:
    """The schema in the prompt is a request that the provider takes."""
    answer = await client.call(target(simulator, kind), ask(schema=SCHEMA, schema_mode=mode))
    assert answer.schema_mode in (mode, SchemaMode.PROMPT)
    assert answer.stop is StopReason.COMPLETE


@pytest.mark.parametrize("kind", WITH_ACCOUNTS)
async def test_the_key(client: HttpModelClient, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The right key is let in, a wrong one and none are not."""
    monkeypatch.setenv("CONFORMANCE_KEY", "sk-right")
    monkeypatch.setenv("CONFORMANCE_WRONG", "sk-wrong")
    with SimulatorProcess(api_key="sk-right") as locked:
        right = target(locked, kind, api_key=SecretRef(env="CONFORMANCE_KEY"))
        assert (await client.call(right, ask())).stop is StopReason.COMPLETE
        for wrong in (target(locked, kind), target(locked, kind, api_key=SecretRef(env="CONFORMANCE_WRONG"))):
            with pytest.raises(CallError) as caught:
                await client.call(wrong, ask())
            assert (caught.value.code, caught.value.billed) == ("auth_failed", "no")
            assert "sk-wrong" not in caught.value.detail


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_the_cap(client: HttpModelClient, simulator: SimulatorProcess, kind: str, stream: bool) -> None:
    """The output cap is in the field that the provider obeys, and an answer that reaches it is a cut-off."""
    answer = await client.call(target(simulator, kind), ask(stream=stream, max_output_tokens=16))
    assert answer.stop is StopReason.LENGTH
    assert the_call(simulator).output_tokens <= 16
    assert answer.usage is not None
    assert not answer.usage.suspect


ENDS = [
    ("length", {StopReason.LENGTH}),
    ("content-filter", {StopReason.CONTENT_FILTER, StopReason.REFUSAL}),
    ("refusal", {StopReason.REFUSAL, StopReason.CONTENT_FILTER, StopReason.COMPLETE}),
    ("reasoning-only", {StopReason.LENGTH}),
]


@pytest.mark.parametrize(
    ("kind", "fault", "stops"),
    [(kind, *end) for kind in KINDS for end in ENDS if kind in WITH_ACCOUNTS or end[0] != "content-filter"],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_ends_that_are_not_complete(
    client: HttpModelClient, simulator: SimulatorProcess, kind: str, fault: str, stops: set[StopReason], stream: bool
) -> None:
    """A cut-off, a refusal and a filtered answer say so; where a format has no word for a refusal, it is text."""
    answer = await client.call(target(simulator, kind, fault), ask(stream=stream))
    assert answer.stop in stops
    if fault == "refusal" and kind not in ("ollama", "gemini"):
        assert answer.stop is StopReason.REFUSAL
    assert same(answer.usage, expected(kind, the_call(simulator)))


ERRORS = [
    # fault -> code, retry, breaker, billed
    ("429", ("throttled", True, False, "no")),
    ("rate-limit", ("throttled", True, False, "no")),
    ("quota", ("quota_exhausted", False, True, "no")),
    ("overloaded", ("overloaded", True, True, "no")),
    ("500", ("server_error", True, True, "no")),
    ("502", ("gateway_error", True, True, "unknown")),
    ("503", ("overloaded", True, True, "no")),
    ("504", ("gateway_error", True, True, "unknown")),
    ("529", ("overloaded", True, True, "no")),
    ("408", ("server_error", True, True, "no")),
    ("invalid-key", ("auth_failed", False, True, "no")),
    ("model-not-found", ("model_not_found", False, True, "no")),
    ("context-length", ("context_too_long", False, False, "no")),
    ("schema-unsupported", ("schema_unsupported", False, False, "no")),
    ("html", ("bad_response", True, True, "unknown")),
    ("empty-body", ("bad_response", True, True, "unknown")),
    ("redirect", ("redirected", False, True, "no")),
]
OF_ACCOUNTS = ("quota", "rate-limit", "invalid-key")


@pytest.mark.parametrize(
    ("kind", "fault", "outcome"),
    [(kind, *row) for kind in KINDS for row in ERRORS if kind in WITH_ACCOUNTS or row[0] not in OF_ACCOUNTS],
)
async def test_errors(
    client: HttpModelClient, simulator: SimulatorProcess, kind: str, fault: str, outcome: tuple[Any, ...]
) -> None:
    """Each provider says it in its own words; what it means is the same."""
    with pytest.raises(CallError) as caught:
        await client.call(target(simulator, kind, fault), ask(schema=SCHEMA))
    seen = caught.value
    if fault == "408" and kind in ("azure", "gemini"):
        outcome = ("gateway_error", True, True, "unknown")  # they say that their model was too slow
    assert (seen.code, seen.retry, seen.trips_breaker, seen.billed) == outcome


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_without_an_answer(client: HttpModelClient, simulator: SimulatorProcess, kind: str) -> None:
    """No choices, candidates, output or message is a bad response; a message of no blocks said nothing."""
    place = target(simulator, kind, "no-choices")
    if kind == "anthropic":
        assert (await client.call(place, ask())).text == ""
        return
    with pytest.raises(CallError) as caught:
        await client.call(place, ask())
    assert (caught.value.code, caught.value.billed) == ("bad_response", "unknown")


@pytest.mark.parametrize("kind", WITH_ACCOUNTS)
async def test_a_flagged_prompt(client: HttpModelClient, simulator: SimulatorProcess, kind: str) -> None:
    """Blocked input is an error, or with Gemini an answer that was filtered; in neither case is it retried."""
    place = target(simulator, kind, "content-policy")
    if kind == "gemini":
        assert (await client.call(place, ask())).stop is StopReason.CONTENT_FILTER
        return
    with pytest.raises(CallError) as caught:
        await client.call(place, ask())
    assert (caught.value.code, caught.value.retry) == ("content_filtered", False)


@pytest.mark.parametrize("kind", WITH_ACCOUNTS)
async def test_the_wait(client: HttpModelClient, simulator: SimulatorProcess, kind: str) -> None:
    """A throttle says how long, in a header or in the body."""
    with pytest.raises(CallError) as caught:
        await client.call(target(simulator, kind, "rate-limit retry-after=7"), ask())
    assert (caught.value.code, caught.value.retry_after_s) == ("throttled", 7.0)


STREAMS = [
    ("no-done", "stream_broken"),
    ("no-finish", "stream_broken"),
    ("cut-middle", "stream_broken"),
    ("error-in-stream", None),
    ("whitespace", "degenerate"),
    ("repetition", "degenerate"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("fault", "code"), STREAMS)
async def test_broken_streams(
    client: HttpModelClient, simulator: SimulatorProcess, kind: str, fault: str, code: str | None
) -> None:
    """A stream without its end, with an error in it, or that degenerates is never an answer, and counts as billed."""
    request = ask(stream=True, user=TEXT * 20, max_output_tokens=4000)
    with pytest.raises(CallError) as caught:
        await client.call(target(simulator, kind, fault), request)
    assert code is None or caught.value.code == code
    assert caught.value.billed == "yes"
    assert caught.value.received_bytes


TOLERATED = ["comments", "crlf", "split-bytes size=1", "split-bytes size=7", "unknown-events", "set-cookie"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", TOLERATED)
async def test_what_is_tolerated(client: HttpModelClient, simulator: SimulatorProcess, kind: str, fault: str) -> None:
    """Keep-alives, other line ends, any split and unknown events change nothing of the answer."""
    plain: Answer = await client.call(target(simulator, kind), ask(stream=True))
    bent = await client.call(target(simulator, kind, fault), ask(stream=True))
    assert (bent.text, bent.stop) == (plain.text, plain.stop)
    assert bent.usage is not None
    assert not bent.usage.suspect


ABSURD = ["usage-missing", "usage-null", "usage-negative", "usage-string", "usage-nan", "usage-huge", "usage-over"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", ABSURD)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_absurd_usage_keeps_the_answer(
    client: HttpModelClient, simulator: SimulatorProcess, kind: str, fault: str, stream: bool
) -> None:
    """The answer is kept, its figures are finite, doubtful, and within what was reserved."""
    answer = await client.call(target(simulator, kind, fault), ask(stream=stream))
    assert answer.stop is StopReason.COMPLETE
    assert answer.usage is not None
    assert answer.usage.suspect
    assert answer.usage.total_tokens is not None
    assert 0 <= answer.usage.total_tokens < 10_000


@pytest.mark.parametrize("kind", KINDS)
async def test_cancelling_is_seen_by_the_provider(
    client: HttpModelClient, simulator: SimulatorProcess, kind: str
) -> None:
    """A call that is given up in the middle closes its connection."""
    began = asyncio.Event()
    place = target(simulator, kind, "hang-middle")
    task = asyncio.create_task(client.call(place, ask(stream=True), on_delta=lambda text: began.set()))
    await asyncio.wait_for(began.wait(), 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(simulator.until, lambda stats: stats.in_flight == 0)
    assert the_call(simulator).outcome == "client_left"


async def test_anthropic_reads_its_cache(client: HttpModelClient, simulator: SimulatorProcess) -> None:
    """A long system part is written to the prompt cache once and read from it afterwards; both are counted."""
    place = target(simulator, "anthropic")
    request = ask(system="You summarize texts with care. " * 1500)
    first, second = await client.call(place, request), await client.call(place, request)
    assert first.usage is not None
    assert second.usage is not None
    assert first.usage.cache_write_tokens
    assert second.usage.cache_read_tokens == first.usage.cache_write_tokens
    assert [
        same(a.usage, expected("anthropic", c)) for a, c in zip((first, second), simulator.calls(), strict=True)
    ] == [
        True,
        True,
    ]


async def test_gemini_thoughts_are_counted(client: HttpModelClient, simulator: SimulatorProcess) -> None:
    """Thoughts are output, beside the visible one, and within the cap."""
    place = target(simulator, "gemini", options={"thinking_budget": 64})
    answer = await client.call(place, ask())
    assert answer.usage is not None
    assert answer.usage.reasoning_tokens
    assert same(answer.usage, expected("gemini", the_call(simulator)))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_ollama_does_not_cut_in_silence(
    client: HttpModelClient, simulator: SimulatorProcess, stream: bool
) -> None:
    """A prompt beyond the window is an error before or after it is sent, never an answer to half of it."""
    place = target(simulator, "ollama", options={"num_ctx": 2048})
    with pytest.raises(CallError) as caught:
        await client.call(place, ask(user=TEXT * 100, stream=stream))
    assert caught.value.code in ("context_too_long", "input_truncated")


async def test_azure_older_path(client: HttpModelClient, simulator: SimulatorProcess) -> None:
    """The path with the deployment's name in it, and its query."""
    place = target(simulator, "azure", options={"path": "deployments", "api_version": "2024-10-21"})
    assert (await client.call(place, ask(stream=True))).stop is StopReason.COMPLETE
