"""The provider's prompt cache: which beginnings of prompts it has read before, and what a new one costs.

1. A prompt is looked up before it is generated from; that changes nothing.
2. It is remembered when its generation is charged: what was refused, or never begun, warms no cache, and of
   several calls at once none profits from the others.
3. A prefix counts only under the same scope: wire format, model and cache key.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

from penstock_simulator.ask import Ask, CacheTtl, Message
from penstock_simulator.tokens import pieces

_REMEMBERED_PREFIXES = 20_000
_LOOK_BACK_BLOCKS = 20
_TTL_S: dict[CacheTtl, float] = {"5m": 300.0, "1h": 3600.0}
_TOKENS_PER_MESSAGE = 3
"""What OpenAI counts for the frame of each message, and once more for the start of the answer."""


@dataclass(frozen=True, slots=True)
class CacheRule:
    """How a provider caches the prompts of a model."""

    floor: int = 1024
    """Shorter prefixes are never cached."""
    step: int | None = 128
    """Prefixes are cached by themselves in steps of so many tokens; None: only where the client says so."""
    writes_cost: bool = False
    """Whether newly cached tokens are counted apart."""
    ttl_s: float = 3600.0
    """How long a prefix that is cached by itself stays so after its last use."""


@dataclass(slots=True)
class Prompt:
    """A prompt in tokens."""

    parts: list[str]
    """The tokens that can be cached, in the order in which they are read."""
    tokens: int
    """All tokens, those of the frames around the messages included."""
    ends: list[int]
    """After how many parts each tool and message ends."""
    breakpoints: list[tuple[int, CacheTtl]]
    """After how many parts the client wants it cached, and for how long."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """What is known of a prompt's beginning."""

    cached: int = 0
    writes_5m: int = 0
    writes_1h: int = 0
    digests: tuple[tuple[bytes, float], ...] = ()
    """What to remember once the prompt has been read, and for how many seconds."""


NO_PREFIX = Prefix()


def prompt_of(ask: Ask, schema: str) -> Prompt:
    """The tokens of *ask*: the schema's JSON, the tools, then the messages."""
    prompt = Prompt(pieces(schema), 0, [], [])
    for tool in ask.tools:
        prompt.parts += pieces(tool.definition)
        prompt.ends.append(len(prompt.parts))
        if tool.breakpoint is not None:
            prompt.breakpoints.append((len(prompt.parts), tool.breakpoint))
    for message in ask.messages:
        _add(prompt, message)
    prompt.tokens = len(prompt.parts) + _TOKENS_PER_MESSAGE * (len(ask.messages) + 1)
    return prompt


def _add(prompt: Prompt, message: Message) -> None:
    prompt.parts.append(message.role)
    start = 0
    for at, ttl in message.breakpoints:
        prompt.parts += pieces(message.text[start:at])
        prompt.breakpoints.append((len(prompt.parts), ttl))
        start = at
    prompt.parts += pieces(message.text[start:] if start else message.text)
    prompt.ends.append(len(prompt.parts))


class PrefixCache:
    """Which prompt prefixes were read before, as hashes; the oldest are forgotten first."""

    def __init__(self, capacity: int = _REMEMBERED_PREFIXES) -> None:
        self._fresh_until_s: OrderedDict[bytes, float] = OrderedDict()
        self._capacity = capacity

    def look_up(self, scope: str, prompt: Prompt, rule: CacheRule, now_s: float) -> Prefix:
        """How much of *prompt* is cached under *scope*, and what it would add; nothing is remembered yet."""
        if len(prompt.parts) < rule.floor:
            return NO_PREFIX
        if rule.step is None:
            return self._by_breakpoints(scope, prompt, rule, now_s)
        marks = range(rule.floor, len(prompt.parts), rule.step)
        digests = _digests(scope, prompt.parts, marks)
        cached = max((mark for mark, digest in digests if self._is_fresh(digest, now_s)), default=0)
        new = digests[-1][0] - cached if digests and rule.writes_cost else 0
        return Prefix(cached, new, 0, tuple((digest, rule.ttl_s) for _, digest in digests))

    def remember(self, prefix: Prefix, now_s: float) -> None:
        """The prompt has been read: its prefixes are cached from now on."""
        for digest, ttl_s in prefix.digests:
            self._fresh_until_s[digest] = now_s + ttl_s
            self._fresh_until_s.move_to_end(digest)
        while len(self._fresh_until_s) > self._capacity:
            self._fresh_until_s.popitem(last=False)

    def clear(self) -> None:
        """Forget all prefixes."""
        self._fresh_until_s.clear()

    def _by_breakpoints(self, scope: str, prompt: Prompt, rule: CacheRule, now_s: float) -> Prefix:
        """As at Anthropic: written at each breakpoint, read there or at the end of one of 20 blocks before it."""
        wanted = {at: ttl for at, ttl in prompt.breakpoints if at >= rule.floor}
        if not wanted:
            return NO_PREFIX
        before = [end for end in prompt.ends if rule.floor <= end <= max(wanted)][-_LOOK_BACK_BLOCKS:]
        digests = dict(_digests(scope, prompt.parts, sorted({*wanted, *before})))
        cached = max((mark for mark, digest in digests.items() if self._is_fresh(digest, now_s)), default=0)
        written, at = {"5m": 0, "1h": 0}, cached
        for mark, ttl in sorted(wanted.items()):
            if mark > at:
                written[ttl] += mark - at
                at = mark
        kept = tuple((digests[mark], _TTL_S[ttl]) for mark, ttl in wanted.items())
        return Prefix(cached, written["5m"], written["1h"], kept)

    def _is_fresh(self, digest: bytes, now_s: float) -> bool:
        return self._fresh_until_s.get(digest, -1.0) > now_s


def _digests(scope: str, parts: list[str], marks: Iterable[int]) -> list[tuple[int, bytes]]:
    """A digest of the first so many parts for each of *marks*, which rise."""
    digests = []
    running = blake2b(scope.encode(), digest_size=16)
    start = 0
    for end in marks:
        running.update("".join(parts[start:end]).encode("utf-8", "surrogatepass"))
        digests.append((end, running.digest()))
        start = end
    return digests
