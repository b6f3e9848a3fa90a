"""What of arq the engine stands on: a new arq that changes it fails here, and has to be read first."""

import hashlib
import inspect

import arq.connections
import arq.jobs
import arq.worker
import pytest

from penstock_worker.engine import Worker

REPLACED = {
    "main": "45ca1591c971",
    "_poll_iteration": "f8d39d823a0a",
    "start_jobs": "b45797cfa40b",
    "run_job": "589a19059ff8",
    "finish_job": "903f09c92830",
    "finish_failed_job": "3e16087f318a",
    "_cancel_aborted_jobs": "54575eaf8682",
    "record_health": "108f4b8686c9",
    "heart_beat": "2e9959bea66d",
    "run_cron": "7d2d3784e656",
    "handle_sig": "985ff7ba01aa",
    "handle_sig_wait_for_completion": "8f161d86834c",
    "_wait_for_tasks_to_complete": "c186389a00b1",
    "_sleep_until_tasks_complete": "0acab214e9c1",
    "close": "5bcc9cb35668",
    "run": "e683c7f40293",
    "async_run": "f3434c3dd359",
    "run_check": "f507f9f1eb9d",
    "__init__": "edfb0cd7e05e",
}
LAYOUT = {
    arq.connections.ArqRedis.enqueue_job: "7da8706a747c",
    arq.jobs.Job.abort: "4dd2f914d8b7",
    arq.jobs.Job.status: "b7b8d9da80a1",
    arq.jobs.Job.result: "004dc5100e55",
    arq.jobs.serialize_result: "709b9d4709d5",
    arq.jobs.deserialize_job_raw: "f330dfaff8e2",
}


def digest(thing: object) -> str:
    """Of the source, 12 hex digits."""
    return hashlib.sha256(inspect.getsource(thing).encode()).hexdigest()[:12]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", REPLACED)
def test_a_method_that_we_replace_or_build_on_is_the_one_we_read(name: str) -> None:
    """Method by method of arq.Worker."""
    assert digest(getattr(arq.worker.Worker, name)) == REPLACED[name]


@pytest.mark.parametrize("function", LAYOUT)
def test_what_arq_writes_to_redis_is_what_we_read(function: object) -> None:
    """Payloads, results, aborts: the code that stock producers run."""
    assert digest(function) == LAYOUT[function]  # type: ignore[index]


def test_the_constructor_takes_all_that_arqs_does() -> None:
    """Settings classes of arq applications are picked apart by these names."""
    theirs = inspect.signature(arq.worker.Worker).parameters
    ours = inspect.signature(Worker).parameters
    assert list(theirs) == list(ours)[: len(theirs)]
    assert {name: p.default for name, p in theirs.items()} == {name: ours[name].default for name in theirs}


def test_an_unsafe_pair_of_lease_and_heartbeat_is_refused() -> None:
    """A lease must outlast two missed renewals."""

    async def work(ctx: object) -> None: ...

    with pytest.raises(ValueError, match="heartbeat_s"):
        Worker([work], lease_s=5, heartbeat_s=2)
