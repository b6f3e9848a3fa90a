"""Server-sent events come out the same, however the bytes are split."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_worker.llm.sse import EventTooLargeError, ServerEvent, SseDecoder


def decode(*chunks: bytes, limit: int = 1024) -> list[ServerEvent]:
    decoder = SseDecoder(limit)
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    last = decoder.end()
    return [*events, last] if last is not None else events


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_line_ends(end: bytes) -> None:
    """All three line ends are known; two data lines are one event."""
    raw = end.join([b"event: delta", b"data: a", b"data:b", b"", b": comment", b"id: 7", b"data: c", b"", b""])
    assert decode(raw) == [ServerEvent("delta", b"a\nb"), ServerEvent("", b"c")]


def test_comments_and_empty_events_give_nothing() -> None:
    """Keep-alives and events without data are not events."""
    assert decode(b": ping\n\n\n\nevent: x\n\nretry: 5\n\n") == []


def test_byte_order_mark_is_dropped_once() -> None:
    """Only the first bytes of a stream can be a byte order mark, split or not."""
    assert decode(b"\xef", b"\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n") == [ServerEvent("", b"a")]


def test_an_unfinished_event_comes_at_the_end() -> None:
    """What ends without an empty line is given by end()."""
    assert decode(b"data: [DONE]") == [ServerEvent("", b"[DONE]")]
    assert decode(b"data: [DONE]\r") == [ServerEvent("", b"[DONE]")]


@pytest.mark.parametrize("chunks", [(b"data: " + b"x" * 2000,), (b"x",) * 2000, (b"data: xxxxxxxx\n",) * 200])
def test_a_line_and_an_event_are_bounded(chunks: tuple[bytes, ...]) -> None:
    """An endless line, whole or dripping, and an endless event are cut."""
    with pytest.raises(EventTooLargeError):
        decode(*chunks)


pieces = st.lists(
    st.sampled_from(
        [
            b"data: ",
            b"data:",
            b"event: e",
            b":",
            b"\n",
            b"\r",
            b"\r\n",
            b"\n\n",
            "é漢😀".encode(),
            b"a b",
            b" ",
            b"\xef\xbb\xbf",
        ]
    ),
    max_size=30,
)


@given(pieces, st.data())
def test_any_split_gives_the_same_events(parts: list[bytes], data: st.DataObject) -> None:
    """Where the network cuts the bytes has no influence."""
    raw = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=12)))
    bounds = [0, *cuts, len(raw)]
    split = [raw[a:b] for a, b in pairwise(bounds)]
    assert decode(*split) == decode(raw)
    assert decode(*(raw[i : i + 1] for i in range(len(raw)))) == decode(raw)


@given(
    st.lists(
        st.sampled_from(
            [
                b"data: x\n\n",
                b"data:y\n\n",
                b"\n\n",
                b": c\n\n",
                b"event: e\n",
                b"data: a\ndata: b\n\n",
                b"data: z\r\n\r\n",
                b"data",
                b": q\n",
            ]
        ),
        max_size=9,
    )
)
def test_whole_events_are_read_as_lines_are(parts: list[bytes]) -> None:
    """The short way for chunks of whole events gives what reading line by line gives."""
    short, long = SseDecoder(), SseDecoder()
    said = [event for part in parts for event in short.feed(part)]
    slow = [event for byte in b"".join(parts) for event in long.feed(bytes([byte]))]
    assert (said, short.end()) == (slow, long.end())
