"""``penstock demo``."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from penstock import Producer
from penstock_simulator.demo.scenes import Shown, dead_and_replayed, deduplicated, degraded, read_inputs, work
from penstock_simulator.demo.show import LiveJobs, print_all, print_json
from penstock_simulator.demo.stage import Stage, set_up

TENANT = "demo"


def demo(files: Sequence[Path], *, base_url: str | None, model: str | None, as_json: bool) -> int:
    """Run the demo; returns the exit code: 0, or 2 for a file that is no text, or 1 when a job did not end well."""
    talk = Console(stderr=True)
    try:
        inputs = read_inputs(files)
    except (OSError, UnicodeDecodeError) as error:
        talk.print(f"not a readable UTF-8 text: {error}", style="red", markup=False)
        return 2
    started = time.monotonic()
    talk.print("Starting Redis, a provider and two workers …", style="dim", highlight=False)
    with set_up(base_url, model) as stage:
        shown = asyncio.run(_run(stage, inputs, talk))
    if as_json:
        print_json(shown, stage)
    else:
        print_all(Console(file=sys.stdout), shown, stage, time.monotonic() - started)
    return 0 if all(_as_told(one) for one in shown) else 1


async def _run(stage: Stage, inputs: list[tuple[str, str]], talk: Console) -> list[Shown]:
    name, text = inputs[0]
    async with Producer.connect(stage.redis_url, tenant=TENANT) as producer:
        with LiveJobs(talk, total=3 * len(inputs) + 3) as live:
            shown = await work(producer, inputs, live.on_event)
            shown.append(await deduplicated(producer, name, text))
            shown.append(await degraded(producer, name, text, live.on_event))
            shown += await dead_and_replayed(producer, name, text, stage.model.target, live.on_event)
    return shown


def _as_told(one: Shown) -> bool:
    """Whether the scene ended as it is told to."""
    if one.scene == "dead":
        return one.error is not None
    if one.scene == "degraded":
        return one.result is not None and one.result.state == "degraded"
    return one.result is not None
