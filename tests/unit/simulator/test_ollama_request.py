"""Ollama refuses little and cuts long prompts without a word."""

from typing import Any

import orjson
import pytest

from penstock_simulator.ask import Ask, RefusedError, Request
from penstock_simulator.tokens import count
from penstock_simulator.wire.ollama_request import read

LONG = " ".join(f"word{number}" for number in range(4000))


def _read(**fields: Any) -> Ask:
    body = {"model": "llama3.2", "messages": [{"role": "user", "content": "Hello"}], **fields}
    return read(Request("POST", "/api/chat", {}, orjson.dumps(body)))


def _tokens(ask: Ask) -> int:
    return sum(count(message.text) + 4 for message in ask.messages) + 3


def test_it_streams_unless_told_not_to() -> None:
    """The other way round than everywhere else."""
    assert _read().stream
    assert not _read(stream=False).stream


@pytest.mark.parametrize("window", [None, 512, 2048])
def test_a_long_prompt_is_cut_to_the_window(window: int | None) -> None:
    """4,096 tokens by default; a few tokens of the front stay, then comes the end."""
    ask = _read(messages=[{"role": "user", "content": LONG}], options={"num_ctx": window} if window else {})
    assert _tokens(ask) <= (window or 4096)
    assert _tokens(ask) > (window or 4096) - 8
    assert ask.messages[0].text.startswith(LONG[:8])
    assert ask.messages[0].text.endswith(LONG[-100:])


def test_the_oldest_turns_go_first_and_the_systems_words_stay() -> None:
    """So does the last turn."""
    turns = [{"role": role, "content": f"{role} {LONG[:4000]}"} for role in ("system", "user", "assistant")]
    ask = _read(messages=[*turns, {"role": "user", "content": "And now?"}], options={"num_ctx": 1500})
    assert [message.role for message in ask.messages] == ["system", "user"]
    assert ask.messages[-1].text == "And now?"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": ""}, "model is required"),
        ({"messages": "x"}, "cannot unmarshal string into Go struct field ChatRequest.messages"),
        ({"messages": [{"role": "boss", "content": "x"}]}, "invalid role: boss"),
        ({"format": "xml"}, "invalid format"),
        ({"think": True}, "does not support thinking"),
    ],
)
def test_the_little_that_is_refused(fields: dict[str, Any], message: str) -> None:
    """With 400; what it does not know it reads over."""
    with pytest.raises(RefusedError, match=message):
        _read(**fields)
    assert _read(response_format={"type": "json_object"}).schema is None
