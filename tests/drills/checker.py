"""Says what is wrong with what a drill has left in Redis, and with the provider's bill beside it.

It shares no code with the product: names of keys and fields are spelled out here a second time, on purpose. It
is for the quiet after a drill: nothing runs, nothing is due. Each check yields one sentence for each fault.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import redis

TERMINAL = ("succeeded", "degraded", "dead", "cancelled", "expired")
WAITING = ("queued", "scheduled", "running")

# What may stay for ever; any other key needs a time to live.
STANDING = re.compile(
    r"penstock:(events|ledger|counts|dead|degraded|lanes|paused|generation|audit|prices|doubts|rolled"
    r"|priorities|budgets|quotas|deaths"
    r"|(ring|wait|budget|breaker|gate):.+)|arq:abort"
)
# What a token costs, in nano-USD, as the provider of the drills' only model publishes it.
PRICES = {
    "gpt-4o-mini": {
        "uncached_input_tokens": 150,
        "cached_input_tokens": 75,
        "visible_output_tokens": 600,
        "reasoning_tokens": 600,
    }
}
# What belongs to a job that is not over.
LIVE = ("arq:in-progress:", "arq:retry:", "arq:job:", "penstock:deaths")

Hash = dict[str, str]


@dataclass
class Snapshot:
    """All that was in Redis, decoded, and the provider's bill."""

    accepted: set[str]
    """Ids of all jobs that were accepted."""
    values: dict[str, Any] = field(default_factory=dict)
    """Key -> value: str, dict, list of (id, fields) for a stream, dict of member to score for a sorted set."""
    ttl_ms: dict[str, int] = field(default_factory=dict)
    """Key -> time to live; -1 for ever."""
    bill: list[dict[str, Any]] = field(default_factory=list)
    """The provider's calls."""

    def record(self, job_id: str) -> Hash:
        """The job's record; empty when it is gone."""
        return cast("Hash", self.values.get(f"penstock:job:{job_id}", {}))

    def named(self, prefix: str) -> Iterator[tuple[str, Any]]:
        """What follows the prefix in a key's name, and its value."""
        for key, value in self.values.items():
            if key.startswith(prefix):
                yield key.removeprefix(prefix), value

    def stream(self, key: str) -> list[Hash]:
        """The entries of a stream."""
        return [fields for _, fields in self.values.get(key, [])]


def read(client: redis.Redis, accepted: Collection[str], *bills: Path) -> Snapshot:
    """Read everything. *client* must decode its answers; without *bills* nothing is known of the provider."""
    snapshot = Snapshot(set(accepted))
    for key in client.scan_iter(count=1000):
        if value := _value(client, key):
            snapshot.values[key] = value
            snapshot.ttl_ms[key] = int(cast("int", client.pttl(key)))
    snapshot.bill = [call for bill in bills for call in _bill(bill)]
    return snapshot


def faults(snapshot: Snapshot, *, but: Collection[Callable[[Snapshot], Iterator[str]]] = ()) -> list[str]:
    """All that is wrong, one sentence each; empty when everything holds. *but*: checks to be left out."""
    return [f"{check.__name__}: {fault}" for check in CHECKS if check not in but for fault in check(snapshot)]


def every_accepted_job_ended(at: Snapshot) -> Iterator[str]:
    """A job that was accepted is in exactly one terminal state."""
    for job_id in sorted(at.accepted):
        state = at.record(job_id).get("state", "without a record")
        if state not in TERMINAL:
            yield f"{job_id} is {state}"


def no_job_came_from_nowhere(at: Snapshot) -> Iterator[str]:
    """A record belongs to a job that was accepted."""
    for job_id, _ in at.named("penstock:job:"):
        if job_id not in at.accepted:
            yield f"{job_id} has a record but was never accepted"


def an_end_has_what_belongs_to_it(at: Snapshot) -> Iterator[str]:
    """A result for succeeded and degraded, a failure for dead, and the time."""
    wanted = {"succeeded": ["result"], "degraded": ["result"], "dead": ["failure"]}
    for job_id, record in at.named("penstock:job:"):
        if record["state"] in TERMINAL:
            for name in ["ended_at", *wanted.get(record["state"], [])]:
                if name not in record:
                    yield f"{job_id} is {record['state']} without {name}"


def each_run_ended_once(at: Snapshot) -> Iterator[str]:
    """One terminal event for each run, the last one naming the record's state."""
    for job_id, record in at.named("penstock:job:"):
        ends = [(int(event["run"]), event["type"]) for event in at.stream(f"penstock:events:{job_id}")]
        ends = [end for end in ends if end[1] in TERMINAL]
        expected = list(range(1, int(record["run"]) + 1))
        if record["state"] in TERMINAL and [run for run, _ in ends] != expected:
            yield f"{job_id} ended by {ends} in {record['run']} runs"
        elif record["state"] in TERMINAL and ends[-1][1] != record["state"]:
            yield f"{job_id} is {record['state']} and its last event says {ends[-1][1]}"


def nothing_of_an_ended_job_is_live(at: Snapshot) -> Iterator[str]:
    """No lease, no queue entry, no counters of tries or deaths."""
    for prefix in LIVE:
        for job_id, _ in at.named(prefix):
            yield f"{prefix}{job_id} is left"
    for job_id in at.values.get("penstock:deaths", {}):
        yield f"{job_id} is left among the deaths"
    for queue, members in at.named("penstock:q:"):
        for job_id in members:
            yield f"{job_id} is left in the queue {queue}"


def no_key_is_kept_for_ever(at: Snapshot) -> Iterator[str]:
    """Every key but the standing ones goes away by itself."""
    for key, ttl_ms in at.ttl_ms.items():
        if ttl_ms < 0 and not STANDING.fullmatch(key) and not key.startswith((*LIVE, "penstock:q:")):
            yield f"{key} has no time to live"


def counts_are_those_of_the_records(at: Snapshot) -> Iterator[str]:
    """What a dashboard shows is what is there."""
    counts = cast("Hash", at.values.get("penstock:counts", {}))
    states = Counter(record["state"] for _, record in at.named("penstock:job:"))
    expected = {state: states[state] for state in WAITING} | {"open": sum(states[state] for state in WAITING)}
    for name, number in expected.items():
        if int(counts.get(name, 0)) != number:
            yield f"{name} counts {counts.get(name, 0)}, the records say {number}"


def indexes_list_what_is_there(at: Snapshot) -> Iterator[str]:
    """The dead and the degraded are listed, and nobody else."""
    for state in ("dead", "degraded"):
        listed = set(at.values.get(f"penstock:{state}", {}))
        there = {job_id for job_id, record in at.named("penstock:job:") if record["state"] == state}
        for job_id in sorted(listed ^ there):
            yield f"{job_id} is {'listed as' if job_id in listed else 'not listed as'} {state}"


def every_intent_has_an_end(at: Snapshot) -> Iterator[str]:
    """A call that was to be made was answered, failed, or is known to be unknown."""
    for job_id, journal in at.named("penstock:journal:"):
        for call in _calls(journal):
            if f"{call}:end" not in journal:
                yield f"call {call} of {job_id} has no end"


def the_ledger_has_each_call_once(at: Snapshot) -> Iterator[str]:
    """One entry for a call's end, and more only where they amend that one."""
    for (job_id, call), entries in ledger_calls(at).items():
        if [entry["amends"] for entry in entries] != ["0", *[entries[0]["id"]] * (len(entries) - 1)]:
            yield f"call {call} of {job_id} has {len(entries)} entries, amending {[e['amends'] for e in entries]}"


def the_ledger_is_the_sum_of_the_jobs(at: Snapshot) -> Iterator[str]:
    """Cost and uncertain cost of a job are those of its calls; amounts are whole and not negative."""
    cost: dict[str, int] = defaultdict(int)
    uncertain: dict[str, int] = defaultdict(int)
    for (job_id, call), entries in ledger_calls(at).items():
        amounts = [int(entry["cost_nanousd"] or 0) for entry in entries]
        cost[job_id] += amounts[-1]
        uncertain[job_id] += int(entries[-1]["uncertain_nanousd"])
        if min(*amounts, int(entries[-1]["uncertain_nanousd"])) < 0:
            yield f"call {call} of {job_id} has a negative amount"
    for job_id, record in at.named("penstock:job:"):
        if int(record.get("cost_nanousd", 0)) != cost[job_id]:
            yield f"{job_id} cost {record.get('cost_nanousd', 0)} nano-USD, the ledger says {cost[job_id]}"
        if int(record.get("uncertain_nanousd", 0)) != uncertain[job_id]:
            held = record.get("uncertain_nanousd", 0)
            yield f"{job_id} holds {held} nano-USD as uncertain, the ledger says {uncertain[job_id]}"


def budgets_hold_nothing(at: Snapshot) -> Iterator[str]:
    """What was held for a call is spent, uncertain or free again."""
    for budget, row in at.named("penstock:budget:"):
        for name in ("held", "tokens_held"):
            if int(row.get(name, 0)) != 0:
                yield f"{budget} still has {row[name]} as {name}"


def budgets_are_the_sum_of_the_ledger(at: Snapshot) -> Iterator[str]:
    """What the budget of all, if there is one, has as spent and as uncertain is what the calls came to."""
    windows = [row for budget, row in at.named("penstock:budget:global:day:")]
    if not windows:
        return
    ledger = ledger_calls(at).values()
    expected = {
        "spent": sum(int(entries[-1]["cost_nanousd"] or 0) for entries in ledger),
        "uncertain": sum(int(entries[-1]["uncertain_nanousd"]) for entries in ledger),
    }
    for name, amount in expected.items():
        if (told := sum(int(row.get(name, 0)) for row in windows)) != amount:
            yield f"the budget of all has {told} nano-USD as {name}, the ledger {amount}"


def the_ledger_is_the_bill(at: Snapshot) -> Iterator[str]:
    """To the nano-USD where a call's cost is known; where it is not, the bill is within what is held as uncertain.

    An amount that is an estimate of ours, for want of possible figures, is a bound.
    """
    ledger = ledger_calls(at)
    for call in at.bill:
        job_id, _, number = (call.get("caller_id") or "").rpartition(":")
        entries = ledger.get((job_id, number), [])
        if not entries or call.get("model") not in PRICES:
            continue
        billed, last = charged_nanousd(call), entries[-1]
        cost = int(last["cost_nanousd"] or 0)
        most = cost + int(last["uncertain_nanousd"])
        least = 0 if last.get("estimated") == "1" else cost
        if not least <= billed <= most:
            yield f"{call['caller_id']} is billed with {billed} nano-USD, the ledger has {cost} to {most}"


def charged_nanousd(call: dict[str, Any]) -> int:
    """What the provider charges for a call of its bill."""
    prices = PRICES.get(call["model"], {})
    return sum(call.get(kind, 0) * price for kind, price in prices.items()) if call.get("billed") else 0


def every_billed_call_is_in_the_ledger(at: Snapshot) -> Iterator[str]:
    """What the provider charges was intended, written down, and is not free. No call id was sent twice."""
    ledger = ledger_calls(at)
    for caller_id, times in Counter(call.get("caller_id") for call in at.bill).items():
        if caller_id is not None and times > 1:
            yield f"{caller_id} was sent {times} times"
    for call in at.bill:
        job_id, _, number = (call.get("caller_id") or "").rpartition(":")
        entries = ledger.get((job_id, number))
        if entries is None:
            yield f"the provider saw {call.get('caller_id')}, the ledger did not"
        elif call.get("billed") and not _costs(entries[-1]):
            yield f"the provider charges for {call['caller_id']}, the ledger has it for free"


CHECKS: tuple[Callable[[Snapshot], Iterator[str]], ...] = (
    every_accepted_job_ended,
    no_job_came_from_nowhere,
    an_end_has_what_belongs_to_it,
    each_run_ended_once,
    nothing_of_an_ended_job_is_live,
    no_key_is_kept_for_ever,
    counts_are_those_of_the_records,
    indexes_list_what_is_there,
    every_intent_has_an_end,
    the_ledger_has_each_call_once,
    the_ledger_is_the_sum_of_the_jobs,
    budgets_hold_nothing,
    budgets_are_the_sum_of_the_ledger,
    the_ledger_is_the_bill,
    every_billed_call_is_in_the_ledger,
)


def _calls(journal: Hash) -> list[str]:
    return [name for name in journal if re.fullmatch(r"\d+\.\d+\.\d+", name)]


def ledger_calls(at: Snapshot) -> dict[tuple[str, str], list[Hash]]:
    entries: dict[tuple[str, str], list[Hash]] = defaultdict(list)
    for entry_id, entry in at.values.get("penstock:ledger", []):
        entries[entry["job"], entry["call"]].append({**entry, "id": entry_id})
    return dict(entries)


def _costs(entry: Hash) -> bool:
    """Unknown is not free: a call without a known cost must hold what it can have cost at most."""
    return int(entry["cost_nanousd"] or 0) > 0 or int(entry["uncertain_nanousd"]) > 0


def _value(client: redis.Redis, key: str) -> Any:
    readers: dict[str, Callable[[], Any]] = {
        "string": lambda: client.get(key),
        "hash": lambda: client.hgetall(key),
        "list": lambda: client.lrange(key, 0, -1),
        "set": lambda: client.smembers(key),
        "zset": lambda: dict(cast("list[tuple[str, float]]", client.zrange(key, 0, -1, withscores=True))),
        "stream": lambda: client.xrange(key),
    }
    kind = cast("str", client.type(key))
    return readers[kind]() if kind in readers else None  # None: it expired between two commands


def _bill(path: Path) -> list[dict[str, Any]]:
    """The bill's calls: later lines of an id add to the earlier ones. A last line cut short is left out."""
    calls: dict[str, dict[str, Any]] = {}
    for line in path.read_text().split("\n")[:-1]:
        row = json.loads(line)
        calls.setdefault(row["id"], {}).update(row)
    return list(calls.values())
