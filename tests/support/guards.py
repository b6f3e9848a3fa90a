"""What guards a target, asked at any time a test likes: the includes of the scripts, with the time as an argument."""

from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from penstock_schemas import keys
from penstock_store.scripts import Script, load_include
from penstock_worker.routing.policy import Policy

TARGET = "openai/gpt"
ACCOUNT = "openai"
START_MS = 4_000_000_000_000

_ADMIT = """
return {admit(ARGV[1], ARGV[2], ARGV[3] ~= "" and ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]))}
"""
_REPORT = """
return admission_report(
  ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7]))
"""
_PLACE = """
return {admission_place(ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]))}
"""


@dataclass(frozen=True)
class Verdict:
    """What the guards said."""

    code: int
    """1 admitted, 5 admitted as a probe, 4 closed."""
    in_ms: int = 0
    """How long after the question the next may come."""
    why: str = ""

    @property
    def admitted(self) -> bool:
        return self.code != 4


@dataclass
class Guards:
    """The guards of one target, and a clock that only the test moves."""

    redis: Redis
    policy: Policy = field(default_factory=Policy)
    now_ms: int = START_MS
    calls: int = 0
    lease_ms: int = 60_000

    def __post_init__(self) -> None:
        about = self.policy.lua() + load_include("penstock_worker.routing", "admission")
        self._admit, self._report, self._place = (Script(about + verb) for verb in (_ADMIT, _REPORT, _PLACE))

    def pass_s(self, seconds: float) -> None:
        """Let time go by."""
        self.now_ms += round(seconds * 1000)

    async def admit(
        self, call: str | None = None, *, target: str = TARGET, place: str = "", tokens: int = 0
    ) -> Verdict:
        """Ask for one call; *call* None: under a new id."""
        self.calls += 1
        reply = await self._run(
            self._admit, target, call or f"call-{self.calls}", place, tokens, self.lease_ms, self.now_ms
        )
        if reply[0] != 4:
            return Verdict(reply[0])
        return Verdict(4, reply[1] - self.now_ms, reply[2].decode())

    async def report(
        self,
        what: str,
        call: str = "?",
        *,
        wait_s: float | None = None,
        target: str = TARGET,
        more_tokens: int = 0,
        limits: str = "",
    ) -> None:
        """Say how a call ended; *limits* as a Report has it."""
        wait_ms = -1 if wait_s is None else round(wait_s * 1000)
        await self._run(self._report, target, call, what, wait_ms, more_tokens, f"100 {limits}", self.now_ms)

    async def place(self, *, target: str = TARGET, tokens: int = 0) -> tuple[int, str]:
        """Take a place in the line: in how many ms it is its turn, and the place."""
        at_ms, *place = await self._run(self._place, target, tokens, self.now_ms)
        return at_ms - self.now_ms, place[0].decode() if place else ""

    async def breaker(self, name: str = TARGET) -> dict[str, str]:
        """The breaker's hash."""
        return await self._hash(keys.breaker(name))

    async def gate(self, name: str = TARGET) -> dict[str, str]:
        """The gate's hash."""
        return await self._hash(keys.gate(name))

    async def _hash(self, key: str) -> dict[str, str]:
        row: dict[bytes, bytes] = await self.redis.hgetall(key)  # type: ignore[misc]
        return {name.decode(): value.decode() for name, value in row.items()}

    async def _run(self, script: Script, *args: Any) -> Any:
        return await self.redis.eval(script.text, 0, *args)  # type: ignore[misc]
