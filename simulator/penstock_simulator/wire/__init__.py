"""Wire formats: one module for each API family, all behind one port."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from penstock_simulator.ask import Answer, Ask, JsonObject, Problem, Request, Usage
from penstock_simulator.bill import BilledCall
from penstock_simulator.delivery import Framing
from penstock_simulator.prefix_cache import CacheRule
from penstock_simulator.rate import Standing
from penstock_simulator.wire.shape import Shape


class Wire(Protocol):
    """One API family. Nothing here does I/O; a request goes in, documents come out."""

    name: str
    shape: Shape
    """Where its documents keep what faults bend."""
    known_models: tuple[str, ...]
    """The models that are listed when no others are named."""

    def serves(self, method: str, path: str) -> bool:
        """Whether a request for a generation comes in at *path*."""

    def owns(self, request: Request) -> bool:
        """Whether *request*, which nobody serves, is in this family's part of the paths."""

    def lists(self, request: Request) -> bool:
        """Whether *request* asks for the list of models in this format."""

    def authorize(self, request: Request, api_key: str | None) -> None:
        """RefusedError unless *request* carries *api_key*; None lets everybody in."""

    def read(self, request: Request) -> Ask:
        """Check *request* as strictly as the provider does; RefusedError carries its error answer."""

    def cache_rule(self, ask: Ask) -> CacheRule | None:
        """How the prompt of *ask* is cached; None for not at all, or where it shows nowhere."""

    def too_long(self, ask: Ask, prompt_tokens: int, window: int) -> Problem | None:
        """What the provider says when the prompt, or prompt and output cap, do not fit; None when they do."""

    def response_id(self, digest: str) -> str | None:
        """The id inside the answer's document, made of hex digits; None where there is none."""

    def headers(self, call: BilledCall, latency_s: float) -> dict[str, str]:
        """The headers of every answer, errors included."""

    def limit_headers(self, standings: Sequence[Standing]) -> dict[str, str]:
        """The headers that tell how rate limits stand."""

    def whole(self, ask: Ask, answer: Answer, usage: Usage, call: BilledCall) -> JsonObject:
        """The one document of an answer that is not streamed."""

    def stream(self, ask: Ask, answer: Answer, usage: Usage, call: BilledCall) -> list[JsonObject]:
        """The events of a streamed answer."""

    def framing(self, ask: Ask) -> Framing:
        """How the events stand in the body of a streamed answer to *ask*."""

    def worded(self, problem: Problem) -> Problem:
        """*problem* with this provider's status, type, code, words and headers where it has none of its own."""

    def error(self, problem: Problem, request_id: str) -> JsonObject:
        """The document of an error answer."""

    def error_event(self, problem: Problem) -> JsonObject:
        """The event that tells of *problem* in mid-stream."""

    def models(self, names: Sequence[str]) -> JsonObject:
        """The document that lists *names*."""
