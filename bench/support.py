"""What all benchmarks share: a server, a stopwatch that also counts CPU time, statistics, and the report.

def main(argv: list[str]) -> int:
    with Bench.start(__doc__, argv) as bench:
        runs = [measure_once(bench) for _ in range(bench.rounds)]
        bench.report([{"what": "enqueue", **median_run(runs).columns()}])
    return 0
"""

import argparse
import json
import math
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import redis
from rich.console import Console
from rich.table import Table

from penstock_store.server import RedisServer, bundled_redis, find_redis

Row = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one round took. CPU times are user and system together."""

    items: int
    wall_s: float
    cpu_s: float
    """Of this process, all threads."""
    server_cpu_s: float
    """Of the Redis server."""
    workers_cpu_s: float | None = None
    """Of the other processes that were named; None if there were none."""

    @property
    def per_s(self) -> float:
        """Items per second of wall time."""
        return self.items / self.wall_s

    def columns(self) -> dict[str, object]:
        """The usual columns of a report: throughput, and CPU time per item in microseconds."""
        columns: dict[str, object] = {
            "items": self.items,
            "wall_s": self.wall_s,
            "per_s": self.per_s,
            "cpu_us_per_item": self._us_per_item(self.cpu_s),
            "server_cpu_us_per_item": self._us_per_item(self.server_cpu_s),
        }
        if self.workers_cpu_s is not None:
            columns["workers_cpu_us_per_item"] = self._us_per_item(self.workers_cpu_s)
        return columns

    def _us_per_item(self, cpu_s: float) -> float:
        return cpu_s * 1e6 / self.items


class Stopwatch:
    """Runs from its making to ``stop``."""

    def __init__(self, server: RedisServer, worker_pids: Sequence[int]) -> None:
        self._server = server
        self._worker_pids = worker_pids
        self._before = self._read()

    def stop(self, items: int) -> Run:
        """What was used since the making, for *items* items."""
        wall_s, cpu_s, server_cpu_s, workers_cpu_s = (
            after - before for after, before in zip(self._read(), self._before, strict=True)
        )
        return Run(
            items=items,
            wall_s=wall_s,
            cpu_s=cpu_s,
            server_cpu_s=server_cpu_s,
            workers_cpu_s=workers_cpu_s if self._worker_pids else None,
        )

    def _read(self) -> tuple[float, float, float, float]:
        return (
            time.perf_counter(),
            time.process_time(),
            server_cpu_s(self._server),
            sum(process_cpu_s(pid) for pid in self._worker_pids),
        )


class Bench:
    """A benchmark under way: its server, its options, its report."""

    def __init__(self, title: str, arguments: argparse.Namespace, server: RedisServer) -> None:
        self.title = title
        self.arguments = arguments
        """What was given on the command line, the benchmark's own options included."""
        self.server = server
        self.rounds = int(arguments.rounds)
        """How often to measure, at least 1."""

    @classmethod
    @contextmanager
    def start(
        cls,
        docstring: str | None,
        argv: Sequence[str],
        *,
        rounds: int = 5,
        add_options: Callable[[argparse.ArgumentParser], None] | None = None,
    ) -> Iterator["Bench"]:
        """Read the options (*add_options* adds the benchmark's own), and keep a fresh server for the block."""
        title = (docstring or "").partition("\n")[0]
        parser = argparse.ArgumentParser(prog="scripts/bench NAME", description=title)
        parser.add_argument("--json", action="store_true", help="one JSON object per row instead of a table")
        parser.add_argument("--rounds", type=_positive, default=rounds, help="rounds (default: %(default)s)")
        parser.add_argument(
            "--server", default="valkey", help="valkey (bundled, the default), path (from PATH) or a file"
        )
        if add_options is not None:
            add_options(parser)
        arguments = parser.parse_args(argv)
        with RedisServer(binary=_binary(arguments.server)) as server:
            yield cls(title, arguments, server)

    def stopwatch(self, worker_pids: Sequence[int] = ()) -> Stopwatch:
        """Start to measure this process, the server and the processes of these ids, which must live till the stop."""
        return Stopwatch(self.server, worker_pids)

    def flush(self) -> None:
        """Empty the database, between rounds."""
        with redis.Redis.from_url(self.server.url) as client:
            client.flushall()

    def report(self, rows: Iterable[Row]) -> None:
        """Print the rows with what they were measured on. All rows have the columns of the first."""
        rows = list(rows)
        if self.arguments.json:
            for row in rows:
                print(json.dumps({"bench": self.title, **row, "rounds": self.rounds, **machine(self.server)}))
            return
        console = Console(width=None if sys.stdout.isatty() else 160)
        table = Table(*rows[0], title=self.title, title_justify="left")
        for column in table.columns[1:]:
            column.justify = "right"
        for row in rows:
            table.add_row(*map(_shown, row.values()))
        console.print(table)
        console.print(" · ".join(map(str, machine(self.server).values())), f"· {self.rounds} rounds", highlight=False)


def median_run(runs: Sequence[Run]) -> Run:
    """The whole run whose throughput is the median (the slower of the two in the middle), never a mix of runs."""
    return sorted(runs, key=lambda run: run.per_s)[(len(runs) - 1) // 2]


def percentile(values: Sequence[float], percent: float) -> float:
    """Nearest rank: the smallest value that at least *percent* % of all do not exceed. Needs one value at least."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def latency_columns(latencies_s: Sequence[float]) -> dict[str, object]:
    """Columns of a report for a set of latencies, in milliseconds."""
    columns: dict[str, object] = {"count": len(latencies_s), "mean_ms": statistics.fmean(latencies_s) * 1e3}
    for percent in (50, 95, 99):
        columns[f"p{percent}_ms"] = percentile(latencies_s, percent) * 1e3
    return {**columns, "max_ms": max(latencies_s) * 1e3}


def machine(server: RedisServer) -> dict[str, object]:
    """What a figure was measured on."""
    return {
        "cpu": _cpu_model(),
        "cores": f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores",
        "python": f"Python {platform.python_version()}",
        "server": server.version,
    }


def server_cpu_s(server: RedisServer) -> float:
    """CPU time that the server has used so far, by its own account."""
    with redis.Redis.from_url(server.url) as client:
        info = cast("dict[str, Any]", client.info("cpu"))
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


def process_cpu_s(pid: int) -> float:
    """CPU time that a running process has used so far, its reaped children included (Linux only).

    Fields 14 to 17 of /proc/<pid>/stat, proc(5), counted after the name in parentheses, which may hold blanks.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def peak_memory_mib() -> float:
    """The largest resident memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _binary(choice: str) -> Path:
    named = {"valkey": bundled_redis, "path": find_redis}
    return named[choice]() if choice in named else Path(choice)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
