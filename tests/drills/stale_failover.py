"""Fail-overs to a replica that lags by two seconds: what was to be durable is there, what else is lost is counted."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import redis

from penstock import Producer, Summarize, UnavailableError
from penstock_store.server import RedisServer
from tests.drills import checker, kit
from tests.drills.stage import Stage
from tests.drills.verdict import Verdict
from tests.support.proxy import TcpProxy
from tests.support.servers import server_binary
from tests.support.wait import wait_until

_FROZEN_S, _CALL_S = 2.0, 0.5
_NOT_WHOLE = (
    checker.every_billed_call_is_in_the_ledger,
    checker.the_ledger_is_the_bill,
    checker.budgets_are_the_sum_of_the_ledger,
)
"""What a part of was lost on purpose; the gap is told as a number."""


@dataclass
class Accepted:
    """What producers were told to be accepted."""

    durable: list[str] = field(default_factory=list)
    plain: list[tuple[float, str]] = field(default_factory=list)
    """When, and id."""
    frozen: list[tuple[float, float]] = field(default_factory=list)
    """From when to when a replica was behind."""
    refused: int = 0
    """Enqueues that no replica had in time; each was repeated with its key until one had."""

    def in_frozen_windows(self) -> int:
        """Plain jobs that were accepted while no replica followed."""
        return sum(self.in_window(at) for at, _ in self.plain)

    def in_window(self, at: float) -> bool:
        """Whether what came then may not have reached the replica; calls may end later than they begin."""
        return any(begin - _CALL_S <= at <= end for begin, end in self.frozen)


def main(argv: Sequence[str]) -> int:
    return kit.run("stale_failover", argv, failovers)


def failovers(verdict: Verdict, options: kit.Options) -> None:
    rounds, durable = options.pick((2, 60), (3, 300))
    with ExitStack() as stack:
        here = kit.worker_stage(stack, latency="uniform:100ms..500ms")
        here, accepted, reconnect_s = asyncio.run(_all(stack, here, rounds, durable))
        kit.wait_quiet(here, 120)
        with here.redis() as client:
            lost = [job_id for _, job_id in accepted.plain if not client.exists(f"penstock:job:{job_id}")]
            lost_durable = [job_id for job_id in accepted.durable if not client.exists(f"penstock:job:{job_id}")]
            snapshot = checker.read(client, [], here.bill)
        gap = list(checker.every_billed_call_is_in_the_ledger(snapshot))
        here.workers.stop()
        kept = [job_id for _, job_id in accepted.plain if job_id not in set(lost)] + accepted.durable
        verdict.exactly("accepted with durability=replica", len(accepted.durable), durable)
        verdict.exactly("of them lost", len(lost_durable), 0)
        verdict.at_least("enqueues told that no replica had them in time", accepted.refused, 1)
        most = accepted.in_frozen_windows()
        verdict.at_most("other jobs lost, of those accepted in the frozen windows", len(lost), most)
        verdict.at_most("s from a promotion to the next accepted job", round(max(reconnect_s), 2), 5.0, speed=True)
        verdict.exactly("ended as succeeded, of those not lost", kit.states(here, kept)["succeeded"], len(kept))
        verdict.at_least("workers that said state_lost or redis_changed", _noticed(here), 3)
        begun = sum(accepted.in_window(call["started_at_ms"] / 1000) for call in snapshot.bill)
        verdict.at_most("calls not in the ledger or made twice, of those begun in the windows", len(gap), begun)
        verdict.exactly("workers that ended", len(here.workers.ends), 0)
        here.check(verdict, kept, but=_NOT_WHOLE)


async def _all(stack: ExitStack, here: Stage, rounds: int, durable: int) -> tuple[Stage, Accepted, list[float]]:
    """Fail over so often, with two producers at work all the time, and wait until all durable jobs are accepted."""
    accepted, reconnect_s = Accepted(), []
    plain = asyncio.create_task(_plain(here.proxy.url, accepted))
    sturdy = asyncio.create_task(_durable(here.proxy.url, accepted, durable, every_s=1.5 * rounds / durable))
    for turn in range(rounds):
        here, one_s = await _fail_over(stack, here, turn, accepted)
        reconnect_s.append(one_s)
    await asyncio.to_thread(_replica, stack, here, rounds)  # without one nothing is durable any more
    await asyncio.wait_for(sturdy, 60)
    plain.cancel()
    await asyncio.gather(plain, return_exceptions=True)
    return here, accepted, reconnect_s


async def _fail_over(stack: ExitStack, here: Stage, turn: int, accepted: Accepted) -> tuple[Stage, float]:
    """Let a replica follow, fall behind, and take over. The stage after it, and how long nothing was accepted."""
    replica, link = await asyncio.to_thread(_replica, stack, here, turn)
    await asyncio.sleep(1.0)  # as long as all is well
    link.freeze()
    began = time.time()
    await asyncio.sleep(_FROZEN_S)
    await asyncio.to_thread(here.server.kill)
    accepted.frozen.append((began, time.time()))
    with redis.Redis.from_url(replica.url) as client:
        client.replicaof("NO", "ONE")
    here.proxy.retarget(replica.url)
    here.proxy.delay(0.001)
    promoted_at, before = time.monotonic(), len(accepted.plain)
    await asyncio.to_thread(wait_until, lambda: len(accepted.plain) > before, 30)
    return replace(here, server=replica), time.monotonic() - promoted_at


def _replica(stack: ExitStack, here: Stage, turn: int) -> tuple[RedisServer, TcpProxy]:
    """A replica that follows the stage's server, and the way to freeze it."""
    folder = Path(here.folder) / f"replica-{turn}"
    folder.mkdir()
    replica = stack.enter_context(RedisServer(binary=server_binary(), directory=folder, persistence=True))
    link = stack.enter_context(TcpProxy.to(here.server.url))
    with redis.Redis.from_url(here.server.url) as primary, redis.Redis.from_url(replica.url) as client:
        primary.config_set("repl-diskless-sync-delay", 0)
        client.replicaof("127.0.0.1", str(link.port))
        wait_until(lambda: client.info("replication").get("master_link_status") == "up", 20)
    return replica, link


async def _plain(url: str, accepted: Accepted) -> None:
    """Jobs that ask for nothing: what is not answered is not repeated."""
    async with Producer.connect(url, tenant="drill") as producer:
        for n in range(1_000_000):
            with suppress(UnavailableError):
                job = await producer.enqueue(Summarize(text=kit.TEXT.format(f"plain {n}")))
                accepted.plain.append((time.time(), job.id))
            await asyncio.sleep(0.04)  # its pace


async def _durable(url: str, accepted: Accepted, count: int, *, every_s: float) -> None:
    """Jobs that have to outlive their server: each is sent with its key until a replica has it."""
    async with Producer.connect(url, tenant="drill", durability="replica") as producer:
        for n in range(count):
            asked = Summarize(text=kit.TEXT.format(f"durable {n}"))
            while True:
                try:
                    job = await producer.enqueue(asked, idempotency_key=f"durable-{n}")
                except UnavailableError:
                    accepted.refused += 1
                else:
                    break
            accepted.durable.append(job.id)
            await asyncio.sleep(every_s)  # its pace


def _noticed(here: Stage) -> int:
    return sum(bool(child.events("state_lost") or child.events("redis_changed")) for child in here.workers.started)
