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

_MAX_COST_USD = Decimal(1_000_000)


class Bounds(NamedTuple):
    """What we know of a call ourselves, to stand in for what a provider does not say."""

    input_tokens: int
    """Upper bound of the whole input."""
    output_tokens: int
    """Upper bound of what was produced: never above the cap that was sent."""
    cap_tokens: int
    """The cap that was sent."""


def token_bound(text_bytes: int, overhead_tokens: int = OVERHEAD_TOKENS) -> int:
    """An upper bound of the tokens in *text_bytes* bytes of UTF-8 text."""
    return -(-text_bytes // BYTES_PER_TOKEN) + overhead_tokens


def bounds(input_bytes: int, output_bytes: int, cap_tokens: int) -> Bounds:
    """Make the bounds of one call from the bytes of its request and of its visible answer."""
    return Bounds(token_bound(input_bytes), min(token_bound(output_bytes, 0), cap_tokens), cap_tokens)


def openai_usage(raw: object, known: Bounds) -> Usage:
    """Read the ``usage`` of a Chat Completions answer.

    ``prompt_tokens`` includes what was read from or written to the cache; ``completion_tokens`` includes
    reasoning, unless the total says that reasoning stands beside it (xAI, and Gemini's compatible endpoint,
    whose hidden reasoning is in the total alone). A side that is missing, negative or not a whole number is
    replaced by its bound, an output above the cap by the cap; the result is then ``suspect`` and
    ``estimated``. Parts that contradict their whole make it ``suspect`` only.
    """
    usage = raw if isinstance(raw, Mapping) else {}
    prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    extra = _extra(_count(usage, "total_tokens"), prompt, completion)
    output, reasoning, output_doubt = _output(usage, completion, extra, known)
    fresh, read, written, input_doubt = _input(usage, prompt)
    over = completion is not None and completion > known.cap_tokens
    estimated = prompt is None or output is None or over
    return Usage.model_construct(
        input_tokens=known.input_tokens if prompt is None else fresh,
        cache_read_tokens=read,
        cache_write_tokens=written,
        output_tokens=known.output_tokens if output is None else output,
        reasoning_tokens=reasoning,
        suspect=estimated or output_doubt or input_doubt or extra < 0,
        estimated=estimated,
    )


def _extra(total: int | None, prompt: int | None, completion: int | None) -> int:
    """Tokens in the total that are neither prompt nor completion; 0 when that cannot be told."""
    if total is None or prompt is None or completion is None:
        return 0
    return total - prompt - completion


def _output(
    usage: Mapping[str, Any], completion: int | None, extra: int, known: Bounds
) -> tuple[int | None, int | None, bool]:
    """Visible output, reasoning, and whether the figures contradict each other."""
    if completion is None:
        return None, None, True
    named = _count(_mapping(usage, "completion_tokens_details"), "reasoning_tokens")
    if completion > known.cap_tokens:
        return known.cap_tokens, None, True
    if extra > 0:
        return completion, extra, named not in (None, 0, extra)
    if named is not None and named > completion:
        return completion, named, True
    return completion - (named or 0), named, False


def _input(usage: Mapping[str, Any], prompt: int | None) -> tuple[int | None, int | None, int | None, bool]:
    """Uncached input, cache reads, cache writes, and whether the parts exceed the whole."""
    if prompt is None:
        return None, None, None, True
    details = _mapping(usage, "prompt_tokens_details")
    read = _count(details, "cached_tokens")
    if read is None:
        read = _count(usage, "prompt_cache_hit_tokens")  # DeepSeek
    written = _count(details, "cache_write_tokens")
    fresh = prompt - (read or 0) - (written or 0)
    return (fresh, read, written, False) if fresh >= 0 else (prompt, None, None, True)


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


def _count(source: Mapping[str, Any], name: str) -> int | None:
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
