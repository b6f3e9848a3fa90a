"""No-op and waiting arq functions through one worker process: the engine and stock arq.

Results are stored, heartbeats are on, INFO logging is off, uvloop for both. ``reads_per_job`` is how often Redis
read from a socket, per job: its share of a round trip. ``server_core`` is how much of one core Redis used: at 1
it is the limit, and more processes bring nothing.
"""

import argparse
import sys
from typing import cast

import redis

from bench.support import Bench, Row, server_cpu_s
from bench.workers.jobs import fill, run_workers
from bench.workers.peers.setup import peers, run_peer

_STOCK_SHARE = 25  # stock arq takes at most 10 x max_jobs a second: fewer jobs are enough to see it
_NAPS = 5_000


def main(argv: list[str]) -> int:
    """Run the benchmark and print its rows."""
    with Bench.start(__doc__, argv, rounds=3, add_options=_options) as bench:
        rows = [_throughput(bench, kind, slots) for slots in (32, 256) for kind in ("engine", "stock arq")]
        rows += [_throughput(bench, "engine", 256, processes=2)]
        rows += [_naps(bench, kind) for kind in ("engine", "stock arq")]
        if bench.arguments.peers:
            rows += [_peer(bench, peer, slots) for slots in (32, 256) for peer in peers()]
            rows += [_peer(bench, peer, 1000, _NAPS, 0.2) for peer in peers() if peer != "dramatiq"]
        bench.report(rows)
    return 0


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--jobs", type=int, default=50_000, help="no-op jobs per round and process (default: %(default)s)"
    )
    parser.add_argument("--peers", action="store_true", help="also other queues, in environments made for them")


def _throughput(bench: Bench, kind: str, slots: int, processes: int = 1) -> Row:
    jobs = bench.arguments.jobs * processes if kind == "engine" else bench.arguments.jobs // _STOCK_SHARE
    return _median([_round(bench, kind, slots, processes, jobs, "noop", 1) for _ in range(bench.rounds)])


def _peer(bench: Bench, peer: str, slots: int, jobs: int | None = None, nap_s: float = 0.0) -> Row:
    if jobs is None:
        jobs = bench.arguments.jobs if peer == "BullMQ" else bench.arguments.jobs // 10
    rounds: list[dict[str, object]] = []
    for _ in range(bench.rounds):
        bench.flush()
        figures = run_peer(peer, bench.server.url, slots, jobs, nap_s)
        rounds.append(
            {
                "what": f"{peer}: {_title(jobs, nap_s, slots)}",
                "jobs": jobs,
                "per_s": jobs / figures["wall_s"],
                "worker_cpu_us_per_job": figures["cpu_s"] / jobs * 1e6,
                "server_cpu_us_per_job": "",
                "server_core": "",
                "reads_per_job": "",
            }
        )
    return _median(rounds)


def _naps(bench: Bench, kind: str) -> Row:
    row = _median([_round(bench, kind, 1000, 1, _NAPS, "nap", 0.2) for _ in range(bench.rounds)])
    return {**row, "what": f"{kind}: {_title(_NAPS, 0.2, 1000)}"}


def _title(jobs: int, nap_s: float, slots: int) -> str:
    return f"{jobs:,} jobs of {nap_s} s, {slots:,} at once" if nap_s else f"no-op, {slots} at once"


def _round(
    bench: Bench, kind: str, slots: int, processes: int, jobs: int, function: str, argument: float
) -> dict[str, object]:
    bench.flush()
    fill(bench.server.url, jobs, function, argument)
    reads, server_s = _reads(bench), server_cpu_s(bench.server)
    figures = run_workers(bench.server.url, "engine" if kind == "engine" else "stock", slots, processes)
    wall_s, server_s = max(each["wall_s"] for each in figures), server_cpu_s(bench.server) - server_s
    done = sum(each["jobs"] for each in figures)
    assert done == jobs, f"{done} of {jobs} jobs were done"
    return {
        "what": f"{kind}: {_title(jobs, 0, slots)}" + (f", {processes} processes" if processes > 1 else ""),
        "jobs": jobs,
        "per_s": jobs / wall_s,
        "worker_cpu_us_per_job": sum(each["cpu_s"] for each in figures) / jobs * 1e6,
        "server_cpu_us_per_job": server_s / jobs * 1e6,
        "server_core": server_s / wall_s,
        "reads_per_job": (_reads(bench) - reads) / jobs,
    }


def _reads(bench: Bench) -> int:
    with redis.Redis.from_url(bench.server.url) as client:
        return int(cast("dict[str, int]", client.info("stats"))["total_reads_processed"])


def _median(rounds: list[dict[str, object]]) -> Row:
    return sorted(rounds, key=lambda row: cast(float, row["per_s"]))[(len(rounds) - 1) // 2]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
