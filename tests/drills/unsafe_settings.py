"""A Redis that would lose jobs or cannot run the scripts is refused at the start, and told of when it becomes so."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import redis

from penstock_store.server import RedisServer
from tests.drills import kit
from tests.drills.verdict import Verdict
from tests.support.processes import ChildProcess
from tests.support.proxy import TcpProxy
from tests.support.servers import server_binary
from tests.support.wait import wait_until
from tests.support.worker_processes import worker_argv, write_config

POLICIES = tuple(
    f"{which}-{how}"
    for which, hows in (("allkeys", ("lru", "lfu", "random")), ("volatile", ("lru", "lfu", "random", "ttl")))
    for how in hows
)


@dataclass(frozen=True)
class Unsafe:
    """A server that no worker shall run on."""

    named: str
    """The setting that the refusal names."""
    set: dict[str, str] = field(default_factory=dict)
    """What is set on a server that is safe otherwise."""
    persistence: bool = True
    cluster: bool = False
    old: bool = False
    redis: dict[str, Any] = field(default_factory=dict)
    """The worker's own settings of Redis."""


CASES = {
    **{policy: Unsafe("maxmemory-policy", set={"maxmemory-policy": policy}) for policy in POLICIES},
    "no persistence": Unsafe("appendonly", persistence=False),
    "an old version": Unsafe("version", old=True),
    "cluster mode": Unsafe("cluster-enabled", cluster=True),
    "no user of its own": Unsafe("user", redis={"require_own_user": True}),
}


class ClusterServer(RedisServer):
    """A server that is a cluster of one, without slots."""

    def _command(self, port: int) -> list[str]:
        return [*super()._command(port), "--cluster-enabled", "yes"]


def main(argv: Sequence[str]) -> int:
    return kit.run("unsafe_settings", argv, unsafe)


def unsafe(verdict: Verdict, options: kit.Options) -> None:
    policies = options.pick(POLICIES[:1] + POLICIES[-1:], POLICIES)
    refusals(verdict, {name: case for name, case in CASES.items() if name not in POLICIES or name in policies})
    changes(verdict, options.pick(("maxmemory-policy",), ("maxmemory-policy", "appendonly")))


def refusals(verdict: Verdict, cases: dict[str, Unsafe]) -> None:
    """All at once: each worker ends with 3 and says in one line which setting it was."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="penstock-drill-")))
        workers = {name: _worker(stack, folder / name, case) for name, case in cases.items()}
        codes = {name: worker.wait(60) for name, worker in workers.items()}
        verdict.exactly("unsafe servers refused with 3", sum(code == 3 for code in codes.values()), len(cases))
        unclear = [f"{name}: {workers[name].lines}" for name, case in cases.items() if not _clear(workers[name], case)]
        verdict.none_of("refusals that are not one line naming the setting", unclear)


def _worker(stack: ExitStack, folder: Path, case: Unsafe) -> ChildProcess:
    """A worker on a server as *case* describes it."""
    data = folder / "redis"
    data.mkdir(parents=True)
    kind = ClusterServer if case.cluster else RedisServer
    directory = data if case.persistence else None
    server = stack.enter_context(kind(binary=server_binary(), directory=directory, persistence=case.persistence))
    with redis.Redis.from_url(server.url) as client:
        for name, value in case.set.items():
            client.config_set(name, value)
    url = server.url
    if case.old:
        proxy = stack.enter_context(TcpProxy.to(url))
        proxy.corrupt(b"\r\nredis_version:7", b"\r\nredis_version:6")
        url = proxy.url
    config = write_config(folder, url, "http://127.0.0.1:9", redis={"allow_volatile": False, **case.redis})
    return stack.enter_context(ChildProcess(worker_argv(config)))


def _clear(worker: ChildProcess, case: Unsafe) -> bool:
    told = [line for line in worker.lines if not line.startswith("{")]
    return len(told) == 1 and f"redis {case.named}" in told[0]


def changes(verdict: Verdict, settings: Sequence[str]) -> None:
    """While it runs: it is not ready, says why, works on, and is ready again when that is mended."""
    bad = {"maxmemory-policy": ("allkeys-lru", "noeviction"), "appendonly": ("no", "yes")}
    with ExitStack() as stack:
        here = kit.worker_stage(stack, latency="50ms", count=1, health_port=0, redis={"allow_volatile": False})
        port = here.workers.started[0].wait_event("health_served", 30)["port"]
        wait_until(lambda: _ready(port)[0], 30)
        ids: list[str] = []
        slowest_s = 0.0
        with here.redis() as client:
            for setting in settings:
                unsafe_value, safe_value = bad[setting]
                client.config_set(setting, unsafe_value)
                changed_at = time.monotonic()
                wait_until(lambda: not _ready(port)[0], 70)
                slowest_s = max(slowest_s, time.monotonic() - changed_at)
                told = _ready(port)[1]
                verdict.exactly(f"{setting}: named in what /ready says", setting in told, True)
                ids += kit.enqueue(here.server.url, 5)
                kit.wait_quiet(here, 30)
                client.config_set(setting, safe_value)
                wait_until(lambda: _ready(port)[0], 70)
        here.workers.stop()
        verdict.at_most("s from a live change to readiness false", round(slowest_s, 2), 60, speed=True)
        verdict.exactly("jobs done meanwhile", kit.states(here, ids)["succeeded"], len(ids))
        here.check(verdict, ids)


def _ready(port: int) -> tuple[bool, str]:
    """Whether the worker is, and why not."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5) as answer:
            return True, str(json.load(answer)["why_not"])
    except urllib.error.HTTPError as error:
        with error:
            return False, str(json.load(error)["why_not"])
