"""Upper bounds of tokens: what is assumed at first, what is learned, and what fits."""

from dataclasses import replace

import pytest

from penstock_schemas.results import Usage
from penstock_worker.llm.port import CallRequest
from penstock_worker.routing.tokens import LEAST_SEEN, TokenEstimates, extent, request_extent
from tests.support.attempts import TARGET

WORDS = "The mill stands by the river and its wheel turns day and night. "
SMALL = replace(TARGET, context_window=1_000)


def ask(user: str, cap: int = 100) -> CallRequest:
    return CallRequest(system="Summarize.", user=user, max_output_tokens=cap)


def teach(tokens: TokenEstimates, request: CallRequest, input_tokens: int, count: int = LEAST_SEEN) -> None:
    for _ in range(count):
        tokens.learn(TARGET, request, Usage(input_tokens=input_tokens, output_tokens=1))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (WORDS, "words"),
        ("def f(x):\n    return x + 1\n" * 3, "words"),
        ("aGVsbG8gd29ybGQ" * 10, "dense"),
        ('{"a":1,"b":[2,3]}' * 10, "dense"),
        ("磨坊在河边它的轮子日夜转动", "wide"),
        ("Мельница стоит на реке.", "wide"),
        ("Das Mühlrad dreht sich bei Tag und bei Nacht.", "words"),
        ("", "words"),
    ],
)
def test_texts_are_told_apart_by_two_counts(text: str, kind: str) -> None:
    """Words, what is dense, and other scripts have different numbers of tokens for a byte."""
    assert extent(text) == (len(text.encode()), kind)


@pytest.mark.parametrize(
    ("text", "real_tokens"),
    [(WORDS * 50, 800), ("磨坊在河边它的轮子日夜转动" * 50, 900), ("aGVsbG8gd29ybGQ" * 50, 400)],
)
def test_the_first_bound_is_above_what_tokenizers_give(text: str, real_tokens: int) -> None:
    """For GPT-4's: a token for 4 bytes of English, 0.4 for a byte of Chinese, half of one for one of base64."""
    assert TokenEstimates().tokens(TARGET, text) > real_tokens


def test_a_bound_is_learned_from_what_the_provider_counts() -> None:
    """The highest of what was seen and a tenth, for this target, kind and size, and not before enough was seen."""
    tokens, request = TokenEstimates(), ask(WORDS * 100)
    first = tokens.of_request(TARGET, request)
    teach(tokens, request, 1_400, LEAST_SEEN - 1)
    assert tokens.of_request(TARGET, request) == first
    teach(tokens, request, 1_300, 1)
    assert 1_540 <= tokens.of_request(TARGET, request) - 64 <= 1_545
    assert tokens.of_request(replace(TARGET, name="openai/other"), request) == first
    assert tokens.of_request(TARGET, ask("磨" * 2_000)) == TokenEstimates().of_request(TARGET, ask("磨" * 2_000))


def test_a_larger_size_takes_what_the_next_smaller_one_has() -> None:
    """The overhead weighs more in a small request, so that is never too low."""
    tokens = TokenEstimates()
    teach(tokens, ask(WORDS * 10), 190)
    large = ask(WORDS * 1_000)
    bound = tokens.of_request(TARGET, large)
    assert 16_000 < bound < TokenEstimates().of_request(TARGET, large) * 1.2
    teach(tokens, ask(WORDS * 300), 4_300)
    assert tokens.of_request(TARGET, large) < bound
    assert tokens.of_request(TARGET, ask(WORDS)) == TokenEstimates().of_request(TARGET, ask(WORDS))


@pytest.mark.parametrize(
    "usage",
    [
        None,
        Usage(input_tokens=1, estimated=True),
        Usage(input_tokens=1, suspect=True),
        Usage(output_tokens=5),
        Usage(input_tokens=0),
    ],
)
def test_figures_that_cannot_be_believed_teach_nothing(usage: Usage | None) -> None:
    """Ours, doubtful ones, and none."""
    tokens, request = TokenEstimates(), ask(WORDS * 100)
    for _ in range(2 * LEAST_SEEN):
        tokens.learn(TARGET, request, usage)
    assert tokens.of_request(TARGET, request) == TokenEstimates().of_request(TARGET, request)


def test_cached_input_counts_as_input() -> None:
    """It was sent all the same."""
    tokens, request = TokenEstimates(), ask(WORDS * 100)
    usage = Usage(input_tokens=400, cache_read_tokens=900, cache_write_tokens=100)
    for _ in range(LEAST_SEEN):
        tokens.learn(TARGET, request, usage)
    assert tokens.of_request(TARGET, request) >= 1_400


def test_a_strict_bound_holds_for_any_text() -> None:
    """A token for each byte, whatever was learned: for who must not be wrong."""
    tokens, request = TokenEstimates(), ask(WORDS * 100)
    sent = request_extent(request)
    assert tokens.of_extent(TARGET, sent) == -(-sent.bytes // 3) + 64
    assert tokens.of_extent(TARGET, sent, strict=True) == sent.bytes + 64
    teach(tokens, request, sent.bytes // 5)
    assert tokens.of_extent(TARGET, sent) < sent.bytes // 4 + 64
    assert tokens.of_extent(TARGET, sent, strict=True) == sent.bytes + 64


def test_an_absurd_count_is_bounded() -> None:
    """Two tokens for a byte at most."""
    tokens, request = TokenEstimates(), ask(WORDS * 100)
    teach(tokens, request, 10**8)
    assert tokens.of_request(TARGET, request) < 3 * len(request.user)


def test_what_fits() -> None:
    """Input and cap together, for sure; a window that is not known is not checked."""
    tokens = TokenEstimates()
    assert tokens.fits(SMALL, ask(WORDS * 30, cap=200))
    assert not tokens.fits(SMALL, ask(WORDS * 30, cap=500))
    assert not tokens.fits(SMALL, ask(WORDS * 60))
    assert tokens.fits(replace(TARGET, context_window=None), ask(WORDS * 10_000))
    assert tokens.fits(replace(TARGET, context_window=128_000), ask(WORDS * 100))


def test_the_schema_counts() -> None:
    """It is sent too."""
    big = {"type": "object", "properties": {f"field_{n}": {"type": "string"} for n in range(100)}}
    assert not TokenEstimates().fits(SMALL, replace(ask(WORDS), schema=big))


def test_a_request_that_was_too_long_is_believed_at_once() -> None:
    """What the provider found is the least that the next is taken for."""
    tokens, request = TokenEstimates(), ask(WORDS * 40)
    assert tokens.fits(replace(SMALL, context_window=1_200), request)
    tokens.learn_too_long(replace(SMALL, context_window=1_200), request)
    assert not tokens.fits(replace(SMALL, context_window=1_200), request)


def test_how_much_room_there_is() -> None:
    """For who cuts a text into parts: what is said to fit does."""
    tokens = TokenEstimates()
    room = tokens.room_bytes(SMALL, WORDS * 1_000, max_output_tokens=100, other_tokens=50)
    assert room is not None
    assert tokens.room_tokens(SMALL, max_output_tokens=100, other_tokens=50) == 1_000 - 100 - 50 - 64
    assert 2_000 < room < 2_400
    assert tokens.fits(SMALL, CallRequest(system="", user=(WORDS * 1_000)[:room], max_output_tokens=150))
    assert tokens.room_tokens(SMALL, max_output_tokens=5_000) == 0
    unknown = replace(TARGET, context_window=None)
    assert tokens.room_tokens(unknown, max_output_tokens=1) is None
    assert tokens.room_bytes(unknown, WORDS, max_output_tokens=1) is None
