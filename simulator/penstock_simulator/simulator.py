"""The simulator inside a program: an async context manager on a free port."""

from __future__ import annotations

import asyncio
import ssl as tls
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from penstock_simulator.answers import Answers, named_answers
from penstock_simulator.bill import Bill, BilledCall
from penstock_simulator.control import Control
from penstock_simulator.latency import Latency
from penstock_simulator.protocol import HttpProtocol
from penstock_simulator.provider import Provider, Settings
from penstock_simulator.script import load_script
from penstock_simulator.stats import Stats
from penstock_simulator.wire.families import WIRES

_POLL_S = 0.005


class Simulator:
    """A local LLM provider that speaks the wire formats of six API families and fails on command.

    All of them on one port, each on its own paths: OpenAI Chat Completions and Responses, Anthropic Messages,
    Azure OpenAI, Ollama, Gemini.

    ```python
    async with Simulator(script=["503 retry-after=1 times=1"]) as simulator:
        client = AsyncOpenAI(base_url=simulator.base_url, api_key="any")
    ```

    All settings are checked at once: ValueError (FaultSpecError for a script) names what is wrong. The
    same seed and the same requests in the same order give the same answers, ids and delays.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int = 0,
        latency: str = "0ms",
        answers: Literal["real", "fixed", "obedient"] | Answers = "real",
        script: Any = (),
        bill: str | Path | None = None,
        api_key: str | None = None,
        models: Sequence[str] | None = None,
        context_tokens: int = 128_000,
        requests_per_min: int | None = None,
        tokens_per_min: int | None = None,
        ssl: tls.SSLContext | None = None,
    ) -> None:
        self._host, self._port, self._ssl = host, port, ssl
        settings = Settings(
            seed=seed,
            answers=answers if callable(answers) else named_answers(answers),
            latency=Latency.parse(latency),
            api_key=api_key,
            models=None if models is None else tuple(models),
            context_tokens=context_tokens,
            requests_per_min=requests_per_min,
            tokens_per_min=tokens_per_min,
            count_tokens=answers != "fixed",
        )
        self._provider = Provider(settings, WIRES, Bill(None if bill is None else Path(bill)))
        self._control = Control(self._provider)
        self._connections: set[HttpProtocol] = set()
        self._server: asyncio.Server | None = None
        self.script(script)

    @property
    def url(self) -> str:
        """`http://host:port`; RuntimeError before the start."""
        if self._server is None:
            raise RuntimeError("the simulator is not running")
        host, port = self._server.sockets[0].getsockname()[:2]
        scheme = "http" if self._ssl is None else "https"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    @property
    def base_url(self) -> str:
        """What OpenAI clients call the base URL: `url` and `/v1`. Other families' clients append to `url` itself."""
        return f"{self.url}/v1"

    async def start(self) -> None:
        """Listen; OSError if the port is taken. A simulator runs once."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, self._host, self._port, ssl=self._ssl, backlog=4096)

    async def stop(self) -> None:
        """Stop listening, end all connections and close the bill; a second call does nothing."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._connections):
            connection.close()
        await self.until(lambda stats: stats.open_connections == 0 and stats.in_flight == 0)
        self._server = None
        self._provider.bill.close()

    def calls(self) -> list[BilledCall]:
        """The calls since the start or the last reset, oldest first; the latest 100,000 at most."""
        return self._provider.bill.calls()

    def stats(self) -> Stats:
        """The counters, live: the same object every time."""
        return self._provider.stats

    def script(self, rules: Any) -> None:
        """Replace the rules: a list of rules, words for one, or the path of a JSON or TOML file.

        Counting and timing begin afresh. FaultSpecError says which rule is wrong, and the old rules stay.
        """
        if isinstance(rules, Path):
            rules = load_script(rules)
        elif isinstance(rules, str):
            rules = [rules]
        self._provider.script.set(rules, self._provider.settings.clock())

    def reset(self) -> None:
        """Forget rules, calls, counters and the prompt cache, and begin the seed anew; ids go on."""
        self._provider.reset()

    async def until(self, condition: Callable[[Stats], bool], timeout_s: float = 10.0) -> Stats:
        """Wait until *condition* holds of the counters; TimeoutError, with the counters, if it never does."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not condition(self._provider.stats):
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError(f"the condition did not hold within {timeout_s} s: {self._provider.stats}")
            await asyncio.sleep(_POLL_S)
        return self._provider.stats

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _protocol(self) -> HttpProtocol:
        return HttpProtocol(self._provider, self._control, self._connections)
