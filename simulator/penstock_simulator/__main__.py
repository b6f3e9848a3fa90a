"""The simulator on the command line: `python -m penstock_simulator`."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson

from penstock_simulator.faults import describe
from penstock_simulator.simulator import Simulator

API_KEY_VARIABLE = "PENSTOCK_SIMULATOR_API_KEY"
_EXAMPLE = """\
example:
  python -m penstock_simulator --port 8081 --latency lognormal:median=800ms,p99=6s --bill bill.jsonl
  curl -s localhost:8081/v1/chat/completions -H 'x-simulate: 503 retry-after=2 times=1' \\
    -d '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello"}]}'

A fault is asked for by the header x-simulate, by [[simulate: …]] in the text, by a model's name that ends
in sim-<fault> (sim-503, sim-hang), or by a script. --faults lists them all.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM. 0 done, 2 wrong usage, 3 bad script, latency or bill."""
    options = _parser().parse_args(arguments)
    if options.faults:
        sys.stdout.write(describe() + "\n")
        return 0
    try:
        simulator = _simulator(options)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"penstock simulator: {error}\n")
        return 3
    return _run(simulator, tether=options.tether)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="penstock simulator",
        description="A local LLM provider that fails on command, in the wire formats of OpenAI (Chat Completions and "
        "Responses), Anthropic, Azure OpenAI, Ollama and Gemini.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: loopback)")
    add("--port", type=int, default=0, help="port; 0 for a free one, told in the ready line (default)")
    add("--seed", type=int, default=0, help="same seed and requests, same answers and delays (default 0)")
    add("--latency", default="0ms", help="200ms, uniform:200ms..800ms, lognormal:median=800ms,p99=6s (default 0ms)")
    about = "fixed: least CPU, for benchmarks; obedient: does what the text orders"
    add("--answers", choices=["real", "fixed", "obedient"], default="real", help=about)
    add("--script", type=Path, help="rules in a .json or .toml file")
    add("--bill", type=Path, help="append every call to this JSON Lines file")
    add("--context-tokens", type=int, default=128_000, help="prompt and output may be no more (default 128000)")
    add("--requests-per-min", type=int, help="429 beyond this rate, with the rate headers of the family")
    add("--tokens-per-min", type=int, help="429 beyond this many prompt tokens and output caps a minute")
    add("--faults", action="store_true", help="list all faults and exit")
    add("--tether", action="store_true", help="end when standard input does")
    return parser


def _simulator(options: argparse.Namespace) -> Simulator:
    return Simulator(
        host=options.host,
        port=options.port,
        seed=options.seed,
        latency=options.latency,
        answers=options.answers,
        script=options.script if options.script is not None else (),
        bill=options.bill,
        api_key=os.environ.get(API_KEY_VARIABLE) or None,
        context_tokens=options.context_tokens,
        requests_per_min=options.requests_per_min,
        tokens_per_min=options.tokens_per_min,
    )


def _run(simulator: Simulator, *, tether: bool) -> int:
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(simulator, tether=tether))
    except OSError as error:
        sys.stderr.write(f"penstock simulator: cannot listen: {error}\n")
        return 3
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's event loop where it is installed, else the standard one."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _serve(simulator: Simulator, *, tether: bool) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with simulator:
        ready = {"event": "simulator_ready", "url": simulator.url, "pid": os.getpid()}
        sys.stdout.buffer.write(orjson.dumps(ready, option=orjson.OPT_APPEND_NEWLINE))
        sys.stdout.flush()
        if tether:
            await _watch_parent(loop, ended)
        await ended.wait()


async def _watch_parent(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    """End when standard input does: the other end is held by the parent alone, so its death is seen at once."""

    class _Tether(asyncio.Protocol):
        def connection_lost(self, _error: Exception | None) -> None:
            ended.set()

    await loop.connect_read_pipe(_Tether, sys.stdin)


if __name__ == "__main__":
    sys.exit(main())
