"""What a finished job says about itself: the answer, what it is worth, who made it and what it cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from fractions import Fraction
from typing import Generic, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, NonNegativeInt

OutputT = TypeVar("OutputT")


class Contract(BaseModel):
    """Base of all contracts: immutable, and an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def usd(nanousd: int) -> Decimal:
    """An amount in USD, exact."""
    return Decimal(nanousd).scaleb(-9)


MAX_NANOUSD = 2**53 - 1
"""The largest amount, some 9 million USD: Redis' scripts count in doubles, which hold no larger integer exactly."""


def nanousd(amount_usd: str | Decimal | int) -> int:
    """An amount of USD as whole nano-USD.

    Raises ValueError for a float, for what is not a finite number, for a fraction of a nano-dollar, and beyond
    ``MAX_NANOUSD`` either way.
    """
    if isinstance(amount_usd, (bool, float)):
        raise ValueError("money is given as a string or a Decimal, not as a float")
    try:
        amount = Decimal(amount_usd)
    except (InvalidOperation, TypeError, ValueError):
        raise ValueError("not a number") from None
    if not amount.is_finite():
        raise ValueError("not a finite number")
    if amount.adjusted() > 9 or len(amount.as_tuple().digits) > 100 or amount.adjusted() < -100:
        raise ValueError(f"larger than {usd(MAX_NANOUSD)}, or of too many digits")
    scaled = Fraction(amount) * 10**9
    if scaled.denominator != 1:
        raise ValueError("not a whole number of nano-dollars")
    if abs(scaled.numerator) > MAX_NANOUSD:
        raise ValueError(f"larger than {usd(MAX_NANOUSD)}")
    return scaled.numerator


class Quality(StrEnum):
    """How far an answer can be trusted."""

    OK = "ok"
    """It came whole and passed every check as it was."""
    REPAIRED = "repaired"
    """It passed every check after its form was mended; ``reasons`` names the steps."""
    SUSPECT = "suspect"
    """It passed the schema, but a check of its content did not; ``reasons`` says which."""


class Usage(Contract):
    """Tokens in disjoint buckets; their sum is the provider's total. None is unknown, never zero."""

    input_tokens: NonNegativeInt | None = None
    """Input that was neither read from nor written to the provider's prompt cache."""
    cache_read_tokens: NonNegativeInt | None = None
    cache_write_tokens: NonNegativeInt | None = None
    output_tokens: NonNegativeInt | None = None
    """Visible output, without reasoning."""
    reasoning_tokens: NonNegativeInt | None = None
    suspect: bool = False
    """The provider's figures were missing or absurd."""
    estimated: bool = False
    """The figures are our own upper-bound estimate."""

    @property
    def total_tokens(self) -> int | None:
        """All buckets that are known; None when none is."""
        known = [n for n in self._buckets() if n is not None]
        return sum(known) if known else None

    def _buckets(self) -> tuple[int | None, ...]:
        return (
            self.input_tokens,
            self.cache_read_tokens,
            self.cache_write_tokens,
            self.output_tokens,
            self.reasoning_tokens,
        )

    def __add__(self, other: Usage) -> Usage:
        """Bucket by bucket; a bucket unknown on one side only counts what is known, and is flagged."""
        return Usage(
            **{name: _add(getattr(self, name), getattr(other, name)) for name in BUCKETS},
            suspect=self.suspect or other.suspect,
            estimated=self.estimated or other.estimated,
        )


BUCKETS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")


def _add(a: int | None, b: int | None) -> int | None:
    if a is None or b is None:
        return a if b is None else b
    return a + b


class MadeBy(Contract):
    """Who made an answer."""

    kind: Literal["model", "fallback"]
    name: str
    """The target (``openai/gpt-4o-mini``) or the fallback (``extractive@1``)."""
    model: str | None = None
    """The model as the provider names it in its answer; None for a fallback or when it does not."""
    prompt: str | None = None
    """Prompt ``name@version``; None for a fallback."""
    prompt_digest: str | None = None
    """The first 16 hex digits of the SHA-256 of the prompt's file: two texts under one name are told apart by it."""


class TriedTarget(Contract):
    """A target that gave no result."""

    target: str
    """``openai/gpt-4o-mini``."""
    code: str
    """Why, such as ``overloaded``, ``breaker_open``, ``input_too_long`` or ``below_gate``."""


class JobFailure(Contract):
    """Why a job has no answer of a model: of a dead letter, or behind a degraded answer."""

    code: str
    """Stable, such as ``attempts_exhausted``, ``deadline_exceeded``, ``poison``, ``corrupt_record``."""
    message: str
    """Safe to show: never a provider's text, a prompt or an answer."""
    last_error: str | None = None
    """Code of the last attempt's error, such as ``throttled``; None when there was none."""


class Reused(Contract):
    """Where an answer came from that this job did not pay for."""

    kind: Literal["cache", "single_flight"]
    """``cache``: an equal request was answered before. ``single_flight``: equal jobs were there at once, and one made
    the call for all of them."""
    job_id: str
    """The job that made the call and paid for it."""
    made_at: AwareDatetime
    would_have_cost_nanousd: int | None
    """What that job's run cost; None when a price is unknown."""


class JobResult(Contract, Generic[OutputT]):
    """The result of a job that succeeded or degraded.

    Redis holds ``output`` as plain JSON; ``JobHandle.result()`` gives it in the type of its task.
    """

    version: Literal[1] = 1
    job_id: str
    task: str
    tenant: str
    run: int = Field(ge=1)
    """1 for the first run, one more for each replay."""
    state: Literal["succeeded", "degraded"]
    quality: Quality
    reasons: tuple[str, ...] = ()
    """Why the quality is not ``ok``: stable codes, such as ``code_fence`` or ``over_word_limit``."""
    failure: JobFailure | None = None
    """For a degraded answer: why no model gave one. None otherwise."""
    output: OutputT
    made_by: MadeBy
    tried: tuple[TriedTarget, ...] = ()
    """Targets that gave no result, or not a good enough one, in the attempt that ended this run, in order."""
    arm: str | None = None
    """``<experiment>/<arm>`` that the job was in; None for none."""
    chunks: int = Field(default=1, ge=1)
    """Parts that a text too long for one call was worked on in; 1: it was read whole. ``made_by`` then is who joined
    what was said of the parts, or, where no model did, who answered for most of them."""
    attempts: int = Field(ge=1)
    """Attempts charged to this run, this one included."""
    calls: int = Field(ge=0)
    """Provider requests sent in this run, failed ones included."""
    usage: Usage
    """Of all calls of this run."""
    cost_nanousd: int | None
    """Of all calls of this run; None when the price of one of them is unknown."""
    uncertain_nanousd: int = 0
    """The most that calls whose outcome is unknown may have cost besides; 0 when there were none."""
    cache_hit: bool = False
    """Whether the answer was there already: ``reused`` says from where."""
    reused: Reused | None = None
    created_at: AwareDatetime
    started_at: AwareDatetime
    """When the attempt that ended this run was started."""
    ended_at: AwareDatetime

    @property
    def cost_usd(self) -> Decimal | None:
        """Exact; None when the price of a call is unknown."""
        return None if self.cost_nanousd is None else usd(self.cost_nanousd)

    @property
    def latency_s(self) -> float:
        """Seconds from enqueue to the end, by Redis' clock."""
        return (self.ended_at - self.created_at).total_seconds()


def moment(at_ms: int | str | bytes) -> datetime:
    """A Redis time in ms as an aware UTC moment."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(at_ms))
