"""The simulated provider without its network: a request goes in, steps to play come out.

1. Authorize and read the request; whatever the real provider refuses is refused here, in its words.
2. Ask the script what should go wrong.
3. Answer, cap the answer at the output limit, let answer faults at it.
4. Count tokens, write documents, let document faults at them; then bytes, then steps.
5. An answer that is made in the background is kept, and charged when its time has come.
The bill has the true token counts: faults that falsify usage do so in the documents only.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import blake2b
from random import Random
from typing import Any

from penstock_simulator import serializing, tokens
from penstock_simulator.answers import Answers, real_answer
from penstock_simulator.ask import Answer, Ask, Problem, RefusedError, Request, ToolCall, Usage, trouble
from penstock_simulator.bill import Bill, BilledCall
from penstock_simulator.delivery import Charge, Packet, Step, deliver, plain_steps
from penstock_simulator.faults import Fault, Stage
from penstock_simulator.faults.kinds import Documents
from penstock_simulator.faults.spec import FaultSpecError
from penstock_simulator.latency import Latency
from penstock_simulator.playing import faults_at, play
from penstock_simulator.prefix_cache import NO_PREFIX, Prefix, PrefixCache, prompt_of
from penstock_simulator.rate import RateLimits
from penstock_simulator.script import Plan, Script
from penstock_simulator.stats import Stats
from penstock_simulator.stored import StoredAnswers
from penstock_simulator.wire import Wire

_NO_USAGE = Usage()


@dataclass(slots=True)
class Settings:
    """How a simulated provider behaves."""

    seed: int = 0
    answers: Answers = real_answer
    latency: Latency = Latency.parse("0ms")  # noqa: RUF009  (immutable)
    api_key: str | None = None
    """The one key that is let in; None lets everybody in."""
    models: tuple[str, ...] | None = None
    """The only models there are; None takes every name."""
    context_tokens: int = 128_000
    """Prompt and output cap together may not be more."""
    requests_per_min: int | None = None
    """Calls let in per minute; None for no limit."""
    tokens_per_min: int | None = None
    """Prompt tokens and output caps let in per minute; None for no limit."""
    count_tokens: bool = True
    """False estimates four characters a token and knows no prompt cache: for measuring others."""
    clock: Callable[[], float] = time.time
    """Seconds since the epoch."""


@dataclass(slots=True)
class Performance:
    """A call and the steps that answer it."""

    call: BilledCall
    steps: list[Step]
    charged: Usage = _NO_USAGE
    prefix: Prefix = NO_PREFIX
    """What of the prompt is cached once the call is charged."""
    due_in_s: float | None = None
    """When to `complete` a generation that goes on behind the connection; None for all others."""
    billed_later: bool = False


class Provider:
    """All state of one simulated provider."""

    def __init__(self, settings: Settings, wires: tuple[Wire, ...], bill: Bill) -> None:
        self.settings = settings
        self.wires = wires
        self.bill = bill
        self.stats = Stats()
        self.script = Script(settings.seed)
        self._limits = RateLimits(settings.requests_per_min, settings.tokens_per_min)
        self._prefixes = PrefixCache()
        self.stored = StoredAnswers(settings.clock)
        self._random = self._seeded()

    def wire_for(self, method: str, path: str) -> Wire | None:
        """The wire format that takes requests for generations at *path*; None if none does."""
        for wire in self.wires:
            if wire.serves(method, path):
                return wire
        return None

    def wire_like(self, request: Request) -> Wire:
        """The wire format in which an error for *request* is best told: the one whose place it is in, or the first."""
        return next((wire for wire in self.wires if wire.owns(request)), self.wires[0])

    def handle(self, wire: Wire, request: Request) -> Performance:
        """The steps that answer *request*. The call counts as in flight until `finish`."""
        call = self._open(wire, request)
        try:
            wire.authorize(request, self.settings.api_key)
            ask = wire.read(request)
            call.model, call.stream = ask.model, ask.stream
            plan = self.script.plan(ask, request, call.caller_id, self.settings.clock())
            call.fault = "+".join(fault.name for fault in plan.faults) or None
            return self._perform(wire, request, ask, call, plan)
        except RefusedError as refused:
            return self._refusal(wire, request, call, wire.worded(refused.problem))
        except FaultSpecError as error:
            problem = Problem(400, f"simulator: {error}", type="simulator_error", code="bad_fault_spec")
            return self._refusal(wire, request, call, problem)
        except Exception:  # a user's answers function may raise anything; the client must still hear of it
            traceback.print_exc()
            problem = Problem(500, "simulator: no answer could be made; see its stderr", "simulator_error")
            return self._refusal(wire, request, call, problem)

    def charge(self, performance: Performance) -> None:
        """The generation is done: its tokens are charged from here on. A second time changes nothing."""
        call = performance.call
        if not call.billed:
            call.billed = True
            call.charge(performance.charged)
            self._prefixes.remember(performance.prefix, self.settings.clock())
            self.stats.billed_calls += 1
            self.stats.billed_tokens += call.input_tokens + call.output_tokens

    def complete(self, performance: Performance) -> None:
        """The time of a generation in the background has come: it is charged, unless it was cancelled in the queue."""
        if performance.billed_later and self.stored.costs(performance.call.response_id):
            self.charge(performance)
            self.bill.write(performance.call)
        self.stored.finish(performance.call.response_id)

    def finish(self, performance: Performance, outcome: str, sent_bytes: int) -> None:
        """The call is over, as *outcome* says; a client that left in mid-generation is charged in full."""
        call = performance.call
        if outcome == "client_left":
            self.stats.disconnects += 1
            if any(isinstance(step, Charge) for step in performance.steps):
                self.charge(performance)
        call.outcome, call.sent_bytes = outcome, sent_bytes
        if not sent_bytes:
            call.status = None
        call.ended_at_ms = int(self.settings.clock() * 1000)
        self.stats.in_flight -= 1
        if call.status is not None:
            self.stats.statuses[call.status] += 1
        self.bill.write(call)

    def reset(self) -> None:
        """Forget rules, counts, calls and the prompt cache, and begin the seed anew; ids go on."""
        self.script.reset()
        self.stats.reset()
        self.bill.clear()
        self._limits.reset()
        self._prefixes.clear()
        self.stored.clear()
        self._random = self._seeded()

    def _seeded(self) -> Random:
        return Random(f"latency:{self.settings.seed}")  # noqa: S311  (repeatable on purpose)

    def _open(self, wire: Wire, request: Request) -> BilledCall:
        number = self.bill.last_number + 1
        digest = blake2b(f"{self.settings.seed}:{number}".encode(), digest_size=28).hexdigest()
        call = BilledCall(
            id="req_" + digest[:32],
            number=number,
            wire=wire.name,
            model="",
            started_at_ms=int(self.settings.clock() * 1000),
            caller_id=request.headers.get("x-client-request-id") or request.headers.get("x-penstock-call-id"),
            response_id=wire.response_id(digest[32:]),
        )
        self.bill.add(call)
        self.stats.began()
        return call

    def _perform(self, wire: Wire, request: Request, ask: Ask, call: BilledCall, plan: Plan) -> Performance:
        for fault in faults_at(plan.faults, Stage.REFUSE):
            raise RefusedError(fault.kind.apply(fault.params, ask))
        prompt_tokens, prefix = self._measure(wire, ask)
        self._check(wire, ask, prompt_tokens)
        amount = prompt_tokens + (ask.max_output_tokens or 0)
        standings = self._limits.admit(ask.model, amount, self.settings.clock())
        answer, visible = self._answer(ask, plan)
        usage = _usage(prompt_tokens, prefix, visible, answer.reasoning_tokens)
        documents = self._documents(wire, ask, answer, usage, call)
        for fault in faults_at(plan.faults, Stage.DOCUMENT):
            documents = fault.kind.apply(fault.params, documents)
        latency_s = self.settings.latency.draw_s(self._random)
        later = ask.store and self._keep(documents, call, latency_s)
        headers = wire.headers(call, latency_s)
        if standings:
            headers |= wire.limit_headers(standings)
        sent_in_s = latency_s if ask.stream or not later else 0.0
        packet = serializing.packet(documents, headers, request.keep_alive, sent_in_s)
        steps = play(packet, plan.faults, call, request.keep_alive, generated=not later)
        self._count_faults(plan.faults)
        billed_later = later and all(fault.billed for fault in plan.faults)
        return Performance(call, steps, usage, prefix, latency_s if later else None, billed_later)

    def _documents(self, wire: Wire, ask: Ask, answer: Answer, usage: Usage, call: BilledCall) -> Documents:
        items = wire.stream(ask, answer, usage, call) if ask.stream else [wire.whole(ask, answer, usage, call)]
        framing = wire.framing(ask)
        return Documents(items, ask.stream, framing, ask, wire, framing.closing if ask.stream else b"")

    def _keep(self, documents: Documents, call: BilledCall, latency_s: float) -> bool:
        """Keep the answer; True if it is made in the background, so that only its beginning is sent now."""
        document = documents.items[-1].get("response") if documents.streamed else documents.items[0]
        if not isinstance(document, dict) or call.response_id is None:
            return False
        background = documents.ask.background
        begun = self.stored.keep(call.response_id, document, latency_s, background=background)
        if background and not documents.streamed:
            documents.items = [begun]
        return background

    def _refusal(self, wire: Wire, request: Request, call: BilledCall, problem: Problem) -> Performance:
        call.status, call.response_id = problem.status, None
        headers = {**wire.headers(call, 0.0), **problem.headers}
        body = serializing.dumps(wire.error(problem, call.id))
        packet = Packet(problem.status, headers, [body], keep_alive=request.keep_alive)
        if problem.status == 200 and call.stream:
            framing = wire.framing(wire.read(request))
            headers["content-type"] = framing.content_type
            packet.frames, packet.streamed = [framing.frame(body, "message", first=True) + framing.closing], True
        if call.fault is not None:
            self.stats.faults[call.fault] += 1
        return Performance(call, plain_steps(deliver(packet, generated=False)))

    def _count_faults(self, faults: tuple[Fault, ...]) -> None:
        for fault in faults:
            self.stats.faults[fault.name] += 1

    def _answer(self, ask: Ask, plan: Plan) -> tuple[Answer, int]:
        """The answer as it will be sent, and its visible tokens."""
        answer = self._honest_answer(ask, plan)
        for fault in faults_at(plan.faults, Stage.ANSWER):
            answer = fault.kind.apply(fault.params, ask, answer)
        shown = answer.content if answer.content is not None else answer.refusal or ""
        for tool_call in answer.tool_calls:
            shown += tool_call.name + tool_call.arguments
        return answer, tokens.count(shown) if self.settings.count_tokens else len(shown) // 4 + 1

    def _honest_answer(self, ask: Ask, plan: Plan) -> Answer:
        """What the script says, a call of the tool that must be called, or what the model says; within the cap."""
        if plan.tool_calls and ask.forced_tool != "":
            said = None if plan.answer is None else _scripted(plan.answer)
            return Answer(said, None, "tool_calls", ask.reasoning_tokens, plan.tool_calls)
        if plan.answer is None and ask.forced_tool and ask.tools:
            tool = next((tool for tool in ask.tools if tool.name == ask.forced_tool), ask.tools[0])
            text = self.settings.answers(replace(ask, schema=tool.schema or {"type": "object"}))
            called = (ToolCall(tool.name, text),)
            return Answer(None, None, "tool_calls", reasoning_tokens=ask.reasoning_tokens, tool_calls=called)
        text = _scripted(plan.answer) if plan.answer is not None else self.settings.answers(ask)
        return _capped(Answer(text, reasoning_tokens=ask.reasoning_tokens), ask.max_output_tokens)

    def _measure(self, wire: Wire, ask: Ask) -> tuple[int, Prefix]:
        """Tokens of the prompt, and what of it is cached."""
        if not self.settings.count_tokens:
            return sum(len(message.text) for message in ask.messages) // 4 + 1, NO_PREFIX
        prompt = prompt_of(ask, serializing.dumps(ask.schema).decode() if ask.schema is not None else "")
        rule = wire.cache_rule(ask)
        if rule is None:
            return prompt.tokens, NO_PREFIX
        scope = f"{wire.name}\0{ask.model}\0{ask.cache_key}"
        return prompt.tokens, self._prefixes.look_up(scope, prompt, rule, self.settings.clock())

    def _check(self, wire: Wire, ask: Ask, prompt_tokens: int) -> None:
        if self.settings.models is not None and ask.model not in self.settings.models:
            raise RefusedError(trouble("model_not_found", model=ask.model))
        problem = wire.too_long(ask, prompt_tokens, self.settings.context_tokens)
        if problem is not None:
            raise RefusedError(replace(problem, facts={"model": ask.model, **problem.facts}))


def _usage(prompt_tokens: int, prefix: Prefix, visible: int, reasoning: int) -> Usage:
    uncached = prompt_tokens - prefix.cached - prefix.writes_5m - prefix.writes_1h
    return Usage(uncached, prefix.cached, visible, reasoning, prefix.writes_5m, prefix.writes_1h)


def _scripted(answer: Any) -> str:
    return answer if isinstance(answer, str) else serializing.dumps(answer).decode()


def _capped(answer: Answer, cap: int | None) -> Answer:
    """*answer* within *cap* tokens: reasoning first, the text with what is left."""
    if cap is None:
        return answer
    reasoning = min(answer.reasoning_tokens, cap)
    text, was_cut = tokens.cut(answer.content or "", cap - reasoning)
    return Answer(text, None, "length" if was_cut else "stop", reasoning)
