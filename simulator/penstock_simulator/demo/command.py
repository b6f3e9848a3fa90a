"""``penstock demo``: set the stage, play the scenes, print what came back."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from penstock import Producer
from penstock_simulator.demo.scenes import Shown, dead_and_replayed, deduplicated, degraded, work
from penstock_simulator.demo.show import LiveJobs, print_all, print_json
from penstock_simulator.demo.stage import Model, Stage, named_model, set_up
from penstock_simulator.demo.texts import NotATextError, read_texts
from penstock_store.server import RedisServerError

TENANT = "demo"
DONE, NOT_AS_TOLD, USAGE = 0, 1, 2
NEEDED = ("arq", "jsonschema_rs")
"""Libraries of the worker's and the simulator's, which a base installation does not bring."""


def demo(
    files: Sequence[Path],
    *,
    base_url: str | None,
    model: str | None,
    as_json: bool,
    api_key_env: str | None = None,
) -> int:
    """Run the demo; the exit code: 0, 1 when a job did not end as it should, 2 for files or options that are wrong.

    Without *base_url* OpenAI answers if ``OPENAI_API_KEY`` is set, else a simulator. With it, that server does,
    and is sent the key in the variable *api_key_env*, if one is named. Raises ModuleNotFoundError where the worker
    or the simulator is not installed.
    """
    for library in NEEDED:
        if find_spec(library) is None:
            raise ModuleNotFoundError(f"No module named {library!r}", name=library)
    talk = Console(stderr=True, highlight=False)
    try:
        texts = read_texts(files)
        answering = named_model(base_url, model, api_key_env)
    except (NotATextError, ValueError) as error:
        talk.print(f"penstock demo: {error}", markup=False, soft_wrap=True)
        return USAGE
    try:
        return _play(texts, answering, talk, as_json=as_json)
    except KeyboardInterrupt:
        talk.print("Interrupted; all that was started is gone.")
        raise
    except (RedisServerError, RuntimeError) as error:
        talk.print(f"penstock demo: {error}", markup=False, soft_wrap=True)
        return NOT_AS_TOLD


def _play(texts: list[tuple[str, str]], answering: Model | None, talk: Console, *, as_json: bool) -> int:
    started = time.monotonic()
    provider = "a simulated provider" if answering is None else f"a way to {answering.target}"
    talk.print(f"Starting Redis, {provider} and two workers ...", style="dim", markup=False, soft_wrap=True)
    with set_up(answering) as stage:
        shown = asyncio.run(_scenes(stage, texts, talk))
    if as_json:
        print_json(shown, stage)
    else:
        print_all(Console(file=sys.stdout), shown, stage, time.monotonic() - started)
    return DONE if all(one.as_told for one in shown) else NOT_AS_TOLD


async def _scenes(stage: Stage, texts: list[tuple[str, str]], talk: Console) -> list[Shown]:
    name, text = texts[0]
    async with Producer.connect(stage.redis_url, tenant=TENANT) as producer:
        with LiveJobs(talk, total=3 * len(texts) + 3) as live:
            shown = await work(producer, texts, live.on_event)
            if not any(one.state == "succeeded" for one in shown):
                return shown  # the model does not answer: there is nothing to show with it
            shown.append(await deduplicated(producer, name, text))
            shown.append(await degraded(producer, name, text, live.on_event))
            shown += await dead_and_replayed(producer, name, text, stage.model.target, live.on_event)
    return shown
