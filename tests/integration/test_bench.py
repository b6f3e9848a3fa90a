"""The arithmetic under the benchmarks' figures."""

import json
import os

import pytest

from bench import __main__ as dispatcher
from bench.support import Bench, Run, latency_columns, median_run, percentile, process_cpu_s


def run(items: int, wall_s: float) -> Run:
    return Run(items=items, wall_s=wall_s, cpu_s=0.5, server_cpu_s=0.25)


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1.0), (1, 1.0), (50, 5.0), (90, 9.0), (91, 10.0), (99, 10.0), (100, 10.0)]
)
def test_percentile_is_a_value_that_was_measured(percent: float, expected: float) -> None:
    """Nearest rank, no interpolation, whatever the order."""
    assert percentile([10.0, *map(float, range(1, 10))], percent) == expected


def test_percentile_of_one_value_is_that_value() -> None:
    """The smallest sample there is."""
    assert percentile([3.0], 99) == 3.0


def test_median_run_is_one_of_the_runs() -> None:
    """By throughput; of an even number the slower of the middle two."""
    slow, middle, fast = run(10, 10.0), run(10, 5.0), run(10, 1.0)
    assert median_run([fast, slow, middle]) is middle
    assert median_run([fast, middle]) is middle


def test_columns_are_per_item() -> None:
    """CPU time in microseconds per item; no column for workers that were not named."""
    columns = run(1_000, 2.0).columns()
    assert (columns["per_s"], columns["cpu_us_per_item"], columns["server_cpu_us_per_item"]) == (500.0, 500.0, 250.0)
    assert "workers_cpu_us_per_item" not in columns


def test_latencies_are_reported_in_milliseconds() -> None:
    """Seconds in, milliseconds out."""
    columns = latency_columns([0.001, 0.002, 0.003])
    assert (columns["count"], columns["p50_ms"], columns["max_ms"]) == (3, 2.0, 3.0)


def test_process_cpu_time_is_that_of_the_process() -> None:
    """The kernel's own account of user and system time, its children included."""
    before = sum(os.times()[:4])
    assert before - 0.1 <= process_cpu_s(os.getpid()) <= sum(os.times()[:4]) + 0.1


def test_every_benchmark_says_in_a_line_what_it_measures() -> None:
    """That line is its entry in the list of scripts/bench."""
    assert "roundtrip" in dispatcher.summaries()
    assert all(dispatcher.summaries().values())
    assert dispatcher.main(["no-such-benchmark"]) == 2


def test_a_report_of_json_has_the_machine_in_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    """One object per line, the whole figure in it."""
    with Bench.start("Title.\n\nMore.", ["--json", "--rounds", "1"]) as bench:
        watch = bench.stopwatch([os.getpid()])
        bench.flush()
        bench.report([{"what": "one", **watch.stop(1).columns()}])
        version = bench.server.version
    (row,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (row["bench"], row["what"], row["rounds"], row["server"]) == ("Title.", "one", 1, version)
    assert row["workers_cpu_us_per_item"] >= 0
