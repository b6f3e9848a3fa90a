"""A state machine drives the claim over lanes and tenants against a plain model: caps, pauses, deaths, lost replies."""

import secrets
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from penstock_schemas import keys
from penstock_store.scripts import Script, load_include, load_script
from penstock_worker.engine import SUSPECT_DEATHS

ENGINE, STORE = "penstock_worker.engine", "penstock_store"
CLAIM = load_script(ENGINE, "claim_fair", includes=("local function start(job_id) return 'payload of ' .. job_id end",))
RENEW = load_script(ENGINE, "renew")
PUT = Script(load_include(STORE, "queue") + "\nqueue_put(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2], ARGV[3] + 0, 1)")
_IF_HELD = (
    load_include(STORE, "lease") + "\nif not lease_held(KEY.arq_in_progress .. ARGV[2], ARGV[3]) then return 0 end"
)
FINISH = Script(_IF_HELD + "\nlease_release(KEYS[1], ARGV[2]) return 1")
MOVE = Script(_IF_HELD + "\nlease_move(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2], ARGV[4] + 0, 1) return 1")

LANES = {"interactive": 6, "bulk": 1}
LEASE_MS, GRACE_MS, FAR_MS = 600_000, 60_000, 2**42
PLACES = st.tuples(st.sampled_from(sorted(LANES)), st.sampled_from(["acme", "other"]))
Taken = tuple[str, str]
"""Job id and token of one claimed job."""


@dataclass
class Job:
    """What the model knows of a job."""

    lane: str
    tenant: str
    due: bool
    holder: str | None = None
    """The token in Redis; None when nobody holds a lease."""
    lease_runs: bool = False
    deaths: int = 0
    done: bool = False

    @property
    def names(self) -> list[str]:
        """The keys that the scripts of its tenant are given."""
        return [keys.queue(self.lane, self.tenant), keys.ring(self.lane), keys.wait(self.lane)]


class FairMachine(RuleBasedStateMachine):
    """The scripts of tenants' queues. Every token ever given out may be used again at any time."""

    client: ClassVar[redis.Redis]
    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.client.flushdb()
        self.jobs: dict[str, Job] = {}
        self.paused: set[str] = set()

    def call(self, script: Script, names: list[str], args: list[Any]) -> Any:
        """By its digest, and by its text when Redis has forgotten it, as the batcher does."""
        try:
            return self.client.evalsha(script.sha, len(names), *names, *args)
        except redis.exceptions.NoScriptError:
            return self.client.eval(script.text, len(names), *names, *args)

    # Producers and operators.

    @rule(place=PLACES, due=st.booleans(), count=st.integers(1, 3))
    def put(self, place: tuple[str, str], due: bool, count: int) -> None:
        """New jobs, due or far from it, each nearer than the one before."""
        for _ in range(count):
            job_id = f"job-{len(self.jobs)}"
            job = self.jobs[job_id] = Job(*place, due)
            self.call(PUT, job.names, [job.tenant, job_id, 1 if due else FAR_MS - len(self.jobs)])

    @rule(place=PLACES, of_lane=st.booleans(), on=st.booleans())
    def pause_or_resume(self, place: tuple[str, str], of_lane: bool, on: bool) -> None:
        """A lane or a tenant."""
        what = f"lane:{place[0]}" if of_lane else f"tenant:{place[1]}"
        if on:
            self.client.sadd(keys.PAUSED, what)
            self.paused.add(what)
        else:
            self.client.srem(keys.PAUSED, what)
            self.paused.discard(what)

    # Workers.

    @rule(
        target=leases, slots=st.integers(1, 4), idle=st.booleans(), cap=st.sampled_from([0, 1, 2]), lost=st.booleans()
    )
    def claim(self, slots: int, idle: bool, cap: int, lost: bool) -> tuple[Taken, ...]:
        """Claim; the reply may be lost, which leaves leases that nobody knows of."""
        self._let_a_second_pass()
        room = self._room(cap)
        may = {job_id for job_id, job in self.jobs.items() if self._may_be_claimed(job)}
        taken = self._claim(slots, idle, cap, [])
        assert {job_id for job_id, _ in taken} <= may and len(taken) <= slots
        for tenant, count in Counter(self.jobs[job_id].tenant for job_id, _ in taken).items():
            assert count <= room[tenant]
        deaths = [self.jobs[job_id].deaths for job_id, _ in taken]
        assert max(deaths, default=0) < SUSPECT_DEATHS or (idle and len(taken) == 1)
        self._note_refused(may)
        if not any(self.jobs[job_id].deaths >= SUSPECT_DEATHS for job_id in may):
            waiting = Counter(self.jobs[job_id].tenant for job_id in may)
            assert len(taken) == min(slots, sum(min(count, room[tenant]) for tenant, count in waiting.items()))
        return () if lost else taken

    @rule(target=leases, data=st.data(), idle=st.booleans())
    def claim_by_name(self, data: st.DataObject, idle: bool) -> tuple[Taken, ...]:
        """As a worker does that has made room for a job: that one or none."""
        if not self.jobs:
            return ()
        job_id = data.draw(st.sampled_from(sorted(self.jobs)))
        job = self.jobs[job_id]
        named_in_time = job.due or job.deaths > 0
        may = not job.done and not job.lease_runs and named_in_time and not self._is_paused(job)
        taken = self._claim(1, idle, 0, [job.names[0], job_id])
        assert [each for each, _ in taken] in ([], [job_id])
        assert may or not taken
        self._note_refused({job_id} if may else set())
        assert taken or not may or not idle
        return taken

    def _claim(self, slots: int, idle: bool, cap: int, named: list[str]) -> tuple[Taken, ...]:
        args: list[Any] = [
            slots,
            LEASE_MS,
            secrets.token_hex(4),
            int(idle),
            SUSPECT_DEATHS,
            60_000,
            cap,
            "{}",
            0,
            "{}",
            len(LANES),
        ]
        args += [part for lane in LANES.items() for part in lane]
        jobs = self.call(CLAIM, [keys.LANES, keys.PAUSED], args + named)[5]
        for raw_id, token, job_try, deaths, _, _, payload, queue, corrupt in jobs:
            job = self.jobs[raw_id.decode()]
            assert not job.done and not job.lease_runs
            assert (payload, queue.decode(), corrupt) == (b"payload of " + raw_id, job.names[0], b"")
            if job.holder is not None:
                job.deaths += 1
            assert (job_try, deaths) == (1, job.deaths)
            job.holder, job.lease_runs, job.due = token.decode(), True, True
        return tuple((job[0].decode(), job[1].decode()) for job in jobs)

    @rule(leases=leases, repeat=st.booleans())
    def finish(self, leases: tuple[Taken, ...], repeat: bool) -> None:
        """End jobs, perhaps twice since the first answer was lost, perhaps with a stale token."""
        for job_id, token in leases:
            job = self.jobs[job_id]
            for _ in range(2 if repeat else 1):
                held = job.holder == token
                assert self.call(FINISH, job.names, [job.tenant, job_id, token]) == int(held)
                if held:
                    job.holder, job.lease_runs, job.deaths, job.done = None, False, 0, True

    @rule(leases=leases, due=st.booleans(), repeat=st.booleans())
    def move(self, leases: tuple[Taken, ...], due: bool, repeat: bool) -> None:
        """Retry later, or hand back."""
        for job_id, token in leases:
            job = self.jobs[job_id]
            for _ in range(2 if repeat else 1):
                held = job.holder == token
                args = [job.tenant, job_id, token, 1 if due else FAR_MS]
                assert self.call(MOVE, job.names, args) == int(held)
                if held:
                    job.holder, job.lease_runs, job.deaths, job.due = None, False, 0, due

    @rule(leases=leases)
    def renew(self, leases: tuple[Taken, ...]) -> None:
        """Renew; a lease that ran out but that nobody took comes to life again."""
        args = [part for lease in leases for part in lease]
        lost = self.call(RENEW, [self.jobs[job_id].names[0] for job_id, _ in leases], [LEASE_MS, *args])
        for place, (job_id, token) in enumerate(leases, start=1):
            job = self.jobs[job_id]
            assert (place in lost) == (job.holder != token)
            if job.holder == token:
                job.lease_runs = True
            elif job.holder is not None and job.deaths > 0:
                job.deaths -= 1

    # Time and faults.

    @rule(leases=leases)
    def let_leases_run_out(self, leases: tuple[Taken, ...]) -> None:
        """Time passes for the leases of one claim, up to their grace."""
        for job_id, token in leases:
            job = self.jobs[job_id]
            if job.holder == token and job.lease_runs:
                self.client.pexpire(keys.arq_in_progress(job_id), GRACE_MS)
                self.client.zadd(keys.running(job.names[0]), {job_id: 1}, xx=True)
                self._comes_due(job_id)
                job.lease_runs = False

    @rule()
    def let_leases_of_nobody_run_out(self) -> None:
        """Of claims whose replies were lost, too."""
        self.let_leases_run_out(tuple((job_id, job.holder) for job_id, job in self.jobs.items() if job.holder))

    @rule(data=st.data())
    def let_a_job_come_due(self, data: st.DataObject) -> None:
        """Time passes for one deferred job."""
        deferred = [job_id for job_id, job in self.jobs.items() if not job.due]
        if deferred:
            job_id = data.draw(st.sampled_from(deferred))
            self._comes_due(job_id)
            self.jobs[job_id].due = True

    @rule()
    def forget_scripts(self) -> None:
        """SCRIPT FLUSH."""
        self.client.script_flush()

    def _comes_due(self, job_id: str) -> None:
        """A tenant waits no longer than its first entry: what passes for the one passes for the other."""
        job = self.jobs[job_id]
        queue, _, wait = job.names
        self.client.zadd(queue, {job_id: 1})
        self.client.zadd(wait, {job.tenant: 1}, xx=True)

    def _let_a_second_pass(self) -> None:
        """Who waits for a look in a second's time is looked at."""
        seconds, micros = self.client.time()
        soon_ms = seconds * 1000 + micros // 1000 + 2000
        for lane in LANES:
            for tenant in self.client.zrange(keys.wait(lane), 0, soon_ms, byscore=True):
                self.client.zadd(keys.wait(lane), {tenant: 1})

    # What the model says.

    def _is_paused(self, job: Job) -> bool:
        return bool({f"lane:{job.lane}", f"tenant:{job.tenant}"} & self.paused)

    def _may_be_claimed(self, job: Job) -> bool:
        return job.due and not job.done and not job.lease_runs and not self._is_paused(job)

    def _room(self, cap: int) -> Counter[str]:
        """How many more jobs each tenant may run."""
        running = Counter(job.tenant for job in self.jobs.values() if job.lease_runs)
        return Counter({job.tenant: max(0, cap - running[job.tenant]) if cap else 1000 for job in self.jobs.values()})

    def _note_refused(self, may: set[str]) -> None:
        """A suspect that was refused has lost its dead holder, counted, and is looked at again soon: now, here."""
        for job_id in may:
            job = self.jobs[job_id]
            if job.lease_runs:
                continue
            if job.holder is not None and int(self.client.hget(keys.DEATHS, job_id) or 0) > job.deaths:
                job.holder, job.deaths = None, job.deaths + 1
            self._comes_due(job_id)

    @invariant()
    def redis_says_what_the_model_says(self) -> None:
        """No job is lost, ended twice, or held by two; nothing is left of what is done."""
        for job_id, job in self.jobs.items():
            queue = job.names[0]
            assert (self.client.zscore(queue, job_id) is None) == job.done
            holder = self.client.get(keys.arq_in_progress(job_id))
            assert holder == (None if job.holder is None else job.holder.encode())
            assert int(self.client.hget(keys.DEATHS, job_id) or 0) == job.deaths
            counted = self.client.zscore(keys.running(queue), job_id)
            assert counted is not None if job.lease_runs else counted is None or counted == 1

    @invariant()
    def tenants_with_work_are_findable(self) -> None:
        """Each is in its lane's ring, or waits, and no longer than for its first entry; never both."""
        seconds, micros = self.client.time()
        look_ms = seconds * 1000 + micros // 1000 + 1000
        for lane, tenant in {(job.lane, job.tenant) for job in self.jobs.values() if not job.done}:
            first = self.client.zrange(keys.queue(lane, tenant), 0, 0, withscores=True)[0][1]
            in_ring = self.client.zscore(keys.ring(lane), tenant) is not None
            waits = self.client.zscore(keys.wait(lane), tenant)
            assert in_ring != (waits is not None)
            assert in_ring or waits <= max(first, look_ms)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def test_the_scripts_of_fair_queues_keep_their_invariants(client: redis.Redis) -> None:
    """Any order of puts, claims, ends, renewals, pauses and faults."""
    FairMachine.client = client
    run_state_machine_as_test(
        FairMachine,
        settings=settings(
            max_examples=300,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
