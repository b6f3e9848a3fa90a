"""The blocking producer: the same methods, the same answers, from any thread."""

import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest

from penstock import (
    Classify,
    EnqueueManyError,
    IdempotencyConflictError,
    InvalidRequestError,
    JobCancelledError,
    JobHandle,
    JobState,
    Producer,
    ProducerOptions,
    ResultTimeoutError,
    Summarize,
    SyncJobHandle,
    SyncProducer,
    UnavailableError,
)
from tests.support.jobs import hand_worker


def public(kind: type) -> dict[str, Any]:
    """Public methods and properties, but for what has another name on the other side."""
    not_for_callers = {"aclose", "close", "batcher", "link", "watcher"}
    return {
        name: value
        for name, value in inspect.getmembers(kind)
        if not name.startswith("_") and name not in not_for_callers
    }


def parameters(method: Any) -> list[tuple[str, Any, Any, Any]]:
    """Name, kind, default and annotation (as it is written) of each."""
    return [(p.name, p.kind, p.default, p.annotation) for p in inspect.signature(method).parameters.values()]


@pytest.mark.parametrize(("async_kind", "sync_kind"), [(Producer, SyncProducer), (JobHandle, SyncJobHandle)])
def test_both_have_the_same_methods_with_the_same_parameters(async_kind: type, sync_kind: type) -> None:
    """What one can do, the other can."""
    ours, theirs = public(async_kind), public(sync_kind)
    instance_fields = {"tenant"}  # a property on one side
    assert set(ours) - instance_fields == set(theirs) - instance_fields
    for name, method in ours.items():
        if inspect.isfunction(method):
            assert parameters(method) == parameters(theirs[name]), name
            assert theirs[name].__doc__, name


def test_both_take_the_same_options(redis_url: str) -> None:
    """One TypedDict tells both what they can be told."""
    options = set(inspect.signature(Producer).parameters) - {"url"}
    assert options == set(ProducerOptions.__annotations__)
    with SyncProducer.connect(redis_url, tenant="acme", timeout_s=1.0) as producer:
        assert producer.tenant == "acme"
    with pytest.raises(InvalidRequestError):
        SyncProducer(redis_url, tenant="a:b")


def finish_one(url: str, output: Any = None) -> None:
    """Claim the next job and succeed, on a loop of its own."""

    async def finish() -> None:
        async with hand_worker(url) as worker:
            await worker.succeed(await worker.claim_one(), output)

    anyio.run(finish)


def test_a_job_from_enqueue_to_its_result(redis_url: str) -> None:
    """Every method of the two."""
    with SyncProducer.connect(redis_url, tenant="acme") as producer:
        job = producer.enqueue(Summarize(text="A"), idempotency_key="k", lane="interactive")
        assert job.created
        assert repr(job) == f"SyncJobHandle({job.id!r}, created=True)"
        assert job.status().state is JobState.QUEUED
        assert job.request().lane == "interactive"
        with pytest.raises(ResultTimeoutError):
            job.result(timeout_s=0)
        finish_one(redis_url, {"summary": "Short."})
        assert job.result(timeout_s=30).output.summary == "Short."
        assert producer.run(Summarize(text="A"), idempotency_key="k", lane="interactive").output.summary == "Short."
        assert producer.job(job.id).result().output.summary == "Short."
        events = list(job.events())
        assert [event.type for event in events] == ["queued", "running", "succeeded"]
        assert list(job.events(after=events[0].id)) == events[1:]
        assert job.cancel() is JobState.SUCCEEDED
        assert producer.cancel(job.id) is JobState.SUCCEEDED
        assert producer.status(job.id).run == 1

        jobs = producer.enqueue_many([Classify(text=str(n), labels=["a"]) for n in range(3)], lane="bulk")
        assert len({one.id for one in jobs}) == 3
        assert jobs[0].cancel() is JobState.QUEUED
        with pytest.raises(JobCancelledError):
            jobs[0].result()


def test_errors_come_through_as_they_are(redis_url: str) -> None:
    """Class and fields."""
    with SyncProducer.connect(redis_url) as producer:
        job = producer.enqueue(Summarize(text="A"), idempotency_key="k")
        with pytest.raises(IdempotencyConflictError) as conflict:
            producer.enqueue(Summarize(text="B"), idempotency_key="k")
        assert conflict.value.job_id == job.id
        with pytest.raises(EnqueueManyError) as refusal:
            producer.enqueue_many([Summarize(text="A"), Summarize(text="B")], idempotency_keys=["k", "k"])
        accepted = refusal.value.jobs[0]
        assert isinstance(accepted, SyncJobHandle)
        assert accepted.id == job.id
        assert accepted.status().state is JobState.QUEUED
        assert list(refusal.value.errors) == [1]
    with SyncProducer.connect("redis://127.0.0.1:1") as producer, pytest.raises(UnavailableError):
        producer.enqueue(Summarize(text="A"))


def test_many_threads_share_one(redis_url: str) -> None:
    """Each gets its own answers."""
    with SyncProducer.connect(redis_url) as producer, ThreadPoolExecutor(16) as pool:
        ids = list(pool.map(lambda n: producer.enqueue(Summarize(text=str(n))).id, range(200)))
        texts = list(pool.map(lambda job_id: producer.job(job_id).request().input["text"], ids))
    assert texts == [str(n) for n in range(200)]


def test_events_that_are_left_early_leave_nothing_behind(redis_url: str) -> None:
    """A loop with break, and then the end of the producer."""
    with SyncProducer.connect(redis_url) as producer:
        job = producer.enqueue(Summarize(text="A"))
        for event in job.events():
            assert event.type == "queued"
            break
    assert not [thread for thread in threading.enumerate() if "anyio" in thread.name.lower()]


def test_closing_ends_the_thread(redis_url: str) -> None:
    """A repeat does nothing; a call after it says what is wrong."""
    before = threading.active_count()
    producer = SyncProducer.connect(redis_url)
    job = producer.enqueue(Summarize(text="A"))
    producer.close()
    producer.close()
    assert threading.active_count() == before
    for ask in (job.status, lambda: producer.enqueue(Summarize(text="A"))):
        with pytest.raises(RuntimeError):
            ask()
