"""The reply of each script is lost on its way, again and again: what was done is not done a second time."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from penstock import DeadLetters, Producer, Summarize
from penstock_store.scripts import load_script
from tests.drills import kit
from tests.drills.stage import Stage
from tests.drills.verdict import Verdict

SCRIPTS = {
    "claim": b"\r\ninteractive\r\n",
    "intend": b'"stage":"calling"',
    "settle": b"\r\nanswered\r\n",
    "finish": b"\r\nsucceeded\r\n",
    "reschedule": b"\r\nserver_error\r\n",
}
"""Script -> bytes that only its calls have."""


def main(argv: Sequence[str]) -> int:
    return kit.run("lost_replies", argv, sweep)


def sweep(verdict: Verdict, options: kit.Options) -> None:
    drops = options.pick(3, 50)
    with ExitStack() as stack:
        here = kit.worker_stage(stack, latency="50ms", count=2, lease_s=3.0, heartbeat_s=1.0)
        ids: list[str] = []
        failing = 0
        for script, marker in SCRIPTS.items():
            for _ in range(drops):
                if script == "reschedule":
                    here.simulator.script(["500 times=1"])
                    failing += 1
                here.proxy.drop_next_reply(marker)
                ids += kit.enqueue(here.server.url, 4)
                here.proxy.wait_dropped(30)
                kit.wait_quiet(here, 60)
        ended = asyncio.run(_producers(here, drops))
        kit.wait_quiet(here, 60)
        here.workers.stop()
        states = kit.states(here, ids + ended)
        verdict.exactly("ended as cancelled", states["cancelled"], drops)
        verdict.exactly("ended as succeeded", states["succeeded"], len(ids) + 2 * drops)
        beyond = kit.extra_calls(here) - failing - drops
        verdict.exactly("calls beyond one per job, failed and replayed ones apart", beyond, 0)
        verdict.exactly("attempts charged, the failed ones apart", kit.charged(here, ids + ended) - failing, 0)
        verdict.exactly("workers that ended", len(here.workers.ends), 0)
        here.check(verdict, ids + ended)


async def _producers(here: Stage, drops: int) -> list[str]:
    """Enqueue, cancel and replay, each so often, the reply lost each time; the ids of all that was accepted."""
    ids: list[str] = []
    here.simulator.script([f"refusal times={drops}"])
    dead = await asyncio.to_thread(kit.enqueue, here.server.url, drops, on_failure="dead_letter")
    await asyncio.to_thread(kit.wait_quiet, here, 60)
    async with Producer.connect(here.proxy.url, tenant="drill") as producer:
        letters = DeadLetters(producer, who="drill")
        for n, letter in enumerate(dead):
            with _lost(here, "enqueue"):
                ids.append((await producer.enqueue(Summarize(text=kit.TEXT.format(f"late {n}")))).id)
            later = await producer.enqueue(Summarize(text=kit.TEXT.format(f"never {n}")), delay_s=3_600)
            ids.append(later.id)
            with _lost(here, "cancel"):
                await later.cancel()
            with _lost(here, "replay"):
                outcomes = [outcome async for outcome in letters.replay([letter])]
            assert [outcome.run for outcome in outcomes] == [2]
    return ids + dead


@contextmanager
def _lost(here: Stage, verb: str) -> Iterator[None]:
    """Lose the reply of the first call of this script in the block, which Redis knows by its digest."""
    script = load_script("penstock", verb)
    with here.redis() as client:
        client.script_load(script.text)
    here.proxy.drop_next_reply(script.sha.encode())
    yield
    here.proxy.wait_dropped(30)
