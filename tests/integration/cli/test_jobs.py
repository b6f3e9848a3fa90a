"""The command on jobs: what it prints, and how it ends."""

import asyncio
import json
from pathlib import Path

import pytest
from redis.asyncio import Redis

from penstock import Producer, Summarize
from penstock_schemas.jobs import JobState
from tests.integration.cli.conftest import Command, Ended
from tests.support.jobs import HandWorker
from tests.support.wait import until

SCHEMA = {"type": "object", "properties": {"total": {"type": "integer"}}, "required": ["total"]}


async def finished(producer: Producer, worker: HandWorker, summary: str = "Short.") -> str:
    job = await producer.enqueue(Summarize(text="Words."))
    await worker.succeed(await worker.claim_one(), {"summary": summary})
    return job.id


async def test_status_and_result_of_a_finished_job(command: Command, producer: Producer, worker: HandWorker) -> None:
    """Data on standard output, talk on standard error."""
    job_id = await finished(producer, worker)
    assert "state\tsucceeded\n" in command("status", job_id).out
    (status,) = command("status", job_id, "--json").objects
    assert (status["job_id"], status["state"], status["run"]) == (job_id, "succeeded", 1)
    result = command("result", job_id)
    assert (result.code, result.out) == (0, "Short.\n")
    assert "openai/gpt-4o-mini" in result.err
    assert command("result", job_id, "-q").err == ""
    (fields,) = command("--json", "result", job_id).objects
    assert (fields["output"], fields["cost_nanousd"], fields["cost_usd"]) == ({"summary": "Short."}, 27_000, "0.000027")


async def test_result_of_a_job_that_has_none_ends_with_1(
    command: Command, producer: Producer, worker: HandWorker
) -> None:
    """Not finished, dead, unknown; each in one line."""
    job = await producer.enqueue(Summarize(text="Words."))
    for arguments in ([job.id], [job.id, "--wait", "100ms"], ["0" * 32]):
        ended = command("result", *arguments)
        assert (ended.code, ended.out) == (1, "")
        assert len(ended.err.splitlines()) == 1
    await worker.bury(await worker.claim_one())
    ended = command("result", job.id, "--json")
    assert ended.code == 1
    assert json.loads(ended.err)["error"]["code"] == "dead"


async def test_events_end_with_the_job_and_go_on_behind_an_id(
    command: Command, producer: Producer, worker: HandWorker
) -> None:
    job_id = await finished(producer, worker)
    events = command("events", job_id, "--json").objects
    assert [event["type"] for event in events] == ["queued", "running", "succeeded"]
    rest = command("events", job_id, "--after", events[0]["id"], "--json").objects
    assert rest == events[1:]
    assert "succeeded" in command("events", job_id).out.splitlines()[-1]
    assert command("events", job_id, "--after", "nonsense").code == 2


async def test_cancel_tells_what_each_job_was(command: Command, producer: Producer, worker: HandWorker) -> None:
    """Ids come as arguments or on standard input; one that is over makes the exit code 1."""
    over = await finished(producer, worker)
    jobs = await producer.enqueue_many([Summarize(text=f"{n}.") for n in range(3)])
    ended = command("cancel", "-", stdin="\n".join(job.id for job in jobs))
    assert ended.code == 0
    assert ended.out.count("was queued\tcancelled") == 3
    assert (await producer.status(jobs[0].id)).state is JobState.CANCELLED
    ended = command("cancel", jobs[0].id, over, "--json")
    assert ended.code == 1
    assert [fields["cancelled"] for fields in ended.objects] == [True, False]
    assert "succeeded already" in ended.err


async def test_enqueue_takes_files_and_json_lines(command: Command, producer: Producer, redis: Redis) -> None:
    """What cannot be enqueued is told with its place, and the rest is enqueued."""
    lines = ['{"text": "One.", "idempotency_key": "k1"}', "", '{"txt": 1}', "nope", '{"text": "Two."}']
    arguments = ("enqueue", "classify", "--labels", "bug,praise=nice words, or so", "--lane", "bulk", "--json")
    ended = command(*arguments, stdin="\n".join(lines))
    assert ended.code == 1
    first, second = ended.objects
    assert (first["from"], second["from"]) == ("standard input:1", "standard input:5")
    assert "standard input:3: input.text" in ended.err
    assert "standard input:4: " in ended.err
    request = await producer.job(first["job_id"]).request()
    assert request.input["labels"] == {"bug": None, "praise": "nice words, or so"}
    assert request.lane == "bulk"
    again = command(*arguments, stdin=lines[0])
    assert again.objects == [{"job_id": first["job_id"], "created": False, "from": "standard input:1"}]
    conflict = command(*arguments, stdin='{"text": "Other.", "idempotency_key": "k1"}')
    assert (conflict.code, conflict.out) == (5, "")
    assert first["job_id"] in conflict.err


async def test_enqueue_waits_and_prints_answers_as_they_come(
    command: Command, producer: Producer, worker: HandWorker, redis: Redis
) -> None:
    ending = asyncio.create_task(
        asyncio.to_thread(
            command, "enqueue", "summarize", "-", "--wait", "--json", stdin='{"text": "A."}\n{"text": "B."}'
        )
    )
    leases = await until(worker.claim, what="the first claim") + await until(worker.claim, what="the second claim")
    await worker.succeed(leases[0])
    await worker.bury(leases[1])
    ended = await ending
    assert ended.code == 1
    by_end = {("error" if "error" in fields else fields["state"]): fields for fields in ended.objects}
    assert set(by_end) == {"succeeded", "error"}
    assert by_end["error"]["error"]["reason"] == "attempts_exhausted"


async def test_run_prints_the_answer_alone(command: Command, producer: Producer, worker: HandWorker) -> None:
    """Its provenance is talk; --require is the exit code's."""

    async def ran(*arguments: str, degrade: bool = False) -> Ended:
        running = asyncio.create_task(asyncio.to_thread(command, "run", *arguments, stdin="Some words."))
        (lease,) = await until(worker.claim, what="the claim")
        await (worker.degrade(lease) if degrade else worker.succeed(lease))
        return await running

    ended = await ran("summarize", "-", "--max-words", "40", "--require", "ok")
    assert (ended.code, ended.out) == (0, "Short.\n")
    assert "by openai/gpt-4o-mini with summarize@1" in ended.err
    ended = await ran("classify", "-", "--labels", "bug,other")
    assert ended.out == "bug\n"
    ended = await ran("summarize", "-", "--require", "succeeded", degrade=True)
    assert (ended.code, ended.out) == (1, "Short.\n")
    assert "no model answered" in ended.err


async def test_run_reads_a_schema_from_a_file(
    command: Command, producer: Producer, worker: HandWorker, tmp_path: Path
) -> None:
    (tmp_path / "invoice.json").write_text(json.dumps(SCHEMA))
    (tmp_path / "invoice.txt").write_text("Total: 12")
    running = asyncio.create_task(
        asyncio.to_thread(command, "run", "extract", "invoice.txt", "--schema", "invoice.json", "--wait", "10s")
    )
    (lease,) = await until(worker.claim, what="the claim")
    assert (await producer.job(lease.job_id).request()).input["schema"] == SCHEMA
    await worker.succeed(lease)
    assert json.loads((await running).out) == {"total": 12}


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (("run", "translate", "-"), "x", "no task 'translate'"),
        (("run", "summarize", "-"), "   ", "input.text"),
        (("run", "summarize", "-"), b"\xff", "not UTF-8"),
        (("run", "summarize", "no-such-file"), "", "No such file"),
        (("run", "summarize", "-", "--labels", "a"), "x", "belongs to classify"),
        (("run", "summarize", "-", "--max-words", "many"), "x", "--max-words"),
        (("run", "summarize", "-", "--lane", "fast"), "x", "lane"),
        (("run", "summarize", "-", "--max-cost", "cheap"), "x", "max_cost_usd"),
        (("run", "summarize", "-", "--deadline", "soon"), "x", "'soon' is not a duration"),
        (("run", "classify", "-"), "x", "input.labels"),
        (("run", "extract", "-", "--schema", "-"), "x", "not JSON"),
        (("enqueue", "translate"), "", "no task"),
        (("enqueue", "summarize", "--idempotency-key", "k"), '{"text":"a"}\n{"text":"b"}', "for one job"),
        (("status",), "", "Missing argument"),
        (("status", "not an id"), "", "job_id"),
        (("cancel", "x" * 65), "", "job_id"),
        (("dead", "replay"), "", "say which"),
        (("dead", "replay", "abc", "--task", "x"), "", "not several"),
        (("dead", "list", "--since", "1h", "--until", "2h"), "", "later than"),
        (("dead", "list", "--since", "soon"), "", "'soon' is no time"),
        (("dead", "list", "--bogus"), "", "No such option"),
        (("dead", "list", "--limit", "0"), "", "--limit"),
        (("dead", "replay", "--all", "--target", "gpt"), "", "provider/model"),
        (("costs", "--by", "phase"), "", "--by wants one of"),
        (("--redis", "redis://u:secret@h/0", "doctor"), "", "must not hold a password"),
        (("relpay",), "", "no command 'relpay'"),
    ],
)
async def test_wrong_usage_ends_with_2_and_one_line_and_writes_nothing(
    command: Command, redis: Redis, arguments: tuple[str, ...], stdin: str | bytes, said: str
) -> None:
    ended = command(*arguments, stdin=stdin)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert len(ended.err.splitlines()) == 1
    assert "secret" not in ended.err
    assert await redis.dbsize() == 0


@pytest.mark.parametrize(
    ("toml", "key"),
    [
        ('[redis]\nur1 = "x"', "redis.ur1"),
        ("[producer]\ntenant = 3", "producer.tenant"),
        ('[redis]\nurl = "http://localhost"', "redis.url"),
        ('[redis]\nurl = "redis://h:99999"', "redis.url"),
        ('[redis]\nurl = "redis://:hush@db.example.com/0"', "redis.url"),
    ],
)
async def test_a_wrong_configuration_ends_with_3_and_names_the_key(
    command: Command, tmp_path: Path, toml: str, key: str
) -> None:
    (tmp_path / "penstock.toml").write_text(toml)
    ended = command("status", "0" * 32, REDIS_URL=None)
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith(f"penstock: {key}: ")
    assert "hush" not in ended.err


async def test_a_redis_that_is_away_ends_with_4(command: Command) -> None:
    for arguments in (["status", "0" * 32], ["dead", "list"], ["costs"], ["doctor"]):
        ended = command(*arguments, REDIS_URL="redis://:hush@127.0.0.1:1/0")
        assert ended.code == 4
        assert "127.0.0.1:1" in ended.err + ended.out
        assert "hush" not in ended.err + ended.out


async def test_a_tenant_comes_from_option_variable_or_file(command: Command, other: Producer, tmp_path: Path) -> None:
    job = await other.enqueue(Summarize(text="Words."))
    assert command("status", job.id).code == 1
    assert command("status", job.id, "--tenant", "rival").code == 0
    assert command("status", job.id, PENSTOCK_PRODUCER__TENANT="rival").code == 0
    (tmp_path / "penstock.toml").write_text('[producer]\ntenant = "rival"\n[worker]\nunknown = 1\n')
    assert command("status", job.id).code == 0
