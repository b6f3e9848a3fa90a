"""The simulated provider without its network: a request goes in, steps to play come out.

1. Authorize and read the request; whatever the real provider refuses is refused here, in its words.
2. Ask the script what should go wrong.
3. Answer, cap the answer at the output limit, let answer faults at it.
4. Count tokens, write documents, let document faults at them; then bytes, then steps.
The bill has the true token counts: faults that falsify usage do so in the documents only.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import Any

from penstock_simulator import serializing, tokens
from penstock_simulator.answers import Answers, real_answer
from penstock_simulator.ask import Answer, Ask, Problem, RefusedError, Request, Usage
from penstock_simulator.bill import Bill, BilledCall
from penstock_simulator.delivery import Charge, Cut, Packet, Step, deliver, plain_steps
from penstock_simulator.faults import Fault, Stage
from penstock_simulator.faults.kinds import Documents
from penstock_simulator.faults.spec import FaultSpecError
from penstock_simulator.latency import Latency
from penstock_simulator.rate import RateLimits
from penstock_simulator.script import Plan, Script
from penstock_simulator.stats import Stats
from penstock_simulator.wire import Wire
from penstock_simulator.wire.openai_request import is_reasoning

MODELS = ("gpt-4o-mini", "gpt-4o", "o3-sim", "sim")
"""The models that are listed when no others are named."""
_EFFORT_TOKENS = {"none": 0, "minimal": 64, "low": 128, "medium": 320, "high": 832, "xhigh": 1600}
_TOKENS_PER_MESSAGE = 3
"""What OpenAI counts for the frame of each message, and once more for the start of the answer."""


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


class Provider:
    """All state of one simulated provider."""

    def __init__(self, settings: Settings, wires: tuple[Wire, ...], bill: Bill) -> None:
        self.settings = settings
        self.wires = wires
        self.bill = bill
        self.stats = Stats()
        self.script = Script(settings.seed)
        self._limits = RateLimits(settings.requests_per_min, settings.tokens_per_min)
        self._prefixes = tokens.PrefixCache()
        self._random = self._seeded()

    def wire_for(self, method: str, path: str) -> Wire | None:
        """The wire format that takes requests for generations at *path*; None if none does."""
        for wire in self.wires:
            if wire.serves(method, path):
                return wire
        return None

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
            return self._refusal(wire, request, call, refused.problem)
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
            self.stats.billed_calls += 1
            self.stats.billed_tokens += call.input_tokens + call.output_tokens

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
            response_id="chatcmpl-" + digest[32:],
        )
        self.bill.add(call)
        self.stats.began()
        return call

    def _perform(self, wire: Wire, request: Request, ask: Ask, call: BilledCall, plan: Plan) -> Performance:
        for fault in _at(plan.faults, Stage.REFUSE):
            raise RefusedError(fault.kind.apply(fault.params, ask))
        prompt_tokens, cached = self._measure(ask)
        self._check_size(ask, prompt_tokens)
        amount = prompt_tokens + (ask.max_output_tokens or 0)
        limit_headers = self._limits.admit(ask.model, amount, self.settings.clock())
        answer, visible = self._answer(ask, plan)
        usage = Usage(prompt_tokens - cached, cached, visible, answer.reasoning_tokens)
        documents = self._documents(wire, ask, answer, usage, call)
        for fault in _at(plan.faults, Stage.DOCUMENT):
            documents = fault.kind.apply(fault.params, documents)
        latency_s = self.settings.latency.draw_s(self._random)
        headers = {**_headers(call, latency_s), **limit_headers}
        packet = serializing.packet(wire, documents, headers, request.keep_alive, latency_s)
        steps = _play(packet, plan.faults, call, request.keep_alive)
        self._count_faults(plan.faults)
        return Performance(call, steps, usage)

    def _documents(self, wire: Wire, ask: Ask, answer: Answer, usage: Usage, call: BilledCall) -> Documents:
        items = wire.stream(ask, answer, usage, call) if ask.stream else [wire.whole(ask, answer, usage, call)]
        return Documents(items, ask.stream, wire.usage_key, wire.terminal_frame if ask.stream else b"", ask)

    def _refusal(self, wire: Wire, request: Request, call: BilledCall, problem: Problem) -> Performance:
        call.status, call.response_id = problem.status, None
        headers = {**_headers(call, 0.0), **problem.headers, "content-type": "application/json"}
        body = serializing.dumps(wire.error(problem))
        packet = Packet(problem.status, headers, [body], keep_alive=request.keep_alive)
        if call.fault is not None:
            self.stats.faults[call.fault] += 1
        return Performance(call, plain_steps(deliver(packet, generated=False)))

    def _count_faults(self, faults: tuple[Fault, ...]) -> None:
        for fault in faults:
            self.stats.faults[fault.name] += 1

    def _answer(self, ask: Ask, plan: Plan) -> tuple[Answer, int]:
        """The answer as it will be sent, and its visible tokens."""
        reasoning = _EFFORT_TOKENS.get(ask.reasoning_effort or "", 320) if is_reasoning(ask.model) else 0
        text = _scripted(plan.answer) if plan.answer is not None else self.settings.answers(ask)
        answer = _capped(Answer(text, reasoning_tokens=reasoning), ask.max_output_tokens)
        for fault in _at(plan.faults, Stage.ANSWER):
            answer = fault.kind.apply(fault.params, ask, answer)
        shown = answer.content if answer.content is not None else answer.refusal or ""
        return answer, tokens.count(shown) if self.settings.count_tokens else len(shown) // 4 + 1

    def _measure(self, ask: Ask) -> tuple[int, int]:
        """Tokens of the prompt, and how many of them are cached."""
        if not self.settings.count_tokens:
            return sum(len(message.text) for message in ask.messages) // 4 + 1, 0
        schema = serializing.dumps(ask.schema).decode() if ask.schema is not None else ""
        parts = tokens.pieces(schema)
        for message in ask.messages:
            parts += [message.role, *tokens.pieces(message.text)]
        frame = _TOKENS_PER_MESSAGE * (len(ask.messages) + 1)
        return len(parts) + frame, self._prefixes.look_up(f"{ask.model}\0{ask.cache_key}", parts)

    def _check_size(self, ask: Ask, prompt_tokens: int) -> None:
        window = self.settings.context_tokens
        output = ask.max_output_tokens or 0
        if self.settings.models is not None and ask.model not in self.settings.models:
            message = f"The model `{ask.model}` does not exist or you do not have access to it."
            raise RefusedError(Problem(404, message, code="model_not_found"))
        if prompt_tokens + output <= window:
            return
        message = (
            f"This model's maximum context length is {window} tokens. However, you requested "
            f"{prompt_tokens + output} tokens ({prompt_tokens} in the messages, {output} in the completion). "
            "Please reduce the length of the messages or completion."
        )
        raise RefusedError(Problem(400, message, param="messages", code="context_length_exceeded"))


def _at(faults: tuple[Fault, ...], stage: Stage) -> tuple[Fault, ...]:
    return tuple(fault for fault in faults if fault.kind.stage is stage) if faults else ()


def _play(packet: Packet, faults: tuple[Fault, ...], call: BilledCall, keep_alive: bool) -> list[Step]:
    for fault in _at(faults, Stage.BYTES):
        packet = fault.kind.apply(fault.params, packet)
    call.status = packet.status
    delivery = deliver(packet, generated=True)
    steps = plain_steps(delivery)
    for fault in _at(faults, Stage.DELIVERY):
        steps = fault.kind.apply(fault.params, delivery)
    if keep_alive and not packet.keep_alive:
        steps.append(Cut(reset=False))
    return _charged(steps, all(fault.billed for fault in faults))


def _charged(steps: list[Step], billed: bool) -> list[Step]:
    """*steps* with a charge in them, or with none."""
    if not billed:
        return [step for step in steps if not isinstance(step, Charge)]
    return steps if any(isinstance(step, Charge) for step in steps) else [Charge(), *steps]


def _headers(call: BilledCall, latency_s: float) -> dict[str, str]:
    return {
        "content-type": "application/json",
        "x-request-id": call.id,
        "openai-processing-ms": str(int(latency_s * 1000)),
        "openai-version": "2020-10-01",
        "server": "penstock-simulator",
    }


def _scripted(answer: Any) -> str:
    return answer if isinstance(answer, str) else serializing.dumps(answer).decode()


def _capped(answer: Answer, cap: int | None) -> Answer:
    """*answer* within *cap* tokens: reasoning first, the text with what is left."""
    if cap is None:
        return answer
    reasoning = min(answer.reasoning_tokens, cap)
    text, was_cut = tokens.cut(answer.content or "", cap - reasoning)
    return Answer(text, None, "length" if was_cut else "stop", reasoning)
