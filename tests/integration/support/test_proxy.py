"""The proxy does to a connection what it says, before a real Redis."""

import socket
import threading
from collections.abc import Iterator

import pytest
import redis

from penstock_store.server import RedisServer, free_port
from tests.support.proxy import TcpProxy
from tests.support.wait import wait_until


@pytest.fixture
def proxy(redis_url: str) -> Iterator[TcpProxy]:
    with TcpProxy.to(redis_url) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: TcpProxy) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(proxy.url, decode_responses=True, socket_timeout=10.0) as client:
        yield client


@pytest.fixture
def direct(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


def connect(proxy: TcpProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=10.0)


def read_to_end(connection: socket.socket) -> bytes:
    received = b""
    while piece := connection.recv(65_536):
        received += piece
    return received


def test_passes_everything_in_order(proxy: TcpProxy, client: redis.Redis) -> None:
    """Pipelines and large values come through unchanged."""
    value = "x" * 3_000_000
    with client.pipeline(transaction=False) as pipe:
        for number in range(500):
            pipe.rpush("list", number)
        pipe.set("large", value)
        pipe.execute()
    assert client.lrange("list", 0, -1) == [str(number) for number in range(500)]
    assert client.get("large") == value
    assert proxy.connections == 1


def test_the_end_of_a_side_is_passed_on_and_the_other_direction_stays_open(proxy: TcpProxy) -> None:
    """A client that has half-closed still gets its answer, and then the end."""
    with connect(proxy) as half:
        half.sendall(b"PING\r\n")
        half.shutdown(socket.SHUT_WR)
        assert read_to_end(half) == b"+PONG\r\n"
    wait_until(lambda: proxy.connections == 0)


def test_a_short_delay_lets_everything_through_in_order(proxy: TcpProxy, client: redis.Redis) -> None:
    """What is held back comes later, and nothing overtakes."""
    proxy.delay(0.002)
    for number in range(20):
        client.rpush("list", number)
    assert client.lrange("list", 0, -1) == [str(number) for number in range(20)]


def test_a_long_delay_holds_back_until_passed(proxy: TcpProxy) -> None:
    """What was held back goes on at once when the delay ends, though its time has not come."""
    with connect(proxy) as waiting:
        proxy.delay(3600.0)
        waiting.sendall(b"PING\r\n")
        waiting.settimeout(0.05)
        with pytest.raises(TimeoutError):
            waiting.recv(16)
        proxy.pass_through()
        waiting.settimeout(10.0)
        assert waiting.recv(16) == b"+PONG\r\n"


def test_freeze_accepts_and_forwards_nothing_until_passed(
    proxy: TcpProxy, client: redis.Redis, direct: redis.Redis
) -> None:
    """Old and new connections stay open and silent; afterwards nothing is missing."""
    client.set("key", "before")
    proxy.freeze()
    old, new = connect(proxy), connect(proxy)
    with old, new:
        for each in (old, new):
            each.sendall(b"INCR frozen\r\n")
            each.settimeout(0.05)
            with pytest.raises(TimeoutError):
                each.recv(16)
        assert direct.get("frozen") is None
        proxy.pass_through()
        for each in (old, new):
            each.settimeout(10.0)
            assert each.recv(16).startswith(b":")
    assert direct.get("frozen") == "2"


def test_a_frozen_proxy_hides_that_the_target_died(own_redis_server: RedisServer) -> None:
    """Neither end nor reset comes through before the freeze ends."""
    with TcpProxy.to(own_redis_server.url) as proxy, connect(proxy) as client:
        client.sendall(b"PING\r\n")
        assert client.recv(16) == b"+PONG\r\n"
        proxy.freeze()
        own_redis_server.kill()
        client.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.recv(16)
        proxy.pass_through()
        client.settimeout(10.0)
        assert client.recv(16) == b""


def test_cut_resets_open_connections_and_accepts_new_ones(proxy: TcpProxy) -> None:
    """The client sees RST, not an orderly end."""
    with connect(proxy) as victim:
        victim.sendall(b"PING\r\n")
        victim.recv(16)
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            victim.recv(16)
    with connect(proxy) as fresh:
        fresh.sendall(b"PING\r\n")
        assert fresh.recv(16) == b"+PONG\r\n"


def test_cut_ends_the_connection_at_the_target_too(proxy: TcpProxy, direct: redis.Redis) -> None:
    """The target does not keep a connection nobody holds."""
    with connect(proxy) as victim:
        victim.sendall(b"CLIENT SETNAME victim\r\n")
        victim.recv(16)
        proxy.cut()
    wait_until(lambda: "'victim'" not in str(direct.client_list()))


def test_refuse_resets_new_connections_until_passed(proxy: TcpProxy, client: redis.Redis) -> None:
    """As if nothing listened; afterwards all is as before."""
    client.ping()
    proxy.refuse()
    with pytest.raises(redis.ConnectionError):
        client.ping()
    proxy.pass_through()
    assert client.ping()


def test_a_target_that_is_down_is_a_reset() -> None:
    """The proxy accepts, but cannot connect on."""
    with (
        TcpProxy("127.0.0.1", free_port()) as nowhere,
        pytest.raises(ConnectionResetError),  # by either call
        connect(nowhere) as client,
    ):
        client.recv(16)


def test_a_dropped_reply_means_that_the_request_was_done(
    proxy: TcpProxy, client: redis.Redis, direct: redis.Redis
) -> None:
    """The client's connection breaks, once; the target has executed exactly the one request."""
    client.incr("count")
    proxy.drop_next_reply(containing=b"count")
    assert client.set("other", "1")
    with pytest.raises(redis.ConnectionError):
        client.incr("count")
    proxy.wait_dropped()
    assert direct.get("count") == "2"
    assert client.incr("count") == 3


def test_a_dropped_reply_in_a_pipeline_lets_the_whole_pipeline_be_done(proxy: TcpProxy, direct: redis.Redis) -> None:
    """Replies to earlier requests on the way do not make the proxy cut before the target has read them all."""
    requests = 2_000
    with connect(proxy) as client:
        proxy.drop_next_reply(containing=b"last")
        client.sendall(b"INCR count\r\n" * requests + b"SET last 1\r\n")
        with pytest.raises(ConnectionResetError):
            read_to_end(client)
    proxy.wait_dropped()
    assert (direct.get("count"), direct.get("last")) == (str(requests), "1")


def test_a_text_spread_over_two_pieces_is_found(proxy: TcpProxy, direct: redis.Redis) -> None:
    """The proxy sees pieces, not requests."""
    with connect(proxy) as client:
        proxy.drop_next_reply(containing=b"needle")
        client.sendall(b"PING\r\nSET nee")
        assert client.recv(16) == b"+PONG\r\n"
        client.sendall(b"dle 1\r\n")
        with pytest.raises(ConnectionResetError):
            client.recv(16)
    proxy.wait_dropped()
    assert direct.get("needle") == "1"


def test_a_text_sent_before_arming_does_not_count(proxy: TcpProxy) -> None:
    """Only a request that comes after the call is meant."""
    with connect(proxy) as client:
        client.sendall(b"ECHO needle\r\n")
        client.recv(32)
        proxy.drop_next_reply(containing=b"needle")
        client.sendall(b"PING\r\n")
        assert client.recv(16) == b"+PONG\r\n"


def test_control_comes_from_any_thread(proxy: TcpProxy, client: redis.Redis) -> None:
    """A call has taken effect when it returns."""
    client.ping()
    thread = threading.Thread(target=proxy.refuse)
    thread.start()
    thread.join()
    with pytest.raises(redis.ConnectionError):
        client.ping()


def test_closing_the_proxy_frees_its_port_and_ends_its_thread(redis_url: str) -> None:
    """Nothing of it stays behind."""
    before = threading.active_count()
    with TcpProxy.to(redis_url) as proxy, connect(proxy) as client:
        client.sendall(b"PING\r\n")
        client.recv(16)
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)


def test_replies_are_corrupted_in_place(proxy: TcpProxy, client: redis.Redis) -> None:
    """As long as they were; requests are left as they are."""
    proxy.corrupt(b"salt", b"malt")
    assert client.set("key", "salt")
    assert client.get("key") == "malt"
    with pytest.raises(ValueError, match="as long"):
        proxy.corrupt(b"salt", b"pepper")
