"""The reply of each script is lost on its way, again and again: what was done is not done a second time."""

from collections.abc import Sequence
from contextlib import ExitStack

from tests.drills import kit
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
        here.workers.stop()
        verdict.exactly("ended as succeeded", kit.states(here, ids)["succeeded"], len(ids))
        verdict.exactly("calls beyond one per job, the failed ones apart", kit.extra_calls(here) - failing, 0)
        verdict.exactly("attempts charged, the failed ones apart", kit.charged(here, ids) - failing, 0)
        verdict.exactly("workers that ended", len(here.workers.ends), 0)
        here.check(verdict, ids)
