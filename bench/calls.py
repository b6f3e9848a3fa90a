"""Calls to a model that answers at once: what a call costs us, beside the bare HTTP libraries."""

import argparse
import asyncio
import multiprocessing
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection

import aiohttp
import httpx
import orjson
import uvloop
from httpx_aiohttp import AiohttpTransport

from bench import jobs
from bench.support import Bench, Run, median_run
from bench.workers import streams
from penstock_worker.llm.client import HttpModelClient
from penstock_worker.llm.port import CallRequest, Target

CALLS, STREAMS, IN_FLIGHT = 6_000, 1_500, 100
DELTAS = 60
TEXT = "word " * DELTAS
USAGE = {"prompt_tokens": 500, "completion_tokens": DELTAS, "total_tokens": 500 + DELTAS}
PROMPT = "Summarize this. " * 120
HEADERS = {"authorization": "Bearer sk", "content-type": "application/json", "accept-encoding": "identity"}

Once = Callable[[], Awaitable[object]]


def _whole() -> bytes:
    message = {"role": "assistant", "content": TEXT, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = orjson.dumps({"id": "chatcmpl-1", "model": "m", "choices": [choice], "usage": USAGE})
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def _stream() -> bytes:
    def event(data: bytes) -> bytes:
        line = b"data: " + data + b"\n\n"
        return b"%x\r\n" % len(line) + line + b"\r\n"

    def chunk(choices: list[object], usage: object = None) -> bytes:
        top = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "m", "choices": choices, "usage": usage}
        return event(orjson.dumps(top))

    pieces = [chunk([{"index": 0, "delta": {"content": "word "}, "finish_reason": None}]) for _ in range(DELTAS)]
    end = [chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}]), chunk([], USAGE), event(b"[DONE]")]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(pieces + end) + b"0\r\n\r\n"


class _FixedAnswer(asyncio.Protocol):
    """Answers each request with bytes made beforehand."""

    whole, stream = _whole(), _stream()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._held = transport, b""

    def data_received(self, data: bytes) -> None:
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            length = int(self._held[:end].lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            if len(self._held) < end + 4 + length:
                return
            body, self._held = self._held[end + 4 : end + 4 + length], self._held[end + 4 + length :]
            self._transport.write(self.stream if b'"stream":true' in body else self.whole)  # type: ignore[attr-defined]


def _serve(pipe: Connection) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(_FixedAnswer, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(run())


def _serve_streams(pipe: Connection, many: int) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(streams.PacedAnswer, "127.0.0.1", 0, backlog=4096)
        pipe.send(server.sockets[0].getsockname()[1])
        await streams.pace(many, pipe)

    uvloop.run(run())


async def _measure(bench: Bench, calls: int, once: Once) -> Run:
    await asyncio.gather(*(once() for _ in range(IN_FLIGHT)))
    left = iter(range(calls))

    async def caller() -> None:
        for _ in left:
            await once()

    watch = bench.stopwatch()
    await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))
    return watch.stop(calls)


async def _aiohttp(bench: Bench, url: str, body: bytes) -> Run:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def once() -> object:
            async with session.post(url, data=body, headers=HEADERS) as response:
                return orjson.loads(await response.read())

        return await _measure(bench, CALLS, once)


async def _transport(bench: Bench, url: str, body: bytes) -> Run:
    transport = AiohttpTransport(verify=False, limits=httpx.Limits(max_connections=None))
    where = httpx.URL(url)

    async def once() -> object:
        request = httpx.Request("POST", where, headers=HEADERS, content=body)
        response = await transport.handle_async_request(request)
        try:
            return orjson.loads(await response.aread())
        finally:
            await response.aclose()

    try:
        return await _measure(bench, CALLS, once)
    finally:
        await transport.aclose()


async def _client(bench: Bench, base_url: str, *, stream: bool) -> Run:
    client = HttpModelClient()
    target = Target(name="bench/m", kind="openai", model="m", base_url=base_url, allow_private=True)
    request = CallRequest(system="Be brief.", user=PROMPT, max_output_tokens=200, stream=stream)

    async def once() -> object:
        return await client.call(target, request)

    try:
        return await _measure(bench, STREAMS if stream else CALLS, once)
    finally:
        await client.aclose()


def main(argv: list[str]) -> int:
    """Measure aiohttp, httpx' transport over it, and our client, whole and streamed; or many streams at once."""
    if "--peers" in argv:
        return jobs.main(argv)
    with Bench.start(__doc__, argv, rounds=3, add_options=_options) as bench:
        many = bench.arguments.streams
        ours, theirs = multiprocessing.Pipe()
        serve, args = (_serve_streams, (theirs, many)) if many else (_serve, (theirs,))
        server = multiprocessing.get_context("spawn").Process(target=serve, args=args, daemon=True)
        server.start()
        base_url = f"http://127.0.0.1:{ours.recv()}/v1"
        bench.report(_streams(bench, base_url, ours, many) if many else _calls(bench, base_url))
        server.terminate()
    return 0


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--peers", action="store_true", help="as `scripts/bench jobs --peers`: whole jobs, and SDKs")
    parser.add_argument("--streams", type=int, default=0, metavar="N", help="read N streams at once instead")


def _streams(bench: Bench, base_url: str, pipe: Connection, many: int) -> list[dict[str, object]]:
    """The round with the median CPU of each."""
    rows = []
    for asked in (True, False):
        runs = [uvloop.run(streams.read(bench, base_url, pipe, many, asked=asked)) for _ in range(bench.rounds)]
        rows.append(sorted(runs, key=lambda row: float(str(row["cpu_us_per_piece"])))[(len(runs) - 1) // 2])
    return rows


def _calls(bench: Bench, base_url: str) -> list[dict[str, object]]:
    url, body = f"{base_url}/chat/completions", orjson.dumps({"model": "m", "prompt": PROMPT})
    ways: dict[str, Callable[[Bench], Awaitable[Run]]] = {
        "aiohttp alone": lambda bench: _aiohttp(bench, url, body),
        "httpx transport over aiohttp": lambda bench: _transport(bench, url, body),
        "a whole answer": lambda bench: _client(bench, base_url, stream=False),
        f"a stream of {DELTAS} pieces": lambda bench: _client(bench, base_url, stream=True),
    }
    rows: list[dict[str, object]] = []
    for name, way in ways.items():
        run = median_run([uvloop.run(_run(way, bench)) for _ in range(bench.rounds)])
        rows.append({"what": name, "calls": run.items, "per_s": run.per_s, "cpu_us": run.cpu_s * 1e6 / run.items})
    return rows


async def _run(way: Callable[[Bench], Awaitable[Run]], bench: Bench) -> Run:
    return await way(bench)
