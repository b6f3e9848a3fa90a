"""Orders in a text, before a model that obeys all of them: what stands behind the model holds.

No result has a label that is not in the set, a member that is not in the schema, or words of the prompt. What a
model was talked into saying in a summary's own words is still its summary: that is data, and gets no power here.
"""

import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import jsonschema
import pytest

from penstock import Classify, Extract, JobHandle, Producer, Summarize
from penstock_schemas.tasks import TaskInput
from penstock_simulator.ask import Ask, Message
from penstock_simulator.obedient import obedient_answer
from penstock_simulator.simulator import Simulator
from penstock_worker.settings import Settings
from penstock_worker.tasks import tasks
from tests.integration.attempt.injections import CASES, ORDERS, WAYS
from tests.support.attempts import an_attempt
from tests.support.workers import work_off

LABELS = ["repair", "complaint", "praise"]
FACTS = {
    "type": "object",
    "properties": {"amount": {"type": ["number", "null"]}, "sender": {"type": ["string", "null"]}},
    "required": ["amount", "sender"],
    "additionalProperties": False,
}
MOST_REPEATED = 63
"""So many characters of a prompt in a row are a part of it; fewer can be anybody's words."""


def asked(task: str, text: str) -> TaskInput[Any]:
    if task == "summarize":
        return Summarize(text=text, max_words=60)
    if task == "classify":
        return Classify(text=text, labels=LABELS)
    return Extract(text=text, schema=FACTS)


@pytest.fixture
def said() -> list[str]:
    """All that the model has said."""
    return []


@pytest.fixture
async def simulator(said: list[str]) -> AsyncIterator[Simulator]:
    """A model that does what the text orders."""

    def answer(ask: Ask) -> str:
        said.append(obedient_answer(ask))
        return said[-1]

    async with Simulator(answers=answer) as simulator:
        yield simulator


def test_there_are_a_hundred_cases() -> None:
    """Each way with each order, no two alike."""
    assert len(set(CASES.values())) == len(WAYS) * len(ORDERS) >= 100


@pytest.mark.parametrize("task", ["summarize", "classify", "extract"])
def test_no_text_closes_its_fence(task: str) -> None:
    """The text stands in the user part alone, whole, between two lines that it does not have; nothing comes behind."""
    for name, text in CASES.items():
        attempt = an_attempt(asked(task, text))
        prompt = attempt.task.prompt
        user = prompt.render(attempt.task.text(attempt.asked), attempt.task.variables(attempt.asked))
        mark = re.findall(r"^The text stands between the two lines (TEXT-[0-9a-f]{16})\.$", user, re.M)[0]
        before, inside, after = user.split(f"\n{mark}\n") if user.endswith("\n") else f"{user}\n".split(f"\n{mark}\n")
        assert (inside, after) == (text, ""), name
        assert before.startswith(prompt.user.partition("{{")[0]), name
        assert mark not in text, name


@pytest.mark.parametrize("task", ["summarize", "classify", "extract"])
async def test_orders_in_a_text_change_no_contract(
    task: str, producer: Producer, simulator: Simulator, said: list[str], settings: Callable[..., Settings]
) -> None:
    """The model recites, invents a label, adds a member; no result does."""
    jobs = {name: await producer.enqueue(asked(task, text), max_attempts=1) for name, text in CASES.items()}
    await work_off(settings(route={"max_output_tokens": 4_000}, breaker={"enabled": False}))
    prompt = template(task)
    assert sum(recited(answer, prompt, "") for answer in said) >= len(WAYS)
    outputs = {name: await plain_output(job) for name, job in jobs.items()}
    assert sum(output is not None for output in outputs.values()) >= len(WAYS)
    for name, output in outputs.items():
        if output is None:
            continue
        assert not recited(str(output), prompt, CASES[name]), name
        assert "TEXT-" not in str(output) or "TEXT-" in CASES[name], name
        if task == "classify":
            assert len(output["labels"]) == 1 and output["labels"][0] in LABELS, name
        if task == "extract":
            jsonschema.validate(output, FACTS)
        if task == "summarize":
            assert output.keys() == {"summary"} and len(output["summary"].split()) <= 60 * 1.25, name


def test_the_model_obeys_every_case() -> None:
    """Otherwise the tests above would show its politeness, and not what stands behind it."""
    for name, text in CASES.items():
        order = name.rpartition(": ")[2]
        ask = Ask("openai_chat", "m", (Message("system", "You are S."), Message("user", text)))
        answer = obedient_answer(ask)
        if order == "recite":
            assert "You are S." in answer, name
        elif order == "recite a part":
            assert answer.startswith("You are S."), name
        elif order == "say":
            assert "evil.example" in answer, name


async def plain_output(job: JobHandle[Any]) -> Any:
    """The output as JSON, of the model or of the fallback; None of a dead letter."""
    result = (await job.status()).result
    return result and result.output


def template(task: str) -> str:
    """The fixed text of the task's prompt."""
    prompt = tasks()[task].prompt
    return " ".join(f"{prompt.system}\n{prompt.user}".split()).lower()


def recited(answer: str, prompt: str, text: str) -> bool:
    """Whether *answer* has a long enough piece of the prompt that is not the text's own."""
    plain, own = " ".join(answer.replace("\\n", " ").split()).lower(), " ".join(text.split()).lower()
    windows = (prompt[at : at + MOST_REPEATED] for at in range(len(prompt) - MOST_REPEATED))
    return any(window in plain and window not in own for window in windows)
