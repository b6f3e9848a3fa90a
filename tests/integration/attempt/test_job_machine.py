"""A state machine drives jobs through all their scripts against a plain model, with every fault among its steps.

Replies that were lost, leases that ran out, tokens that are stale, scripts that Redis has forgotten, and a Redis that
was rewound to what it was some steps before. What must hold always is looked at after every step; what must hold when
all is quiet, at the end of each run, by the drills' own checker.
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import pytest
import redis as sync
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from redis.asyncio import Redis

from penstock import DeadLetters, IdempotencyConflictError, JobHandle, Producer, ReplayRefusedError, Summarize
from penstock_schemas import keys
from penstock_worker.attempt.store import Intended
from penstock_worker.engine.lease import Lease
from tests.drills import checker
from tests.integration.attempt.test_scripts import INTENT, KNOWN, UNKNOWN, finish, give_back, settle
from tests.support.jobs import HandWorker
from tests.support.rewind import Snapshot, rewind, snapshot

T = TypeVar("T")

TERMINAL = ("succeeded", "degraded", "dead", "cancelled")
GRACE_MS, FAR_S, MOST_CALLS = 60_000, 3_600.0, 4
TEXTS = ("The mill stands by the river.", "The wheel turns day and night.")


@dataclass
class Job:
    """What the model knows of a job."""

    text: str
    key: str | None
    state: str
    run: int = 1
    attempt: int = 0
    holder: str | None = None
    """The token in Redis; None when nobody holds a lease."""
    lease_runs: bool = False
    due: bool = True
    cancel: bool = False
    calls: dict[str, str | None] = field(default_factory=dict)
    """Call id -> what it was settled as; None: nothing yet."""
    ends: list[tuple[int, str]] = field(default_factory=list)
    """Run and state of each end."""

    @property
    def of_run(self) -> int:
        """Calls of the newest run."""
        return sum(call.startswith(f"{self.run}.") for call in self.calls)

    def end(self, state: str) -> None:
        """The run ends; what was open is unknown from now on."""
        self.state, self.holder, self.lease_runs = state, None, False
        self.ends.append((self.run, state))
        self.close_calls()

    def close_calls(self) -> None:
        """What came of a call that nobody has told by now is unknown."""
        self.calls = {call: kind or "unknown" for call, kind in self.calls.items()}


class JobMachine(RuleBasedStateMachine):
    """Every lease ever given out may be used again at any time, and every call of the product may be repeated."""

    url: ClassVar[str]
    client: ClassVar[sync.Redis]
    runner: ClassVar[asyncio.Runner]
    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.client.flushdb()
        self.jobs: dict[str, Job] = {}
        self.before: tuple[Snapshot, dict[str, Job]] | None = None
        self.redis = Redis.from_url(self.url)
        self.worker = HandWorker(self.redis)
        self.producer: Producer = self.do(_made(self.url))

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a call of the product to its end."""
        return self.runner.run(work)

    @initialize(target=leases, count=st.integers(1, 3), key=st.booleans())
    def begin(self, count: int, key: bool) -> tuple[Lease, ...]:
        """There is work, and somebody has some of it, and is calling."""
        for n in range(count):
            self.enqueue(TEXTS[0], "one" if key and n == 0 else None, False, False)
        taken = self._claim(2)
        self.intend(taken, False)
        return taken

    # Producers.

    @rule(
        text=st.sampled_from(TEXTS),
        key=st.sampled_from([None, "one", "two"]),
        later=st.booleans(),
        repeat=st.booleans(),
    )
    def enqueue(self, text: str, key: str | None, later: bool, repeat: bool) -> None:
        """A new job, or the one that the key stands for; again, if the first reply was lost and there is a key."""
        known = next((job_id for job_id, job in self.jobs.items() if key is not None and job.key == key), None)
        for _ in range(2 if repeat and key is not None else 1):
            asked = self.producer.enqueue(Summarize(text=text), idempotency_key=key, delay_s=FAR_S if later else 0.0)
            if known is not None and self.jobs[known].text != f"{text} {later}":
                with pytest.raises(IdempotencyConflictError) as conflict:
                    self.do(asked)
                assert conflict.value.job_id == known
                return
            job: JobHandle[Any] = self.do(asked)
            assert (job.id == known) == (known is not None) == (not job.created)
            if job.created:
                known = job.id if key is not None else None
                state = "scheduled" if later else "queued"
                self.jobs[job.id] = Job(f"{text} {later}", key, state, due=not later)
                self._look_at_refused()
            assert self.jobs[job.id].text == f"{text} {later}"

    @rule(data=st.data(), repeat=st.booleans())
    def cancel(self, data: st.DataObject, repeat: bool) -> None:
        """A waiting job ends; the worker of a running one is told; one that is over stays as it is."""
        if not self.jobs:
            return
        job_id = data.draw(st.sampled_from(list(self.jobs)))
        job = self.jobs[job_id]
        for _ in range(2 if repeat else 1):
            assert self.do(self.producer.cancel(job_id)).value == job.state
            if job.state == "running":
                job.cancel = True
            elif job.state not in TERMINAL:
                job.end("cancelled")

    @rule(data=st.data(), repeat=st.booleans())
    def replay(self, data: st.DataObject, repeat: bool) -> None:
        """A dead letter is queued as its next run, once; whatever else is refused."""
        if not self.jobs:
            return
        job_id = data.draw(st.sampled_from(list(self.jobs)))
        job = self.jobs[job_id]
        for _ in range(2 if repeat else 1):
            (outcome,) = self.do(_replayed(self.producer, job_id))
            if job.state != "dead":
                assert isinstance(outcome.refused, ReplayRefusedError)
                continue
            assert outcome.run == job.run + 1
            job.state, job.run, job.attempt, job.cancel, job.due = "queued", job.run + 1, 0, False, True
            self._look_at_refused()

    # Workers.

    @rule(target=leases, slots=st.integers(1, 3), lost=st.booleans())
    def claim(self, slots: int, lost: bool) -> tuple[Lease, ...] | MultipleResults[Any]:
        """Claim; the reply may be lost, which leaves leases that nobody knows of."""
        may = {job_id for job_id, job in self.jobs.items() if self._may_be_claimed(job)}
        taken = self._claim(slots)
        assert {lease.job_id for lease in taken} <= may
        assert len(taken) <= slots
        assert taken or not may
        return multiple() if lost or not taken else taken

    def _claim(self, slots: int) -> tuple[Lease, ...]:
        taken = tuple(self.do(self.worker.claim(slots)))
        for lease in taken:
            job = self.jobs[lease.job_id]
            job.attempt += job.state != "running"  # what a vanished holder did goes on under its number
            job.state, job.holder, job.lease_runs = "running", lease.token, True
        self._look_at_refused()
        return taken

    @staticmethod
    def _may_be_claimed(job: Job) -> bool:
        return job.state not in TERMINAL and job.due and not job.lease_runs

    def _look_at_refused(self) -> None:
        """A suspect that was left for later has lost its dead holder; later is now, here."""
        for job_id, job in self.jobs.items():
            if self._may_be_claimed(job):
                if job.holder is not None and not self.client.exists(keys.arq_in_progress(job_id)):
                    job.holder = None
                self._comes_due(job_id)

    @rule(leases=leases, repeat=st.booleans())
    def intend(self, leases: tuple[Lease, ...], repeat: bool) -> None:
        """No call without an intent, and none by who has lost the lease, or beyond what a run may make."""
        for lease in leases:
            job = self.jobs.get(lease.job_id)
            if job is None:
                continue
            call = f"{job.run}.{job.attempt}.{job.of_run + 1}"
            for _ in range(2 if repeat else 1):
                expected = Intended.YES
                if job.holder != lease.token:
                    expected = Intended.LOST
                elif call not in job.calls and job.cancel:
                    expected = Intended.CANCELLED
                elif call not in job.calls and job.of_run >= MOST_CALLS:
                    expected = Intended.ENVELOPE_SPENT
                assert self.do(self.worker.store.intend(lease, call, INTENT, MOST_CALLS)) is expected
                if expected is Intended.YES:
                    job.calls.setdefault(call, None)

    @rule(leases=leases, data=st.data(), known=st.booleans(), repeat=st.booleans())
    def settle(self, leases: tuple[Lease, ...], data: st.DataObject, known: bool, repeat: bool) -> None:
        """Costs are not fenced: whoever knows what a call came to writes it down, once; unknown may become known."""
        for lease in leases:
            job = self.jobs.get(lease.job_id)
            if job is None or not job.calls:
                continue
            call = data.draw(st.sampled_from(sorted(job.calls)))
            kind, end = ("answered", KNOWN) if known else ("unknown", UNKNOWN)
            for _ in range(2 if repeat else 1):
                before = job.calls[call]
                told = self.do(settle(self.worker, lease, kind, end, call))
                if before is None or (before == "unknown" and kind != "unknown"):
                    assert told is None
                    job.calls[call] = kind
                else:
                    assert told.startswith(before.encode())

    @rule(leases=leases, state=st.sampled_from(["succeeded", "dead", "cancelled"]), repeat=st.booleans())
    def finish(self, leases: tuple[Lease, ...], state: str, repeat: bool) -> None:
        """Results are fenced: only who holds the lease ends the job; that the reply was lost changes nothing."""
        for lease in leases:
            job = self.jobs.get(lease.job_id)
            holds = job is not None and job.holder == lease.token
            assert self.do(finish(self.worker, lease, state)) is holds or not holds
            if job is not None and holds:
                job.end(state)
                if repeat:
                    assert self.do(finish(self.worker, lease, state))

    @rule(leases=leases, charged=st.booleans(), later=st.booleans(), repeat=st.booleans())
    def reschedule(self, leases: tuple[Lease, ...], charged: bool, later: bool, repeat: bool) -> None:
        """A retry is charged, a hand back and a throttle are not; a job whose cancel was asked for ends instead."""
        for lease in leases:
            job = self.jobs.get(lease.job_id)
            holds = job is not None and job.holder == lease.token
            options = {"delay_s": FAR_S if later else 0.0, "charged": charged}
            given = self.do(give_back(self.worker, lease, **options))
            assert given or not holds
            if job is None or not holds:
                continue
            if job.cancel:
                job.end("cancelled")
            else:
                job.close_calls()
                job.state = "scheduled" if later else "queued"
                job.attempt -= not charged
                job.holder, job.lease_runs, job.due = None, False, not later
                self._look_at_refused()
            if repeat:
                assert self.do(give_back(self.worker, lease, **options))

    # Time and faults.

    @rule(leases=leases)
    def let_leases_run_out(self, leases: tuple[Lease, ...]) -> None:
        """Time passes for the leases of one claim, up to their grace."""
        self._run_out({lease.job_id for lease in leases})

    @rule()
    def let_all_leases_run_out(self) -> None:
        """Those of claims whose replies were lost, too."""
        self._run_out(set(self.jobs))

    def _run_out(self, ids: set[str]) -> None:
        for job_id in [each for each in self.jobs if each in ids]:
            job = self.jobs[job_id]
            if job.lease_runs:
                self.client.pexpire(keys.arq_in_progress(job_id), GRACE_MS)
                self.client.zadd(keys.running(keys.queue("standard", "acme")), {job_id: self._place(job_id)}, xx=True)
                job.lease_runs = False
                self._comes_due(job_id)

    @rule()
    def let_deferred_jobs_come_due(self) -> None:
        """Time passes for what waits."""
        for job_id, job in self.jobs.items():
            if job.state not in TERMINAL and not job.due:
                job.due = True
                self._comes_due(job_id)

    def _place(self, job_id: str) -> int:
        """In the order of their making, whatever their ids, so that a run can be repeated."""
        return 1 + list(self.jobs).index(job_id)

    def _comes_due(self, job_id: str) -> None:
        self.client.zadd(keys.queue("standard", "acme"), {job_id: self._place(job_id)}, xx=True)
        self.client.zadd(keys.wait("standard"), {"acme": 0}, xx=True)

    @rule()
    def forget_scripts(self) -> None:
        """SCRIPT FLUSH."""
        self.client.script_flush()

    @rule()
    def take_a_snapshot(self) -> None:
        """What a replica has from here on until it is told more."""
        self.before = snapshot(self.client), deepcopy(self.jobs)

    @rule()
    def rewind(self) -> None:
        """The replica takes over: what came after has not been, though workers and producers were told that it was."""
        if self.before is not None:
            rewind(self.client, self.before[0])
            self.jobs = deepcopy(self.before[1])

    # What must hold.

    @invariant()
    def redis_says_what_the_model_says(self) -> None:
        """Of every accepted job: state, run, attempt, who holds it, how each run ended, and what its calls came to."""
        for job_id, job in self.jobs.items():
            row = {name.decode(): value.decode() for name, value in self.client.hgetall(keys.record(job_id)).items()}
            assert (row["state"], int(row["run"]), int(row["attempt"])) == (job.state, job.run, job.attempt)
            assert ("result" in row, "failure" in row) == (job.state == "succeeded", job.state == "dead")
            holder = self.client.get(keys.arq_in_progress(job_id))
            assert holder == (job.holder and job.holder.encode())
            events = [
                (int(event[b"run"]), event[b"type"].decode()) for _, event in self.client.xrange(keys.events(job_id))
            ]
            assert [end for end in events if end[1] in TERMINAL] == job.ends
            journal = {
                name.decode(): value.decode() for name, value in self.client.hgetall(keys.journal(job_id)).items()
            }
            ends = {call: journal.get(f"{call}:end", " ").split(" ")[0] or None for call in job.calls}
            assert ends == job.calls

    @invariant()
    def the_books_are_those_of_the_calls(self) -> None:
        """One entry for a call's end, with its intent before it, and no amount that is not of the calls."""
        rows = [row for _, row in self.client.xrange(keys.LEDGER)]
        entries = [{name.decode(): value.decode() for name, value in row.items()} for row in rows]
        told = Counter((entry["job"], entry["call"]) for entry in entries)
        assert told.keys() <= {(job_id, call) for job_id, job in self.jobs.items() for call in job.calls}
        cost = sum(int(entry["cost_nanousd"] or 0) for entry in entries)
        answered = sum(kind == "answered" for job in self.jobs.values() for kind in job.calls.values())
        assert cost == answered * KNOWN["cost_nanousd"]

    @invariant()
    def what_is_counted_is_there(self) -> None:
        """A dashboard does not drift."""
        counts = self.client.hgetall(keys.COUNTS)
        states = Counter(job.state for job in self.jobs.values())
        for state in ("queued", "scheduled", "running"):
            assert int(counts.get(state.encode(), 0)) == states[state]

    def teardown(self) -> None:
        """Quiet: all faults over, every job comes to its end, and the checker finds nothing."""
        self.let_all_leases_run_out()
        self.let_deferred_jobs_come_due()
        while leases := self._claim(3):
            self.finish(leases, "succeeded", False)
        assert {job.state for job in self.jobs.values()} <= set(TERMINAL)
        with sync.Redis.from_url(self.url, decode_responses=True) as decoding:
            assert checker.faults(checker.read(decoding, self.jobs)) == []
        self.do(self.producer.aclose())
        self.do(self.redis.aclose())


async def _made(url: str) -> Producer:
    return Producer.connect(url, tenant="acme")


async def _replayed(producer: Producer, job_id: str) -> list[Any]:
    return [outcome async for outcome in DeadLetters(producer, who="test").replay([job_id])]


@pytest.fixture
def client(redis_url: str) -> Iterator[sync.Redis]:
    with sync.Redis.from_url(redis_url) as client:
        yield client


def test_jobs_keep_their_invariants_through_all_faults(redis_url: str, client: sync.Redis) -> None:
    """Any order of enqueues, claims, calls, ends, cancels, replays, and of what may befall them."""
    JobMachine.url, JobMachine.client = redis_url, client
    with asyncio.Runner() as JobMachine.runner:
        run_state_machine_as_test(
            JobMachine,
            settings=settings(
                max_examples=30,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
