"""`penstock dead` and `penstock degraded`, in processes of their own."""

import asyncio
import signal
from functools import partial
from pathlib import Path

import pytest
from redis.asyncio import Redis

from penstock import DeadLetters, Producer, Summarize
from penstock_schemas import keys
from tests.integration.cli.conftest import Command, called, dead_letters, environment
from tests.support.jobs import HandWorker, dump
from tests.support.processes import Processes
from tests.support.proxy import TcpProxy
from tests.support.wait import until


async def test_list_and_show(command: Command, producer: Producer, worker: HandWorker) -> None:
    """A noun alone lists; ids may be cut; what users wrote is data."""
    job = await producer.enqueue(
        Summarize(text="Evil \x1b[31mtext\u202e."), metadata={"note": "a\x1b[2J\nforged: line"}
    )
    lease = await worker.claim_one()
    await called(worker, lease, cost=70)
    await worker.bury(lease)
    for listed in (command("dead"), command("dead", "list"), command("dead", "list", "--error", "throttled")):
        (row,) = listed.out.splitlines()
        assert row.split("\t")[0] == job.id
        assert "attempts_exhausted\tthrottled\t1\t$0.00000007" in row
    (fields,) = command("dead", "list", "--json", "--since", "1h").objects
    assert (fields["job_id"], fields["failure"]["code"], fields["cost_usd"]) == (
        job.id,
        "attempts_exhausted",
        "0.00000007",
    )
    shown = command("dead", "show", job.id[:10])
    assert "1.1.1  openai/gpt-4o-mini  failed: throttled  HTTP 429  1234 ms  120 tokens  $0.00000007" in shown.out
    assert "\x1b" not in shown.out
    assert "\u202e" not in shown.out
    assert "\nforged" not in shown.out
    (report,) = command("dead", "show", job.id, "--json").objects
    assert report["request"]["metadata"] == {"note": "a\x1b[2J\nforged: line"}
    assert command("dead", "list", "--task", "classify").out == ""
    assert command("dead", "show", "ffff").code == 1


async def test_replay_by_id_prefix_and_standard_input(command: Command, producer: Producer, worker: HandWorker) -> None:
    first, second, third = await dead_letters(producer, worker, 3)
    assert command("dead", "replay", first[:12]).out == f"{first}\treplayed\trun 2\n"
    ended = command("dead", "replay", "-", "--json", stdin=f"{second}\n{third}\n")
    assert ended.objects == [{"job_id": job_id, "replayed": True, "run": 2} for job_id in (second, third)]
    ended = command("dead", "replay", first)
    assert (ended.code, ended.out) == (5, "")
    assert f"job {first}: is queued in run 2" in ended.err


async def test_replay_of_all_wants_to_be_confirmed(
    command: Command, producer: Producer, worker: HandWorker, redis: Redis
) -> None:
    """Count and cost bound come first, whatever is answered."""
    await dead_letters(producer, worker, 3)
    before = await dump(redis)
    ended = command("dead", "replay", "--all")
    assert (ended.code, ended.out) == (5, "")
    assert ended.err.startswith("3 matched; cost bound unknown")
    assert "--yes" in ended.err
    assert await dump(redis) == before
    ended = command("dead", "replay", "--all", "--yes")
    assert (ended.code, ended.out.count("replayed")) == (0, 3)
    assert ended.err.startswith("3 matched; cost bound unknown")


async def test_a_dry_run_leaves_the_database_as_it_is(
    command: Command, producer: Producer, worker: HandWorker, redis: Redis
) -> None:
    """Byte by byte, though an entry has no record any more."""
    ids = await dead_letters(producer, worker, 3)
    await redis.delete(keys.record(ids[0]))
    before = await dump(redis)
    (plan,) = command("dead", "replay", "--error", "throttled", "--dry-run", "--json").objects
    assert plan["matched"] == 2
    assert plan["cost_bound_usd"] is None
    assert "2 matched" in command("dead", "purge", "--all", "--dry-run").out
    assert await dump(redis) == before


async def test_a_filter_that_matches_nothing_is_done(command: Command, producer: Producer, worker: HandWorker) -> None:
    await dead_letters(producer, worker, 1)
    for verb in (["replay"], ["replay", "--dry-run"], ["purge", "--yes"], ["purge"]):
        ended = command("dead", *verb, "--error", "no_such_code")
        assert ended.code == 0
        assert "0 matched" in ended.out + ended.err


async def test_purge_wants_to_be_confirmed_for_more_than_ids(
    command: Command, producer: Producer, worker: HandWorker
) -> None:
    first, *rest = await dead_letters(producer, worker, 3)
    assert command("dead", "purge", first).out == f"{first}\tpurged\n"
    assert command("dead", "purge", first).code == 1
    assert command("dead", "purge", "--task", "summarize").code == 5
    assert len(command("dead").out.splitlines()) == 2
    assert command("dead", "purge", "--task", "summarize", "--yes", "-q").out.count("purged") == len(rest)
    assert command("dead").out == ""


async def test_degraded_answers_are_mended_in_the_same_way(
    command: Command, producer: Producer, worker: HandWorker
) -> None:
    job = await producer.enqueue(Summarize(text="Words."))
    await worker.degrade(await worker.claim_one())
    assert command("degraded").out.startswith(job.id)
    ended = command("dead", "replay", job.id)
    assert (ended.code, "is degraded in run 1" in ended.err) == (5, True)
    assert command("degraded", "replay", job.id[:9]).code == 0
    assert command("degraded", "list").out == ""


async def test_other_tenants_letters_are_seen_when_asked_for(
    command: Command, producer: Producer, other: Producer, worker: HandWorker
) -> None:
    (theirs,) = await dead_letters(other, worker, 1)
    assert command("dead").out == ""
    assert command("dead", "replay", theirs).code == 1
    assert f"{theirs}\t" in command("dead", "list", "--all-tenants").out
    assert command("dead", "replay", "--all", "--yes", "--all-tenants").out == f"{theirs}\treplayed\trun 2\n"


@pytest.mark.timeout(240)
async def test_a_replay_that_is_killed_and_given_twice_at_once_makes_no_doubles(
    redis_url: str, producer: Producer, worker: HandWorker, redis: Redis, processes: Processes, tmp_path: Path
) -> None:
    """500 letters; five times the command is killed once it has begun; then two of it end the work."""
    ids = await dead_letters(producer, worker, 500)
    arguments = ("-m", "penstock", "dead", "replay", "--task", "summarize")

    async def some_done(before: int) -> bool:
        return int(await redis.zcard(keys.state_index("dead"))) < before

    with TcpProxy.to(redis_url) as proxy:
        proxy.delay(0.02)
        env = environment(proxy.url, tmp_path)
        for _ in range(5):
            left = await redis.zcard(keys.state_index("dead"))
            killed = processes.python(*arguments, env=env, cwd=tmp_path)
            await until(partial(some_done, left), what="a letter that was run again")
            killed.kill()
        assert await redis.zcard(keys.state_index("dead")) > 0, "it was never killed half-way"
        pair = [processes.python(*arguments, env=env, cwd=tmp_path) for _ in range(2)]
        assert [await one.ended(60) for one in pair] == [0, 0]

    assert await redis.zcard(keys.state_index("dead")) == 0
    assert {(await producer.status(job_id)).run for job_id in ids} == {2}
    claimed = [lease.job_id for lease in await worker.claim(1000)]
    assert sorted(claimed) == sorted(ids)
    audited = [job for _, entry in await redis.xrange(keys.AUDIT) for job in entry[b"jobs"].decode().split()]
    assert sorted(audited) == sorted(ids)
    report = await DeadLetters(producer).show(ids[0])
    assert [run.state for run in report.runs] == ["dead", "running"]


async def test_a_redis_that_goes_away_half_way_is_told_with_what_was_done(
    redis_url: str, producer: Producer, worker: HandWorker, processes: Processes, tmp_path: Path
) -> None:
    """Exit code 4; the same command does the rest."""
    ids = await dead_letters(producer, worker, 400)
    with TcpProxy.to(redis_url) as proxy:
        proxy.delay(0.02)
        env = environment(proxy.url, tmp_path)
        replaying = processes.python("-m", "penstock", "dead", "replay", "--all", "--yes", env=env, cwd=tmp_path)
        await asyncio.to_thread(replaying.wait_line, "replayed")
        proxy.freeze()
        assert await replaying.ended(30) == 4
    done = [line.split("\t")[0] for line in replaying.lines if "\treplayed\t" in line]
    assert f"{len(done)} replayed; the same command does the rest" in replaying.output
    rest = processes.python(
        "-m", "penstock", "dead", "replay", "--all", "--yes", env=environment(redis_url, tmp_path), cwd=tmp_path
    )
    assert await rest.ended(30) == 0
    assert {(await producer.status(job_id)).run for job_id in ids} == {2}


async def test_an_interrupt_ends_with_130(
    redis_url: str, producer: Producer, processes: Processes, tmp_path: Path
) -> None:
    """The job goes on, and who waited for it is told how to get its answer."""
    (tmp_path / "text.txt").write_text("Some words.")
    env = environment(redis_url, tmp_path)
    running = processes.python("-m", "penstock", "run", "summarize", "text.txt", env=env, cwd=tmp_path)
    job_id = (await running.line(r"job ([0-9a-f]{32})"))[1]
    running.send_signal(signal.SIGINT)
    assert await running.ended() == 130
    assert f"penstock result {job_id}" in running.output
    assert "Traceback" not in running.output
    assert not (await producer.status(job_id)).state.terminal
