"""The provider calls of a job, as Redis keeps them: each one's intent before it was sent, and its end.

An attempt that goes on after its worker died walks the same steps again. Where the journal has the end of a call
it is taken from there, so an answer that was paid for is never bought twice; a call without an end is settled as
unknown, and a new one is made under a new number.

Work in parts makes several calls at a time, each for a :class:`Step`. The calls of a step are a walk of their own, and
an answer that was good once is good for its step in every later attempt of the run. The texts of such answers are
kept apart from the journal, which every claim reads whole.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import orjson

from penstock_schemas.results import Usage
from penstock_worker.llm.errors import CallError
from penstock_worker.llm.port import Answer, SchemaMode, StopReason, ToolCall

EndKind = Literal["answered", "failed", "unknown"]

FACT = re.compile(r":(?:response|tool:\d+)\Z|\Atool:[0-9a-f]{32}\Z")
"""The name of a fact that stands beside calls."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a call is made for, where a job needs more than one answer."""

    name: str
    """``chunk:3``; unique in the run."""
    asked: str
    """Digest of what is asked: an answer to anything else is none for this step."""


@dataclass(slots=True)
class CallEntry:
    """One call: what was intended, and what it came to once that is known."""

    id: str
    """``<run>.<attempt>.<number>``."""
    intent: dict[str, Any]
    kind: EndKind | None = None
    end: dict[str, Any] = field(default_factory=dict)
    probe: bool = False
    """Whether it was made to find out if its target is well again; known only to who makes it."""
    _usage: tuple[dict[str, Any], Usage] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def place(self) -> tuple[int, int, int]:
        """Run, attempt and number."""
        run, attempt, number = self.id.split(".")
        return int(run), int(attempt), int(number)

    @property
    def step(self) -> str:
        """The name of the step that it was made for; "" for none."""
        return str(self.intent.get("step", ""))

    @property
    def text_apart(self) -> str | None:
        """The text of its answer, where that is kept apart from the rest of its end; else None."""
        return self.end.get("text") if self.step else None

    def end_to_keep(self) -> dict[str, Any]:
        """Its end, without what is kept apart."""
        return {name: value for name, value in self.end.items() if name != "text"} if self.step else self.end

    def is_for(self, step: Step | None) -> bool:
        """Whether it was made for *step*, or for none when that is None."""
        if step is None:
            return not self.step
        return self.step == step.name and self.intent.get("asked") == step.asked

    def ended(self, end: bytes) -> None:
        """Take over the end as the hash has it, ``<kind> <JSON>``. Raises ValueError if it cannot be read."""
        kind, _, text = end.partition(b" ")
        if kind not in (b"answered", b"failed", b"unknown"):
            raise ValueError("a call's end is of no known kind")
        self.kind, self.end = cast(EndKind, kind.decode()), _object(text)

    @property
    def cost_nanousd(self) -> int | None:
        """What it is known to have cost; None when its price, or that of what may have been billed, is unknown."""
        if self.kind is None:
            return None if self.intent.get("held_nanousd") is None else 0
        cost: int | None = self.end.get("cost_nanousd")
        return cost

    @property
    def uncertain_nanousd(self) -> int:
        """The most it may have cost beyond what is known; for a call without an end, what was held for it."""
        if self.kind is None:
            return self.intent.get("held_nanousd") or 0
        return int(self.end.get("uncertain_nanousd", 0))

    @property
    def most_tokens(self) -> int:
        """The tokens it took; where that is not known, the most it may have taken."""
        if self.kind is not None and self.end.get("billed") == "no":
            return 0
        known = self.usage.total_tokens if self.usage else None
        return int(self.intent.get("held_tokens", 0)) if known is None else known

    @property
    def usage(self) -> Usage | None:
        """The tokens it took; None when that is not known."""
        told = self.end.get("usage")
        if not told:
            return None
        if self._usage is None or self._usage[0] is not told:
            self._usage = (told, Usage.model_validate(told))
        return self._usage[1]


class Journal:
    """The calls of one job, oldest first, and for each step a cursor over those of the attempt that goes on.

    An attempt that was not charged comes again under the same number: its calls up to *walked* are over, and what
    they came to is no answer for the new one.
    """

    def __init__(
        self, calls: list[CallEntry], run: int, attempt: int, walked: int = 0, last_error: str | None = None
    ) -> None:
        self.calls = sorted(calls, key=lambda call: call.place)
        self._run, self._attempt = run, attempt
        self.last_error = last_error
        """Why the run's attempt before this one failed; None when there was none."""
        self.facts: dict[str, bytes] = {}
        """What was written beside calls, JSON: ``<call id>:tool:<number>``, ``tool:<digest>``, and
        ``<call id>:response``."""
        self._ahead: dict[str, deque[CallEntry]] = {}
        for call in self._of_attempt():
            if call.place[2] > walked:
                self._ahead.setdefault(call.step, deque()).append(call)

    def of_run(self) -> list[CallEntry]:
        """The calls of the current run."""
        return [call for call in self.calls if call.place[0] == self._run]

    def next_past(self, step: Step | None = None) -> CallEntry | None:
        """The next call that this attempt has made for *step* already; None when all have been walked."""
        ahead = self._ahead.get(step.name if step else "")
        while ahead:
            call = ahead.popleft()
            if call.is_for(step):
                return call
        return None

    def next_target(self, step: Step | None = None) -> str | None:
        """The target of the call that :meth:`next_past` gives next; None when all have been walked."""
        ahead = self._ahead.get(step.name if step else "")
        return next((str(call.intent["target"]) for call in ahead if call.is_for(step)), None) if ahead else None

    def arms(self) -> Iterator[str | None]:
        """The arms of experiments that the job's calls were made in, of all its runs, oldest first."""
        return (call.intent.get("arm") for call in self.calls)

    def kept(self, step: Step) -> CallEntry | None:
        """The last call of *step* in what is over of the run, if it was answered.

        If that answer was not good, calls may have followed it, or not: it has to be judged again.
        """
        ahead = {call.id for call in self._ahead.get(step.name, ())}
        over = [call for call in self.of_run() if call.step == step.name and call.id not in ahead]
        return over[-1] if over and over[-1].is_for(step) and over[-1].kind == "answered" else None

    def tried(self, step: Step) -> bool:
        """Whether calls of *step* were made in what is over of the run."""
        ahead = {call.id for call in self._ahead.get(step.name, ())}
        return any(call.step == step.name and call.id not in ahead for call in self.of_run())

    @property
    def in_parts(self) -> bool:
        """Whether the run has begun to work in parts."""
        return any(call.step for call in self.of_run()) if self.calls else False

    def next_id(self) -> str:
        """An id for a new call of this attempt."""
        return f"{self._run}.{self._attempt}.{self.last_number + 1}"

    @property
    def last_number(self) -> int:
        """The number of this attempt's last call, in all its starts; 0 before the first."""
        return max((call.place[2] for call in self._of_attempt()), default=0)

    def _of_attempt(self) -> list[CallEntry]:
        return [call for call in self.calls if call.place[:2] == (self._run, self._attempt)]

    def add(self, call: CallEntry) -> None:
        """Note a call that was just made."""
        self.calls.append(call)


def read_journal(flat: Sequence[bytes], run: int, attempt: int) -> Journal:
    """From the names and values of the hash. Raises ValueError (or KeyError) if it cannot be read."""
    fields = {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}
    calls = [
        CallEntry(name, _object(value)) for name, value in fields.items() if name.count(".") == 2 and ":" not in name
    ]
    for call in calls:
        if (end := fields.get(f"{call.id}:end")) is not None:
            call.ended(end)
    own, before = (_object(fields.get(f"attempt:{run}.{number}", b"{}")) for number in (attempt, attempt - 1))
    journal = Journal(calls, run, attempt, int(own.get("last_call", 0)), own.get("error") or before.get("error"))
    journal.facts.update((name, value) for name, value in fields.items() if FACT.search(name))
    return journal


def _object(text: bytes) -> dict[str, Any]:
    value = orjson.loads(text)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def answer_to_json(answer: Answer) -> dict[str, Any]:
    """What is kept of an answer: all that the next steps need."""
    return {
        "text": answer.text,
        "stop": answer.stop.value,
        "usage": answer.usage.model_dump(mode="json") if answer.usage else None,
        "schema_mode": answer.schema_mode.value if answer.schema_mode else None,
        "request_id": answer.request_id,
        "model": answer.model,
        "service_tier": answer.service_tier,
        "first_content_ms": answer.first_content_ms,
        "took_ms": answer.took_ms,
        **(_calls_to_json(answer) if answer.tool_calls else {}),
    }


def _calls_to_json(answer: Answer) -> dict[str, Any]:
    calls = [[call.id, call.name, call.arguments] for call in answer.tool_calls]
    return {"tool_calls": calls, "carry": list(answer.carry)}


def answer_from_json(end: dict[str, Any]) -> Answer:
    """The answer that :func:`answer_to_json` kept."""
    return Answer(
        text=end["text"],
        stop=StopReason(end["stop"]),
        usage=Usage.model_validate(end["usage"]) if end["usage"] else None,
        schema_mode=SchemaMode(end["schema_mode"]) if end["schema_mode"] else None,
        request_id=end["request_id"],
        model=end["model"],
        service_tier=end["service_tier"],
        first_content_ms=end["first_content_ms"],
        took_ms=end["took_ms"],
        tool_calls=tuple(ToolCall(*call) for call in end.get("tool_calls", ())),
        carry=tuple(end.get("carry", ())),
    )


def error_to_json(error: CallError) -> dict[str, Any]:
    """What is kept of a call's error; the provider's own words stay out."""
    return {
        "error": error.code,
        "status": error.status,
        "retry": error.retry,
        "retry_after_s": error.retry_after_s,
        "billed": error.billed,
        "sent": error.sent,
        "request_id": error.request_id,
        "usage": error.usage.model_dump(mode="json") if error.usage else None,
    }


def error_from_json(end: dict[str, Any]) -> CallError:
    """The error that :func:`error_to_json` kept; a code that this version does not know is a plain CallError."""
    kind = _error_classes(CallError).get(end["error"], CallError)
    return kind(
        sent=end["sent"],
        status=end["status"],
        retry=end["retry"],
        retry_after_s=end["retry_after_s"],
        request_id=end["request_id"],
    )


def _error_classes(base: type[CallError]) -> dict[str, type[CallError]]:
    found = {base.code: base} if "code" in vars(base) else {}
    for kind in base.__subclasses__():
        found.update(_error_classes(kind))
    return found
