"""The simulator as a process of its own, for tests that need its CPU or its death apart from theirs."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import orjson

from penstock_simulator.bill import BilledCall, call_from_json
from penstock_simulator.faults.spec import FaultSpecError
from penstock_simulator.script import load_script
from penstock_simulator.stats import Stats, stats_from_json

_POLL_S = 0.01
_REQUEST_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 5.0


class SimulatorProcess:
    """`python -m penstock_simulator` as a child that ends with its parent, however that ends.

    A sync context manager with the methods of `Simulator`. RuntimeError, with what the child said, if it
    does not get ready within *ready_timeout_s*.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int = 0,
        latency: str = "0ms",
        answers: Literal["real", "fixed", "obedient"] = "real",
        script: Path | None = None,
        bill: Path | None = None,
        api_key: str | None = None,
        requests_per_min: int | None = None,
        tokens_per_min: int | None = None,
        ready_timeout_s: float = 20.0,
    ) -> None:
        self._arguments = ["--host", host, "--port", str(port), "--seed", str(seed), "--latency", latency]
        self._arguments += ["--answers", answers, "--tether"]
        self._arguments += ["--script", str(script)] if script is not None else []
        self._arguments += ["--bill", str(bill)] if bill is not None else []
        for name, limit in (("--requests-per-min", requests_per_min), ("--tokens-per-min", tokens_per_min)):
            self._arguments += [name, str(limit)] if limit is not None else []
        self._api_key = api_key
        self._ready_timeout_s = ready_timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""
        """`http://host:port`, once it runs."""

    @property
    def base_url(self) -> str:
        """What OpenAI clients call the base URL: `url` and `/v1`."""
        return f"{self.url}/v1"

    @property
    def pid(self) -> int:
        """The child's process id; RuntimeError when none was started."""
        return self._child().pid

    def start(self) -> None:
        """Start the child and wait until it listens."""
        command = [sys.executable, "-m", "penstock_simulator", *self._arguments]
        self._process = subprocess.Popen(  # noqa: S603  (our own module and arguments)
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self._environment()
        )
        self.url = self._await_ready()

    def stop(self) -> None:
        """End the child in good order, by force after 5 s; a second call does nothing."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._close_pipes()

    def kill(self) -> None:
        """End the child by SIGKILL and wait until it is gone."""
        self._child().kill()
        self._close_pipes()

    def calls(self) -> list[BilledCall]:
        """The calls that the child has in memory."""
        return [call_from_json(row) for row in self._ask("GET", "bill")["calls"]]

    def stats(self) -> Stats:
        """The child's counters at this moment."""
        return stats_from_json(self._ask("GET", "stats"))

    def script(self, rules: Any) -> None:
        """Replace the rules, as `Simulator.script` does; FaultSpecError if they are wrong."""
        rules = load_script(rules) if isinstance(rules, Path) else rules
        self._ask("POST", "script", [rules] if isinstance(rules, str) else rules)

    def reset(self) -> None:
        """Forget rules, calls, counters and the prompt cache."""
        self._ask("POST", "reset", {})

    def until(self, condition: Callable[[Stats], bool], timeout_s: float = 10.0) -> Stats:
        """Wait until *condition* holds of the counters; TimeoutError, with the counters, if it never does."""
        deadline = time.monotonic() + timeout_s
        while not condition(stats := self.stats()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the condition did not hold within {timeout_s} s: {stats}")
            time.sleep(_POLL_S)
        return stats

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()

    def _child(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the simulator was not started")
        return self._process

    def _environment(self) -> dict[str, str]:

        extra = {} if self._api_key is None else {"PENSTOCK_SIMULATOR_API_KEY": self._api_key}
        return {**os.environ, **extra}

    def _await_ready(self) -> str:
        """The URL in the child's ready line; RuntimeError if it ends or stays silent."""

        child = self._child()
        assert child.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ)
            line = child.stdout.readline() if selector.select(self._ready_timeout_s) else b""
        with suppress(orjson.JSONDecodeError):
            ready = orjson.loads(line)
            if ready.get("event") == "simulator_ready":
                return str(ready["url"])
        child.kill()
        self._close_pipes()
        raise RuntimeError(f"the simulator did not start: {line.decode(errors='replace') or 'no ready line'}")

    def _close_pipes(self) -> None:
        child = self._child()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()
        child.wait()
        self._process = None

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else orjson.dumps(body)
        request = urllib.request.Request(f"{self.url}/_simulator/{path}", data, method=method)  # noqa: S310
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_REQUEST_TIMEOUT_S) as answer:
                return orjson.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                message = orjson.loads(error.read())["error"]["message"]
            raise FaultSpecError(message) from None
