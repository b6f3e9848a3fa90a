"""Wire formats: one module for each API family, all behind one port."""

from __future__ import annotations

from typing import Protocol

from penstock_simulator.ask import Answer, Ask, JsonObject, Problem, Request, Usage
from penstock_simulator.bill import BilledCall


class Wire(Protocol):
    """One API family. Nothing here does I/O; a request goes in, documents come out."""

    name: str
    usage_key: str
    """The key under which a document carries its token counts."""
    terminal_frame: bytes
    """What ends a stream after the last event's frame; empty when the last event does."""
    stream_content_type: str
    lists: frozenset[str]
    """Paths whose GET lists the models."""

    def serves(self, method: str, path: str) -> bool:
        """Whether a request for a generation comes in at *path*."""

    def read(self, request: Request) -> Ask:
        """Check *request* as strictly as the provider does; RefusedError carries its error answer."""

    def authorize(self, request: Request, api_key: str | None) -> None:
        """RefusedError unless *request* carries *api_key*; None lets everybody in."""

    def whole(self, ask: Ask, answer: Answer, usage: Usage, call: BilledCall) -> JsonObject:
        """The one document of an answer that is not streamed."""

    def stream(self, ask: Ask, answer: Answer, usage: Usage, call: BilledCall) -> list[JsonObject]:
        """The events of a streamed answer, without the terminal frame."""

    def frame(self, event: bytes, document: JsonObject) -> bytes:
        """*event*, the JSON of *document*, as it stands in a stream."""

    def error(self, problem: Problem) -> JsonObject:
        """The document of an error answer."""

    def models(self, names: list[str]) -> JsonObject:
        """The document that lists *names*."""
