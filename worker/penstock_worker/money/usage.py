"""Token counts as providers report them, turned into disjoint buckets that can be priced.

A provider's figures are taken when they are possible. When they are missing or absurd, an upper-bound estimate
stands in their place, marked as such: the accounts stay finite and never below zero, whatever was sent.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from penstock_schemas.results import Usage

MAX_TOKENS = 1_000_000_000
"""No call has more; a larger figure is taken for garbage."""

BYTES_PER_TOKEN = 3
"""For a bound without the tokenizer: real text has 3 to 5 bytes per token in any script."""

OVERHEAD_TOKENS = 64
"""Role markers and the like around the messages of one request."""

_ANTHROPIC_CACHE = ("cache_read_input_tokens", "cache_creation_input_tokens")
_MAX_COST_USD = Decimal(1_000_000)


class Bounds(NamedTuple):
    """What we know of a call ourselves, to stand in for what a provider does not say."""

    input_tokens: int
    """Upper bound of the whole input."""
    output_tokens: int
    """Upper bound of what was produced: never above the cap that was sent."""
    cap_tokens: int
    """The cap that was sent."""


def token_bound(text_bytes: int, overhead_tokens: int = OVERHEAD_TOKENS, *, strict: bool = False) -> int:
    """An upper bound of the tokens in *text_bytes* bytes of UTF-8 text.

    Prose and code have fewer than one in three bytes in every language; base64 and rows of rare characters have more.
    *strict* holds for any text: each token of a byte-level vocabulary stands for a byte at least.
    """
    return -(-text_bytes // (1 if strict else BYTES_PER_TOKEN)) + overhead_tokens


def bounds(input_bytes: int, output_bytes: int, cap_tokens: int) -> Bounds:
    """Make the bounds of one call from the bytes of its request and of its visible answer."""
    return Bounds(token_bound(input_bytes), min(token_bound(output_bytes, 0), cap_tokens), cap_tokens)


class Figures(NamedTuple):
    """One call's counts as a provider names them; None for what is missing or absurd."""

    input_tokens: int | None
    """The whole input, what was read from or written to the cache included."""
    output_tokens: int | None
    """The whole output, reasoning included; without it where the provider counts it apart."""
    total_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


def openai_usage(raw: object, known: Bounds) -> Usage:
    """Read the ``usage`` of a Chat Completions answer.

    ``prompt_tokens`` includes what was read from or written to the cache; ``completion_tokens`` includes
    reasoning, unless the total says that reasoning stands beside it (xAI, and Gemini's compatible endpoint,
    whose hidden reasoning is in the total alone).
    """
    usage = _object(raw)
    details = _mapping(usage, "prompt_tokens_details")
    read = token_count(details, "cached_tokens")
    figures = Figures(
        input_tokens=token_count(usage, "prompt_tokens"),
        output_tokens=token_count(usage, "completion_tokens"),
        total_tokens=token_count(usage, "total_tokens"),
        cache_read_tokens=token_count(usage, "prompt_cache_hit_tokens") if read is None else read,  # DeepSeek
        cache_write_tokens=token_count(details, "cache_write_tokens"),
        reasoning_tokens=token_count(_mapping(usage, "completion_tokens_details"), "reasoning_tokens"),
    )
    return in_buckets(figures, known)


def responses_usage(raw: object, known: Bounds) -> Usage:
    """Read the ``usage`` of an OpenAI Responses answer: both sums include their parts."""
    usage = _object(raw)
    details = _mapping(usage, "input_tokens_details")
    figures = Figures(
        input_tokens=token_count(usage, "input_tokens"),
        output_tokens=token_count(usage, "output_tokens"),
        total_tokens=token_count(usage, "total_tokens"),
        cache_read_tokens=token_count(details, "cached_tokens"),
        cache_write_tokens=token_count(details, "cache_write_tokens"),
        reasoning_tokens=token_count(_mapping(usage, "output_tokens_details"), "reasoning_tokens"),
    )
    return in_buckets(figures, known)


def anthropic_usage(raw: object, known: Bounds) -> Usage:
    """Read the ``usage`` of an Anthropic message.

    ``input_tokens`` excludes what was read from or written to the cache: the whole input is the sum of the three.
    ``output_tokens`` includes thinking. There is no total. Writes that are kept for five minutes and for an hour
    are one bucket.
    """
    usage = _object(raw)
    fresh, read = token_count(usage, "input_tokens"), token_count(usage, "cache_read_input_tokens")
    written = token_count(usage, "cache_creation_input_tokens")
    absurd = any(usage.get(name) is not None and token_count(usage, name) is None for name in _ANTHROPIC_CACHE)
    figures = Figures(
        input_tokens=None if fresh is None or absurd else fresh + (read or 0) + (written or 0),
        output_tokens=token_count(usage, "output_tokens"),
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=token_count(_mapping(usage, "output_tokens_details"), "thinking_tokens"),
    )
    return in_buckets(figures, known)


def gemini_usage(raw: object, known: Bounds) -> Usage:
    """Read the ``usageMetadata`` of a Gemini answer.

    ``promptTokenCount`` includes the cached part, ``candidatesTokenCount`` excludes thoughts, and what tools put
    into the prompt stands apart. A count of zero is left out on the wire: where there is a total, what is missing
    follows from it.
    """
    usage = _object(raw)
    prompt, thoughts = token_count(usage, "promptTokenCount"), token_count(usage, "thoughtsTokenCount")
    tools, total = token_count(usage, "toolUsePromptTokenCount"), token_count(usage, "totalTokenCount")
    whole_input = None if prompt is None else prompt + (tools or 0)
    visible = token_count(usage, "candidatesTokenCount")
    if "candidatesTokenCount" not in usage and None not in (total, whole_input):
        visible = max((total or 0) - (whole_input or 0) - (thoughts or 0), 0)
    figures = Figures(
        input_tokens=whole_input,
        output_tokens=None if visible is None else visible + (thoughts or 0),
        total_tokens=total,
        cache_read_tokens=token_count(usage, "cachedContentTokenCount"),
        reasoning_tokens=thoughts,
    )
    return in_buckets(figures, known)


def ollama_usage(raw: object, known: Bounds) -> Usage:
    """Read the counts of the last line of an Ollama answer; neither a cache nor thinking is counted apart."""
    usage = _object(raw)
    return in_buckets(Figures(token_count(usage, "prompt_eval_count"), token_count(usage, "eval_count")), known)


def in_buckets(figures: Figures, known: Bounds) -> Usage:
    """Part *figures* into disjoint buckets that sum to the provider's total.

    Tokens in the total that are neither input nor output are reasoning. A side that is missing is replaced by
    its bound, an output above the cap by the cap; the result is then ``suspect`` and ``estimated``. Parts that
    contradict their whole make it ``suspect`` only.
    """
    extra = _extra(figures)
    output, reasoning, output_doubt = _output(figures, extra, known)
    fresh, read, written, input_doubt = _input(figures)
    estimated = figures.input_tokens is None or output is None or (figures.output_tokens or 0) > known.cap_tokens
    return Usage.model_construct(
        input_tokens=known.input_tokens if figures.input_tokens is None else fresh,
        cache_read_tokens=read,
        cache_write_tokens=written,
        output_tokens=known.output_tokens if output is None else output,
        reasoning_tokens=reasoning,
        suspect=estimated or output_doubt or input_doubt or extra < 0,
        estimated=estimated,
    )


def with_seen_output(usage: Usage, known: Bounds) -> Usage:
    """*usage* of a stream that broke, whose figures may be older than its text.

    No output in the figures though there was some in the stream: the bound stands in, as for a missing figure.
    """
    if usage.output_tokens or not known.output_tokens:
        return usage
    return usage.model_copy(update={"output_tokens": known.output_tokens, "suspect": True, "estimated": True})


def _extra(figures: Figures) -> int:
    """Tokens in the total that are neither input nor output; 0 when that cannot be told."""
    if figures.total_tokens is None or figures.input_tokens is None or figures.output_tokens is None:
        return 0
    return figures.total_tokens - figures.input_tokens - figures.output_tokens


def _output(figures: Figures, extra: int, known: Bounds) -> tuple[int | None, int | None, bool]:
    """Visible output, reasoning, and whether the figures contradict each other."""
    whole, named = figures.output_tokens, figures.reasoning_tokens
    if whole is None:
        return None, None, True
    if whole > known.cap_tokens:
        return known.cap_tokens, None, True
    if extra > 0:
        return whole, extra, named not in (None, 0, extra)
    if named is not None and named > whole:
        return whole, named, True
    return whole - (named or 0), named, False


def _input(figures: Figures) -> tuple[int | None, int | None, int | None, bool]:
    """Uncached input, cache reads, cache writes, and whether the parts exceed the whole."""
    whole, read, written = figures.input_tokens, figures.cache_read_tokens, figures.cache_write_tokens
    if whole is None:
        return None, None, None, True
    fresh = whole - (read or 0) - (written or 0)
    return (fresh, read, written, False) if fresh >= 0 else (whole, None, None, True)


def reported_cost_nanousd(raw: object) -> int | None:
    """What the provider says the call cost, rounded half up; None when it does not say, or says nonsense.

    OpenRouter: ``cost`` in USD, to which comes what the key's owner pays upstream (``is_byok``). xAI:
    ``cost_in_usd_ticks``, 10^10 to the dollar.
    """
    if not isinstance(raw, Mapping):
        return None
    ticks = _amount(raw.get("cost_in_usd_ticks"))
    usd = _usd_cost(raw) if ticks is None else ticks.scaleb(-10)
    return None if usd is None or usd > _MAX_COST_USD else int(usd.scaleb(9) + Decimal("0.5"))


def _usd_cost(raw: Mapping[str, Any]) -> Decimal | None:
    cost = _amount(raw.get("cost"))
    if cost is None or raw.get("is_byok") is not True:
        return cost
    return cost + (_amount(_mapping(raw, "cost_details").get("upstream_inference_cost")) or 0)


def _amount(value: object) -> Decimal | None:
    """A number ≥ 0, exactly as it was written; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and amount >= 0 else None


def token_count(source: Mapping[str, Any], name: str) -> int | None:
    """A possible number of tokens; None when it is missing or absurd. 12.0 is 12."""
    value = source.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_TOKENS:
        return None
    return value


def _mapping(source: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = source.get(name)
    return value if isinstance(value, Mapping) else {}


def _object(raw: object) -> Mapping[str, Any]:
    return raw if isinstance(raw, Mapping) else {}
