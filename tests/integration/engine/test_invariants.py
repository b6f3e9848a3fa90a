"""A state machine drives the real scripts against a plain model: lost replies, stale tokens, expired leases."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from penstock_schemas import keys
from penstock_store.scripts import Script, load_include, load_script
from penstock_worker.engine import SUSPECT_DEATHS

ENGINE = "penstock_worker.engine"
CLAIM = load_script(ENGINE, "claim", includes=(load_include(ENGINE, "start_arq"),))
FINISH, RENEW = load_script(ENGINE, "finish"), load_script(ENGINE, "renew")
RETRY, HAND_BACK = load_script(ENGINE, "retry"), load_script(ENGINE, "hand_back")
QUEUE, LEASE_MS, GRACE_MS = "arq:queue", 600_000, 60_000


@dataclass
class Job:
    """What the model knows of a job."""

    holder: str | None = None
    """The token in Redis; None when nobody holds a lease."""
    lease_runs: bool = False
    tries: int = 0
    """Charged."""
    deaths: int = 0
    result: bytes | None = None


@dataclass
class Model:
    """All jobs, by id."""

    jobs: dict[str, Job] = field(default_factory=dict)

    def due(self) -> list[str]:
        """Jobs that a claim may take: not done, and no lease runs."""
        return [job_id for job_id, job in self.jobs.items() if job.result is None and not job.lease_runs]


class EngineMachine(RuleBasedStateMachine):
    """The scripts of an arq queue. Every token ever given out may be used again at any time."""

    client: ClassVar[redis.Redis]
    tokens = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.client.flushdb()
        self.model = Model()

    def call(self, script: Script, names: list[str], args: list[Any]) -> Any:
        """By its digest, and by its text when Redis has forgotten it, as the batcher does."""
        try:
            return self.client.evalsha(script.sha, len(names), *names, *args)
        except redis.exceptions.NoScriptError:
            return self.client.eval(script.text, len(names), *names, *args)

    @rule()
    def enqueue(self) -> None:
        """A new job, due."""
        job_id = f"job-{len(self.model.jobs)}"
        self.client.set(keys.arq_job(job_id), f"payload of {job_id}")
        self.client.zadd(QUEUE, {job_id: 1})
        self.model.jobs[job_id] = Job()

    @rule(target=tokens, slots=st.integers(1, 3), idle=st.booleans(), lost=st.booleans())
    def claim(self, slots: int, idle: bool, lost: bool) -> tuple[tuple[str, str], ...]:
        """Claim; the reply may be lost, which leaves leases that nobody knows of."""
        args = [slots, LEASE_MS, secrets.token_hex(4), int(idle), SUSPECT_DEATHS, 60_000]
        taken = self.call(CLAIM, [QUEUE], args)[5]
        may = set(self.model.due())
        assert len(taken) <= slots
        for raw_id, token, job_try, deaths, _, _, payload, _, corrupt in taken:
            job = self.model.jobs[raw_id.decode()]
            assert raw_id.decode() in may
            assert payload == b"payload of " + raw_id and corrupt == b""
            if job.holder is not None:
                job.deaths += 1
            assert (job_try, deaths) == (job.tries + 1, job.deaths)
            assert deaths < SUSPECT_DEATHS or (idle and len(taken) == 1)
            job.holder, job.lease_runs = token.decode(), True
        self._note_suspects(may)
        if not any(self.model.jobs[job_id].deaths >= SUSPECT_DEATHS for job_id in self.model.due()):
            assert len(taken) == min(slots, len(may)) or any(job[3] >= SUSPECT_DEATHS for job in taken)
        return () if lost else tuple((job[0].decode(), job[1].decode()) for job in taken)

    def _note_suspects(self, may: set[str]) -> None:
        """A job that was refused as a suspect has lost its dead holder, counted, and is looked at later: now, here."""
        for job_id in may:
            job = self.model.jobs[job_id]
            if job.lease_runs or job.holder is None:
                continue
            if self.client.get(keys.arq_in_progress(job_id)) is None:
                job.holder, job.deaths = None, job.deaths + 1
        for job_id in self.model.due():
            self.client.zadd(QUEUE, {job_id: 1})

    @rule(leases=tokens, repeat=st.booleans(), result=st.binary(min_size=1, max_size=8))
    def finish(self, leases: tuple[tuple[str, str], ...], repeat: bool, result: bytes) -> None:
        """End jobs, perhaps twice since the first answer was lost, perhaps with a stale token."""
        for _ in range(2 if repeat else 1):
            args = [part for job_id, token in leases for part in (job_id, token, result, 0, "")]
            answers = self.call(FINISH, [QUEUE] * len(leases), args)
            assert answers == [self._finish(*lease, result) for lease in leases]

    def _finish(self, job_id: str, token: str, result: bytes) -> int:
        job = self.model.jobs[job_id]
        if job.holder != token:
            return 0 if job.holder is None else -1
        job.holder, job.lease_runs, job.deaths, job.tries, job.result = None, False, 0, 0, result
        return 1

    @rule(leases=tokens, repeat=st.booleans())
    def retry(self, leases: tuple[tuple[str, str], ...], repeat: bool) -> None:
        """End the leases with the try charged, the jobs due at once."""
        for job_id, token in leases:
            tries = self.model.jobs[job_id].tries + 1
            for _ in range(2 if repeat else 1):
                (answer,) = self.call(RETRY, [QUEUE], [job_id, token, 0, tries, 1000])
                assert (answer == 1) == self._released(job_id, token, tries)

    @rule(leases=tokens)
    def hand_back(self, leases: tuple[tuple[str, str], ...]) -> None:
        """End the leases with nothing charged."""
        args = [part for lease in leases for part in lease]
        given = self.call(HAND_BACK, [QUEUE] * len(leases), args)
        released = [self._released(job_id, token, self.model.jobs[job_id].tries) for job_id, token in leases]
        assert given == sum(released)

    def _released(self, job_id: str, token: str, tries: int) -> bool:
        job = self.model.jobs[job_id]
        if job.holder != token:
            return False
        job.holder, job.lease_runs, job.deaths, job.tries = None, False, 0, tries
        return True

    @rule(leases=tokens)
    def renew(self, leases: tuple[tuple[str, str], ...]) -> None:
        """Renew; a lease that ran out but that nobody took comes to life again."""
        args = [part for lease in leases for part in lease]
        lost = self.call(RENEW, [QUEUE] * len(leases), [LEASE_MS, *args])
        for place, (job_id, token) in enumerate(leases, start=1):
            job = self.model.jobs[job_id]
            assert (place in lost) == (job.holder != token)
            if job.holder == token:
                job.lease_runs = True
            elif job.holder is not None and job.deaths > 0:
                job.deaths -= 1

    @rule(data=st.data())
    def let_a_lease_run_out(self, data: st.DataObject) -> None:
        """Time passes for one lease, up to its grace."""
        running = [job_id for job_id, job in self.model.jobs.items() if job.lease_runs]
        if running:
            job_id = data.draw(st.sampled_from(running))
            self.client.pexpire(keys.arq_in_progress(job_id), GRACE_MS)
            self.client.zadd(QUEUE, {job_id: 1})
            self.model.jobs[job_id].lease_runs = False

    @rule()
    def forget_scripts(self) -> None:
        """SCRIPT FLUSH."""
        self.client.script_flush()

    @invariant()
    def redis_says_what_the_model_says(self) -> None:
        """No job is lost, ended twice, or held by two; nothing is left of what is done."""
        queued = {job_id.decode() for job_id in self.client.zrange(QUEUE, 0, -1)}
        assert queued == {job_id for job_id, job in self.model.jobs.items() if job.result is None}
        for job_id, job in self.model.jobs.items():
            holder = self.client.get(keys.arq_in_progress(job_id))
            assert holder == (None if job.holder is None else job.holder.encode())
            assert self.client.get(keys.arq_result(job_id)) == job.result
            assert int(self.client.get(keys.arq_retry(job_id)) or 0) == job.tries
            assert int(self.client.hget(keys.DEATHS, job_id) or 0) == job.deaths
            assert (self.client.exists(keys.arq_job(job_id)) == 0) == (job.result is not None)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def test_the_scripts_keep_the_invariants_of_a_lease(client: redis.Redis) -> None:
    """Any order of claims, ends, renewals and faults."""
    EngineMachine.client = client
    run_state_machine_as_test(
        EngineMachine,
        settings=settings(
            max_examples=150,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
