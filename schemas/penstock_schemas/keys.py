"""Every Redis key Penstock writes, each made by one function here and nowhere else.

What arq itself would write keeps arq's names (``arq_*``); all else begins with ``penstock:``. A key's parts
are checked where they enter the system (tenant, lane and id are of ``[A-Za-z0-9_-]``), so that a key can be
neither forged nor confused with another.
"""

ARQ_ABORT = "arq:abort"
"""Sorted set of job ids whose abort was asked for, scored by when (ms)."""

DEATHS = "penstock:deaths"
"""Hash: job id -> how many holders of its lease vanished in a row; 0 for an arq job that only has a try counter
(``arq_retry``). A job that simply runs is not in it: so a claim has nothing to look up for most jobs."""


def arq_job(job_id: str) -> str:
    """String: the arq payload. For a Penstock job it names the function and the job id, nothing else."""
    return f"arq:job:{job_id}"


def arq_in_progress(job_id: str) -> str:
    """String: the lease token of the worker that holds the job (stock arq writes ``1``)."""
    return f"arq:in-progress:{job_id}"


def arq_retry(job_id: str) -> str:
    """String: how many charged tries the job has had, an integer."""
    return f"arq:retry:{job_id}"


def arq_result(job_id: str) -> str:
    """String: the serialized result of an arq function. Penstock's own results are in the record."""
    return f"arq:result:{job_id}"


def suspect(job_id: str) -> str:
    """String, expiring: the worker that makes room to run the job alone, since it died with its holders before."""
    return f"penstock:suspect:{job_id}"


def queue(lane: str, tenant: str, priority: int | None = None) -> str:
    """Sorted set: job id -> time from which it may run, ms. A running job's score is its lease's end.

    Jobs of a *priority* that is not the default (None) have such a set of their own, a level of the queue.
    """
    base = f"penstock:q:{lane}:{tenant}"
    return base if priority is None else level(base, priority)


def level(queue_key: str, priority: int) -> str:
    """Sorted set: the level of a tenant's queue for a priority that is not the default."""
    return f"{queue_key}:p{priority}"


PRIORITIES = "penstock:priorities"
"""Hash: ``<lane>:<tenant>`` -> the priorities, as digits, other than the default that jobs of that queue have."""


def running(queue_key: str) -> str:
    """Sorted set beside a tenant's queue: its running jobs -> their leases' ends, ms. Counted against its cap."""
    return f"{queue_key}:running"


def ring(lane: str) -> str:
    """Sorted set: tenants with due work in this lane -> virtual time (fair share)."""
    return f"penstock:ring:{lane}"


def arrivals(ring_key: str) -> str:
    """Sorted set beside a lane's ring: tenant -> when it last joined the ring, ms; for some minutes."""
    return f"{ring_key}:arrivals"


def wait(lane: str) -> str:
    """Sorted set: tenants whose next work is not due yet -> when it may be, ms (never later than it is)."""
    return f"penstock:wait:{lane}"


LANES = "penstock:lanes"
"""Sorted set: lane -> virtual time (weighted share between lanes)."""

PAUSED = "penstock:paused"
"""Set of what is paused: ``lane:<lane>``, ``tenant:<tenant>`` or ``task:<task>``."""


def record(job_id: str) -> str:
    """Hash: the job's record, the truth about it."""
    return f"penstock:job:{job_id}"


def request(job_id: str) -> str:
    """String: the job's request as JSON. Apart from the record, which so stays small enough to be packed."""
    return f"penstock:request:{job_id}"


def idempotency(tenant: str, digest: str) -> str:
    """String: ``<job id> <request fingerprint>`` of the job that a tenant's idempotency key names."""
    return f"penstock:idem:{tenant}:{digest}"


def journal(job_id: str) -> str:
    """Hash: each provider call of the job, its intent before it is sent, its answer and usage after."""
    return f"penstock:journal:{job_id}"


def parts(job_id: str) -> str:
    """Hash: of a job that is worked on in parts its plan, and the texts of the parts' answers by call id."""
    return f"penstock:parts:{job_id}"


def events(job_id: str) -> str:
    """Stream: the job's events."""
    return f"penstock:events:{job_id}"


EVENTS = "penstock:events"
"""Stream: the state changes of all jobs, capped."""


def state_index(state: str) -> str:
    """Sorted set, for ``dead`` and ``degraded`` jobs: job id -> when it ended, ms."""
    return f"penstock:{state}"


COUNTS = "penstock:counts"
"""Hash: jobs now ``queued``, ``scheduled``, ``running``, and ``open`` (their sum); and for each terminal state
how many runs have ever ended in it; ``dropped``, queue entries without a job; ``waits``, how often producers waited
for a replica or the disk; ``memory``, thousandths of maxmemory in
use at ``memory_at`` (ms)."""

LEDGER = "penstock:ledger"
"""Stream: one entry per provider call, append-only; trimmed from its old end once that is rolled up."""

ROLLED = "penstock:rolled"
"""Hash: up to where the ledger is in its sums (``cursor``, an entry's id), since when (``first``, ms), what was taken
out of it (``trimmed``, a tally) and up to where (``trimmed_until``)."""


def rolled(window: str) -> str:
    """Hash, expiring: the ledger's sums of one hour or day: JSON of tenant, task, target, prompt, user -> tally."""
    return f"penstock:rolled:{window}"


PRICES = "penstock:prices"
"""Hash: digest -> ``<ms> <JSON>``, each row of a price table that a call was priced by, and since when it is known."""

DOUBTS = "penstock:doubts"
"""Sorted set: ``<job>:<call>`` of calls whose charge is in doubt -> when that was first written down, ms."""


def doubt(call: str) -> str:
    """String, expiring: what is known of a call whose charge is in doubt, JSON."""
    return f"penstock:doubt:{call}"


def corrected(call: str) -> str:
    """String, expiring: that a bill has corrected a call whose charge was in no doubt, once."""
    return f"penstock:corrected:{call}"


AUDIT = "penstock:audit"
"""Stream: what people did by hand (replay, purge, pause, resume): who, when, to which; capped."""


BUDGETS = "penstock:budgets"
"""Hash: the limits, scope -> JSON; beside them what scripts must know of budgets at the same moment: ``file:<scope>``,
the limits of the workers' configuration, ``file`` where they were told; ``open:<scope>``, until when (ms) the cost
breaker of a prompt or route keeps calls back; ``bound:<task>``, what one call of a task may take at most."""


def budget(scope: str, window: str) -> str:
    """Hash: spent, held, uncertain, overrun and calls of a scope in one window; nano-USD and tokens."""
    return f"penstock:budget:{scope}:{window}"


def trail(scope: str) -> str:
    """Hash, expiring: what a prompt, a route or a tenant spent in this window and in those before."""
    return f"penstock:trail:{scope}"


QUOTAS = "penstock:quotas"
"""Hash: how much tenants and users may enqueue, scope -> JSON."""


def quota(scope: str) -> str:
    """Hash, expiring: what a tenant or a user has taken of its quota, kind -> when that is paid off, ms."""
    return f"penstock:quota:{scope}"


def alerted(window: str) -> str:
    """Set, expiring: the alerts that were told in a window."""
    return f"penstock:alerted:{window}"


def ended(window: str) -> str:
    """Hash, expiring: how the jobs of each task ended in a window, ``<task>:succeeded`` and ``<task>:degraded``."""
    return f"penstock:ended:{window}"


def breaker(target: str) -> str:
    """Hash: the circuit breaker of a target, or of an account: the part of a target's name before the slash."""
    return f"penstock:breaker:{target}"


def gate(target: str) -> str:
    """Hash: rate and "not before" of a target."""
    return f"penstock:gate:{target}"


def tokens(target: str) -> str:
    """Hash, expiring: kind and size of a text -> how many tokens a byte of such a text is at most, as learned."""
    return f"penstock:tokens:{target}"


def slots(target: str) -> str:
    """Sorted set: calls in flight to a target whose number is limited -> when the slot is free again anyway, ms."""
    return f"penstock:slots:{target}"


def cache(tenant: str, digest: str) -> str:
    """String, expiring: a validated answer to an equal request of the same tenant, JSON."""
    return f"penstock:cache:{tenant}:{digest}"


def flight(tenant: str, digest: str) -> str:
    """Hash, expiring: the call that equal jobs of a tenant make together: who leads, and then the answer."""
    return f"penstock:flight:{tenant}:{digest}"


def warm(target: str, digest: str) -> str:
    """String, expiring: ``warm`` for a beginning of prompts that a target's cache has, ``warming`` until it has it."""
    return f"penstock:warm:{target}:{digest}"


def waiting(flight_key: str) -> str:
    """Sorted set beside a flight, expiring: ids of the jobs that wait for it -> since when, ms."""
    return f"{flight_key}:waiting"


GENERATION = "penstock:generation"
"""String, random, kept while workers look at it: when it changes, Redis has lost what it held."""


def mark(worker_id: str) -> str:
    """String, expiring: how many marks a worker has left; it knows the number, and so when Redis was rewound."""
    return f"penstock:mark:{worker_id}"


def worker(worker_id: str) -> str:
    """String: a worker's own report as JSON, expiring; renewed while it lives."""
    return f"penstock:worker:{worker_id}"


WORKERS = "penstock:workers"
"""Sorted set, expiring: worker ids -> when their reports expire, ms."""
