"""What the demo prints: progress while it works, then every answer with all that is known about it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from penstock import Event, JobResult
from penstock.letter_report import CallReport
from penstock_simulator.demo.scenes import Shown
from penstock_simulator.demo.stage import Stage

_BUCKETS = {
    "input_tokens": "in",
    "cache_read_tokens": "cached",
    "cache_write_tokens": "cache write",
    "output_tokens": "out",
    "reasoning_tokens": "reasoning",
}
_SCRIPT = Path(__file__).parents[3] / "scripts" / "demo"  # there in the repository only
_COLOURS = {"succeeded": "green", "degraded": "yellow", "dead": "red"}


class LiveJobs:
    """A bar and a line of states on standard error, kept up to date by the jobs' events; nothing without a terminal."""

    def __init__(self, console: Console, total: int) -> None:
        self._states: dict[str, str] = {}
        self._ended: set[tuple[str, int]] = set()
        self._progress = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console)
        self._task = self._progress.add_task("jobs finished", total=total)
        self._line = Text()
        self._live = Live(Group(self._progress, self._line), console=console, transient=True)
        self._shown = console.is_terminal

    def __enter__(self) -> LiveJobs:
        if self._shown:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._live.stop()

    def on_event(self, job_id: str, event: Event) -> None:
        """Note where a job is."""
        if event.type == "progress" and "step" in event.data:
            return  # told by how many parts are done
        self._states[job_id] = _where(event)
        if event.terminal:  # a replay's stream begins with the run before
            self._ended.add((job_id, event.run))
            self._progress.update(self._task, completed=len(self._ended))
        counts = Counter(self._states.values())
        self._line.plain = "  ".join(f"{state} {count}" for state, count in sorted(counts.items()))


def _where(event: Event) -> str:
    if event.type != "progress":
        return event.type
    data = event.data
    return f"parts {data['done']}/{data['total']}" if "total" in data else str(data.get("stage", event.type))


def print_all(console: Console, shown: list[Shown], stage: Stage, took_s: float) -> None:
    """Everything, for people."""
    for panel in _panels(shown):
        console.print(panel)
    console.print(_totals(shown))
    console.print(_who(stage, shown, took_s), markup=False, highlight=False, soft_wrap=True)


def print_json(shown: list[Shown], stage: Stage) -> None:
    """One object per line on standard output."""
    for one in shown:
        sys.stdout.write(orjson.dumps(_as_json(one, stage)).decode() + "\n")


def _as_json(one: Shown, stage: Stage) -> dict[str, Any]:
    result = one.result
    return {
        "scene": one.scene,
        "state": one.state,
        "task": one.task,
        "source": one.source,
        "job_id": one.job_id,
        "note": one.note,
        "simulated": stage.model.simulated,
        "error": one.error.as_dict() if one.error else None,
        "result": result.model_dump(mode="json") if result else None,
        "calls": [call.model_dump(mode="json") for call in one.calls],
        "cost_usd": _money(result.cost_usd) if result and result.cost_usd is not None else None,
        "latency_s": result.latency_s if result else None,
    }


def _panels(shown: list[Shown]) -> Iterator[Panel]:
    """The work on one input in one panel, every other scene in one of its own."""
    for (scene, source), jobs in groupby(shown, key=lambda one: (one.scene, one.source)):
        title = source if scene == "work" else f"{scene}: {source}"
        body = [line for one in jobs for line in _lines(one)]
        yield Panel(Group(*body), title=Text(title, style="bold"), title_align="left", border_style="dim")


def _lines(one: Shown) -> Iterator[Text]:
    if one.note:
        yield Text(one.note, style="italic")
    if one.result is not None:
        yield Text(f"{one.task}: ", style="bold").append(_answer(one.result.output))
        yield _facts(one.result)
    elif one.error is not None:
        yield Text(str(one.error), style="red")
        yield from map(_call_line, one.calls)


def _answer(output: Any) -> Text:
    fields = output if isinstance(output, dict) else output.model_dump(mode="json", exclude_none=True)
    if set(fields) == {"summary"}:
        return Text(fields["summary"], style="default")
    if set(fields) == {"labels"}:
        return Text(", ".join(fields["labels"]) or "none of these", style="default")
    return Text("  ".join(f"{name}={value!r}" for name, value in fields.items()), style="default")


def _facts(result: JobResult[Any]) -> Text:
    made = result.made_by
    tokens = ", ".join(
        f"{label} {count}" for name, label in _BUCKETS.items() if (count := getattr(result.usage, name)) is not None
    )
    facts = Text(f"{result.state}", style=_COLOURS[result.state])
    facts.append(f" · {result.quality}", style="default")
    facts.append(f" ({', '.join(result.reasons)})" if result.reasons else "", style="default")
    line = [
        f"by {made.name}"
        + (f" ({made.model})" if made.model else "")
        + (f", prompt {made.prompt}" if made.prompt else ""),
        f"{_count(result.attempts, 'attempt')}, {_count(result.calls, 'call')}"
        + (f" for {result.chunks} parts" if result.chunks > 1 else ""),
        f"tokens: {tokens or 'none'}",
        f"cost {_money(result.cost_usd)} USD",
        f"{result.latency_s:.2f} s",
    ]
    facts.append(" · " + " · ".join(line), style="dim")
    if result.failure is not None:
        facts.append(f"\nwhy no model answered: {result.failure.message}", style="dim")
    return facts


def _call_line(call: CallReport) -> Text:
    cost = "nothing" if call.cost_nanousd == 0 else "unknown"
    return Text(f"  call {call.call} to {call.target}: {call.error}, {call.took_ms or 0} ms, cost {cost}", style="dim")


def _totals(shown: Iterable[Shown]) -> Table:
    table = Table(title="altogether", title_justify="left", show_header=True, header_style="bold")
    for column in ("state", "jobs", "tokens", "cost, USD"):
        table.add_column(column, justify="left" if column == "state" else "right")
    results = {one.job_id: one.result for one in shown if one.result is not None}
    for state in ("succeeded", "degraded"):
        of_state = [result for result in results.values() if result.state == state]
        tokens = sum(result.usage.total_tokens or 0 for result in of_state)
        costs = [result.cost_usd for result in of_state]
        total = None if None in costs else sum((cost for cost in costs if cost is not None), Decimal(0))
        table.add_row(Text(state, style=_COLOURS[state]), str(len(of_state)), str(tokens), _money(total))
    return table


def _who(stage: Stage, shown: list[Shown], took_s: float) -> str:
    command = "scripts/demo" if _SCRIPT.exists() else "penstock demo"
    if not any(one.state == "succeeded" for one in shown):
        return f"{stage.model.target} did not answer, so the rest of the demo is left out. Above it says why.\n"
    if not stage.model.simulated:
        return f"{stage.model.target} was asked; what it took is real. Done in {took_s:.1f} s.\n"
    return (
        f"A simulator on this machine answered: nothing was sent out, nothing was spent. Done in {took_s:.1f} s.\n"
        f"The costs are those of the same tokens with {stage.model.target}, which it plays.\n\n"
        f"Your own texts:   {command} FILE...\n"
        f"OpenAI:           OPENAI_API_KEY=... {command}\n"
        f"Your own server:  {command} --base-url http://localhost:8000/v1 --model NAME\n"
    )


def _money(amount: Decimal | None) -> str:
    """Exact; unknown is said so."""
    return "unknown" if amount is None else f"{amount.normalize() + 0:f}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
