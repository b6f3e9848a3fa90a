"""Prompt registry: a text that is changed without a new version is refused, and who made a result names the text."""

from pathlib import Path

from redis.asyncio import Redis

from penstock import Producer, Summarize
from penstock_schemas import keys
from penstock_simulator.simulator import Simulator
from tests.support.processes import Processes
from tests.support.worker_processes import worker_argv, write_config

PROMPT = (
    "[system]\nYou write summaries in verse.\n\n"
    "[user]\nAt most {{max_words}} words, as {{style}}, in {{language}}. {{focus}}\n\n{{text}}\n"
)


async def test_a_change_without_a_new_version_is_refused(
    tmp_path: Path, producer: Producer, simulator: Simulator, processes: Processes, redis: Redis, redis_url: str
) -> None:
    """It runs, is released, is changed: the next worker does not start; under a new version it does, and both show."""
    folder = tmp_path / "prompts"
    folder.mkdir()
    (folder / "verse@1.md").write_text(PROMPT)
    made_by = []
    for version in ("verse@1", "verse@2"):
        config = write_config(tmp_path, redis_url, simulator.base_url, route={"prompt": version})
        lock = processes.python("-m", "penstock", "prompts", "lock", str(folder))
        assert lock.wait(30) == 0, lock.output
        worker = processes.python(*worker_argv(config)[1:])
        job = await producer.enqueue(Summarize(text=f"The mill stands by the river. {version}"))
        made_by.append((await job.result(timeout_s=30)).made_by)
        worker.close()
        if version == "verse@1":
            (folder / "verse@1.md").write_text(PROMPT.replace("verse", "prose"))
            refused = processes.python(*worker_argv(config)[1:])
            assert refused.wait(30) == 3
            assert "prompt verse@1: was released with another text" in refused.output
            assert "verse@2" in refused.output
            (folder / "verse@1.md").write_text(PROMPT)
            (folder / "verse@2.md").write_text(PROMPT.replace("verse", "prose"))
    assert [one.prompt for one in made_by] == ["verse@1", "verse@2"]
    assert made_by[0].prompt_digest != made_by[1].prompt_digest
    told = [row[b"prompt_digest"].decode() for _, row in await redis.xrange(keys.LEDGER)]
    assert told == [one.prompt_digest for one in made_by]
