"""Network-layer checklist: stall, reset, half-close, slow bytes, bad events, wrong length; the matrix is green."""

import pytest

from penstock import Producer, Summarize
from penstock_simulator.simulator import Simulator
from tests.acceptance.conftest import StartWorker

TEXT = "The mill stands by the river. Its wheel turns day and night. The miller sleeps well."
LIMITS = {"connect_s": 30.0, "first_content_s": 2.0, "content_idle_s": 2.0, "whole_call_s": 4.0}
MATRIX: dict[str, tuple[str, str | None, str | None]] = {
    # fault: (spec, error of a whole answer, error of a streamed one); None: the answer is good all the same
    "stall at once": ("hang", "timeout_call", "timeout_first_content"),
    "stall behind the headers": ("hang-headers", "timeout_call", "timeout_first_content"),
    "stall in the middle": ("hang-middle at=0.9", "timeout_idle", "timeout_idle"),
    "reset before any work": ("cut-before", "connection_lost", "connection_lost"),
    "reset behind the headers": ("cut-headers", "connection_lost", "connection_lost"),
    "reset in the middle": ("cut-middle at=0.9", "connection_lost", "stream_broken"),
    "half-close before any work": ("cut-before how=fin", "connection_lost", "connection_lost"),
    "half-close behind the headers": ("cut-headers how=fin", "connection_lost", "connection_lost"),
    "half-close in the middle": ("cut-middle at=0.9 how=fin", "connection_lost", "stream_broken"),
    "slow bytes": ("drip bytes_per_s=0.2", "timeout_idle", "timeout_first_content"),
    "events in pieces": ("split-bytes", None, None),
    "events with CR LF": ("crlf", None, None),
    "events that are no JSON": ("not-json", "bad_response", "bad_response"),
    "bytes that are no UTF-8": ("bad-utf8", "bad_response", "bad_response"),
    "no end marker": ("no-done", None, "stream_broken"),
    "signs of life only": ("comments-only every=200ms", "timeout_call", "timeout_first_content"),
    "fewer bytes than were told": ("short-body", "connection_lost", None),
    "no HTTP": ("not-http", "bad_response", "bad_response"),
    "an error in the middle": ("error-in-stream", "server_error", "server_error"),
}


async def test_the_whole_matrix(producer: Producer, simulator: Simulator, start_worker: StartWorker) -> None:
    """Each fault, whole and streamed, has its error; then the worker is as good as new."""
    worker = start_worker(concurrency=50, limits=LIMITS, breaker=False)
    jobs = {
        (fault, stream): await producer.enqueue(
            Summarize(text=f"{TEXT}[[simulate: {spec}]]"), max_attempts=1, on_failure="dead_letter", stream=stream
        )
        for fault, (spec, _, _) in MATRIX.items()
        for stream in (False, True)
    }
    wrong = []
    for (fault, stream), job in jobs.items():
        async for event in job.events():
            last = event.type
        status = await job.status()
        error = status.failure and status.failure.last_error
        if (error, last) != ((want := MATRIX[fault][1 + stream]), "dead" if want else "succeeded"):
            wrong.append(f"{fault}, {'streamed' if stream else 'whole'}: {last} {error}, not {want}")
    assert wrong == []
    assert (await producer.run(Summarize(text=TEXT), timeout_s=20)).state == "succeeded"
    await simulator.until(lambda stats: stats.in_flight == 0)
    assert worker.events("attempt_crashed") == []


@pytest.mark.parametrize("column", [1, 2])
def test_no_fault_is_taken_for_a_success(column: int) -> None:
    """Only what leaves the answer whole may end well."""
    good = {fault for fault, row in MATRIX.items() if row[column] is None}
    assert good <= {"events in pieces", "events with CR LF", "no end marker", "fewer bytes than were told"}
