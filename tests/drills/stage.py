"""Where a drill takes place: Redis with persistence, the proxy before it, a provider with a bill, and workers."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from penstock_simulator.process import SimulatorProcess
from penstock_store.server import RedisServer
from tests.drills import checker
from tests.drills.supervisor import Supervisor, supervised
from tests.drills.verdict import Verdict
from tests.support.proxy import TcpProxy
from tests.support.servers import server_binary

REDIS_DELAY_S = 0.001
"""What the proxy adds in each direction, so that no round trip is free."""


@dataclass(frozen=True)
class Stage:
    """A running stage. Its processes are gone when its block ends, killed or not; its folder, unless killed."""

    folder: Path
    server: RedisServer
    proxy: TcpProxy
    """Between the workers and Redis; ``proxy.url`` is what producers should use too."""
    simulator: SimulatorProcess
    bill: Path
    """The provider's own account of what it was asked for."""
    workers: Supervisor

    @contextmanager
    def redis(self) -> Iterator[redis.Redis]:
        """A client that decodes, past the proxy."""
        with redis.Redis.from_url(self.server.url, decode_responses=True) as client:
            yield client

    def check(
        self, verdict: Verdict, accepted: Sequence[str], *, bills: Sequence[Path] = (), but: Sequence[Any] = ()
    ) -> None:
        """Add to *verdict* what must hold after every drill, of jobs with these ids.

        *bills*: of other providers beside the stage's own; *but*: checks that cannot hold after what was done.
        """
        with self.redis() as client:
            snapshot = checker.read(client, accepted, self.bill, *bills)
        verdict.none_of("faults found by the checker", checker.faults(snapshot, but=but))
        verdict.none_of("workers that ended by themselves", self.workers.ended_by_themselves())


@contextmanager
def stage(
    worker_argv: Callable[[Path, str, str], Sequence[str]],
    *,
    workers: int = 3,
    latency: str = "uniform:500ms..1500ms",
    seed: int = 0,
    proxied: bool = True,
    disk: Callable[[Path], AbstractContextManager[object]] = nullcontext,
) -> Iterator[Stage]:
    """Set a stage up. *worker_argv* gets its folder, the URL of Redis and the provider's base URL.

    *proxied* False leads the workers around the proxy, for drills that need none. *disk* is entered with the folder
    of Redis' data before the server starts, and left after it has ended.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-drill-")))
        data = folder / "redis"
        data.mkdir()
        stack.enter_context(disk(data))
        server = stack.enter_context(RedisServer(binary=server_binary(), directory=data, persistence=True))
        proxy = stack.enter_context(TcpProxy.to(server.url))
        proxy.delay(REDIS_DELAY_S)
        bill = folder / "bill.jsonl"
        simulator = stack.enter_context(SimulatorProcess(latency=latency, seed=seed, bill=bill))
        argv = worker_argv(folder, proxy.url if proxied else server.url, simulator.base_url)
        supervisor = stack.enter_context(supervised(argv, count=workers))
        yield Stage(folder, server, proxy, simulator, bill, supervisor)
