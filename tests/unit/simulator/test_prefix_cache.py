"""Beginnings of prompts are remembered once they were read, under their provider's rules."""

from penstock_simulator.ask import Ask, CacheTtl, Message, Tool
from penstock_simulator.prefix_cache import CacheRule, Prefix, PrefixCache, Prompt, prompt_of

WORDS = [f"word{number}" for number in range(3000)]
RULE = CacheRule()


def _prompt(parts: list[str], *breakpoints: tuple[int, CacheTtl], ends: tuple[int, ...] = ()) -> Prompt:
    return Prompt(parts, len(parts), list(ends), list(breakpoints))


def _read(cache: PrefixCache, parts: list[str], scope: str = "m", rule: CacheRule = RULE, now_s: float = 0.0) -> Prefix:
    """Look up, then remember, as when a call is charged."""
    prefix = cache.look_up(scope, _prompt(parts), rule, now_s)
    cache.remember(prefix, now_s)
    return prefix


def test_a_prefix_below_the_floor_is_never_cached() -> None:
    """1,024 tokens are the least."""
    cache = PrefixCache()
    assert [_read(cache, WORDS[:1000]).cached for _ in range(3)] == [0, 0, 0]


def test_a_repeated_prefix_is_cached_in_steps_of_128() -> None:
    """The same 1,300 tokens with another ending share 1,280 of them; another scope shares none."""
    cache = PrefixCache()
    assert _read(cache, [*WORDS[:1300], "a"]).cached == 0
    assert _read(cache, [*WORDS[:1300], *"bcdefgh" * 30]).cached == 1280
    assert _read(cache, [*WORDS[:1300], "a"], "other").cached == 0


def test_the_whole_prompt_is_never_cached() -> None:
    """At least the last token is read anew."""
    cache = PrefixCache()
    _read(cache, WORDS[:1024])
    _read(cache, WORDS[:1025])
    assert _read(cache, WORDS[:1024]).cached == 0
    assert _read(cache, WORDS[:1025]).cached == 1024


def test_looking_up_remembers_nothing() -> None:
    """A call that was refused after it was measured warms no cache."""
    cache = PrefixCache()
    for _ in range(3):
        assert cache.look_up("m", _prompt(WORDS[:2000]), RULE, 0.0).cached == 0


def test_the_oldest_prefix_is_forgotten_first() -> None:
    """Memory is bounded."""
    cache = PrefixCache(capacity=2)
    for scope in "abc":
        _read(cache, WORDS[:1100], scope)
    assert _read(cache, WORDS[:1100], "c").cached == 1024
    assert _read(cache, WORDS[:1100], "a").cached == 0


def test_a_prefix_is_forgotten_after_its_time() -> None:
    """Counted from its last use."""
    cache, rule = PrefixCache(), CacheRule(ttl_s=60)
    assert [_read(cache, WORDS[:1100], rule=rule, now_s=now_s).cached for now_s in (0, 50, 100, 161)] == [
        0,
        1024,
        1024,
        0,
    ]


def test_writing_is_counted_where_it_costs() -> None:
    """What is new up to the last step, and nothing the second time."""
    cache, rule = PrefixCache(), CacheRule(writes_cost=True)
    reads = [_read(cache, parts, rule=rule) for parts in (WORDS[:1300], WORDS[:1300], WORDS[:1700])]
    assert [(read.cached, read.writes_5m) for read in reads] == [(0, 1280), (1280, 0), (1280, 384)]


EXPLICIT = CacheRule(step=None, writes_cost=True)


def _at_breakpoints(cache: PrefixCache, prompt: Prompt, now_s: float = 0.0) -> tuple[int, int, int]:
    prefix = cache.look_up("m", prompt, EXPLICIT, now_s)
    cache.remember(prefix, now_s)
    return prefix.cached, prefix.writes_5m, prefix.writes_1h


def test_breakpoints_are_written_once_and_read_after() -> None:
    """Up to the last of them, each for its own time."""
    cache, prompt = PrefixCache(), _prompt(WORDS[:2500], (1200, "1h"), (2000, "5m"))
    assert _at_breakpoints(cache, prompt) == (0, 800, 1200)
    assert _at_breakpoints(cache, prompt) == (2000, 0, 0)
    assert _at_breakpoints(cache, prompt, 600.0) == (1200, 800, 0)


def test_without_a_breakpoint_nothing_is_cached() -> None:
    """Nor with one that comes too early."""
    cache = PrefixCache()
    for prompt in (_prompt(WORDS), _prompt(WORDS, (1000, "5m"))):
        assert [_at_breakpoints(cache, prompt) for _ in range(2)] == [(0, 0, 0)] * 2


def test_a_breakpoint_finds_what_an_earlier_turn_wrote() -> None:
    """The end of a block before it counts, so a conversation need not move its old breakpoints along."""
    cache = PrefixCache()
    assert _at_breakpoints(cache, _prompt(WORDS[:1500], (1500, "5m"), ends=(1500,))) == (0, 1500, 0)
    assert _at_breakpoints(cache, _prompt(WORDS[:2100], (2100, "5m"), ends=(1500, 2100))) == (1500, 600, 0)


def test_a_prompt_is_tools_then_messages() -> None:
    """With the breakpoints where the client put them."""
    messages = (Message("system", "Be exact. Be brief.", ((9, "5m"),)), Message("user", "Go."))
    prompt = prompt_of(Ask("w", "m", messages, tools=(Tool("look", '{"name":"look"}', breakpoint="1h"),)), "")
    assert "".join(prompt.parts) == '{"name":"look"}systemBe exact. Be brief.userGo.'
    assert ["".join(prompt.parts[:at]) for at, _ in prompt.breakpoints] == [
        '{"name":"look"}',
        '{"name":"look"}systemBe exact.',
    ]
    assert prompt.tokens == len(prompt.parts) + 9
