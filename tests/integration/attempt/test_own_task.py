"""A task of one's own: an input, a prompt file beside the module, a class with a decorator. There is no other door."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from penstock import Producer
from penstock_schemas.errors import ConfigurationError
from penstock_schemas.tasks import TaskInput
from penstock_simulator.simulator import Simulator
from penstock_worker.settings import Settings
from penstock_worker.tasks import definition
from tests.support.workers import work_off

MODULE = """
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from penstock_schemas.tasks import TaskInput
from penstock_worker.tasks import Task, Unusable, task


class Headline(BaseModel):
    headline: str


class Title(TaskInput[Headline]):
    task = "title_of_tests"
    text: str
    tone: str = "dry"


@task(Title, prompt="title@3", fallback="first_line@1")
class TitleTask(Task[Title]):
    def check(self, asked: Title, output: Any) -> Sequence[str]:
        if "forbidden" in output["headline"]:
            raise Unusable("the headline holds a forbidden word")
        return ["shouting"] if output["headline"].isupper() else []

    def fallback(self, asked: Title) -> Any:
        if asked.tone == "broken":
            raise RuntimeError("a bug in the fallback")
        return {"headline": asked.text.splitlines()[0]}
"""
PROMPT = "[system]\nYou write headlines.\n\n[user]\nWrite a {{tone}} headline.\n\n{{text}}\n"


@pytest.fixture
def title(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., TaskInput[object]]]:
    """The input class, in a module that lies outside the project with its prompt beside it."""
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "title@3.md").write_text(PROMPT)
    (tmp_path / "headlines_of_tests.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda **fields: sys.modules["headlines_of_tests"].Title(**fields)
    definition._registry.pop("title_of_tests", None)
    sys.modules.pop("headlines_of_tests", None)


async def test_a_task_of_ones_own_is_worked_on_like_any_other(
    title: Callable[..., TaskInput[object]],
    producer: Producer,
    redis: Redis,
    simulator: Simulator,
    settings: Callable[..., Settings],
) -> None:
    """Prompt, schema, check, re-ask and fallback are its own; its doubts are in the result."""
    __import__("headlines_of_tests")
    simulator.script(
        [
            {"match": {"contains": "reask"}, "answer": '{"headline": "forbidden"}', "times": 1},
            {"match": {"contains": "fails"}, "fault": "context-length"},
            {"answer": '{"headline": "THE MILL"}'},
        ]
    )
    good = await producer.enqueue(title(text="The mill", tone="loud"))
    again = await producer.enqueue(title(text="The mill, reask"))
    fails = await producer.enqueue(title(text="It fails\nat once"))
    broken = await producer.enqueue(title(text="It fails twice", tone="broken"))
    await work_off(settings(tasks=["headlines_of_tests"]))

    result = await good.result(timeout_s=0)
    assert (result.output.headline, result.quality, result.reasons) == ("THE MILL", "suspect", ("shouting",))  # type: ignore[attr-defined]
    assert (result.task, result.made_by.prompt) == ("title_of_tests", "title@3")
    assert (await again.result(timeout_s=0)).calls == 2
    degraded = await fails.result(timeout_s=0)
    assert (degraded.made_by.name, degraded.output.headline) == ("first_line@1", "It fails")  # type: ignore[attr-defined]
    status = await broken.status()
    assert (status.state, status.calls, status.failure and status.failure.code) == ("dead", 1, "context_too_long")


async def test_a_route_may_have_a_prompt_of_its_own(
    tmp_path: Path, title: Callable[..., TaskInput[object]], producer: Producer, settings: Callable[..., Settings]
) -> None:
    """From the folder beside the configuration; the result names it."""
    __import__("headlines_of_tests")
    folder = tmp_path / "config"
    (folder / "prompts").mkdir(parents=True)
    (folder / "prompts" / "curt@7.md").write_text(PROMPT.replace("You write", "You write curt"))
    job = await producer.enqueue(title(text="The mill"))
    routes = {"title_of_tests": {"targets": ["openai/gpt-4o-mini"], "prompt": "curt@7"}}
    await work_off(settings(tasks=["headlines_of_tests"], routes=routes), folder)
    assert (await job.result(timeout_s=0)).made_by.prompt == "curt@7"


async def test_a_task_that_no_worker_knows_waits(
    title: Callable[..., TaskInput[object]], producer: Producer, redis: Redis, settings: Callable[..., Settings]
) -> None:
    """It is left for a worker that does, untouched and uncharged; other jobs go on."""
    from penstock import Summarize
    from tests.support.workers import working

    __import__("headlines_of_tests")
    unknown = await producer.enqueue(title(text="The mill"))
    definition._registry.pop("title_of_tests")
    known = await producer.enqueue(Summarize(text="The mill stands by the river."))
    async with working(settings()):
        await known.result(timeout_s=30)
        status = await unknown.status()
        assert (status.state, status.attempts) == ("queued", 0)


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"tasks": ["there_is_no_such_module"]}, "worker.tasks"),
        ({"routes": {"nothing": {"targets": ["openai/gpt-4o-mini"]}}}, "routes.nothing"),
        ({"route": {"prompt": "gone@1"}}, "prompt gone@1"),
    ],
)
async def test_a_wrong_configuration_is_refused_before_anything_is_claimed(
    producer: Producer, settings: Callable[..., Settings], options: dict[str, object], key: str
) -> None:
    """With the key at fault."""
    with pytest.raises(ConfigurationError, match=key):
        await work_off(settings(**options))
