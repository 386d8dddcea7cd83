import errno
import resource
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from structlog.testing import capture_logs

from shmq.errors import ConfigError
from shmq.workers.connection import Limits, host_of, name_of
from shmq.workers.listening import listen_on
from shmq.workers.sockets import RECEIVE_BYTES, RECEIVES_PER_POLL, WRITABLE
from tests.support.readiness import is_readable, is_writable
from tests.support.server_harness import (
    LIMITS,
    WAIT_MS,
    Harness,
    ReactorHarness,
    frame,
    receive_exactly,
)


@pytest.fixture(params=[Harness, ReactorHarness], ids=["python", "reactor"])
def harness(request: pytest.FixtureRequest) -> Iterator[Harness]:
    running = request.param()
    yield running
    running.stop()


@pytest.fixture
def python_harness() -> Iterator[Harness]:
    running = Harness()
    yield running
    running.stop()


@contextmanager
def harness_with(kind: type[Harness], **changed: int) -> Iterator[Harness]:
    values = {name: getattr(LIMITS, name) for name in LIMITS.__slots__} | changed
    running = kind(Limits(**values))
    try:
        yield running
    finally:
        running.stop()


def test_whole_frames_come_out_with_their_connection(harness: Harness) -> None:
    client, connection = harness.join()
    client.sendall(frame(b"one") + frame(b"two"))
    harness.poll_until(lambda: len(harness.frames) == 2)
    assert [(each.id, cut.body) for each, cut in harness.frames] == [
        (connection.id, b"one"),
        (connection.id, b"two"),
    ]


def test_a_frame_in_pieces_waits_until_it_is_whole(harness: Harness) -> None:
    client, _ = harness.join()
    whole = frame(b"body")
    client.sendall(whole[:9])
    harness.poll_until(lambda: harness.held_bytes(harness.server.connections[0]) == 9)
    assert harness.frames == []
    client.sendall(whole[9:])
    harness.poll_until(lambda: harness.frames)
    assert harness.frames[0][1].body == b"body"


def test_a_connection_knows_both_ends_and_its_listener(harness: Harness) -> None:
    client, connection = harness.join(port_index=1)
    assert connection.peer == host_of(client.getsockname())
    assert connection.local == (b"\x7f\x00\x00\x01", harness.ports[1])
    assert (connection.is_vip, connection.listener) == (True, 1)
    assert name_of(connection.local) == f"127.0.0.1:{harness.ports[1]}"


def test_ids_are_never_given_twice(harness: Harness) -> None:
    client, first = harness.join()
    client.close()
    harness.poll_until(lambda: harness.server.closed)
    _, second = harness.join()
    assert second.id > first.id


def test_an_ipv4_address_mapped_into_ipv6_is_ipv4() -> None:
    assert host_of(("::ffff:10.1.2.3", 80, 0, 0)) == (b"\x0a\x01\x02\x03", 80)
    assert host_of(("fe80::1%eth0", 80, 0, 3)).address == b"\xfe\x80" + bytes(13) + b"\x01"
    assert name_of(host_of(("::1", 80, 0, 0))) == "[::1]:80"


def test_what_is_sent_arrives_in_order(harness: Harness) -> None:
    client, connection = harness.join()
    harness.send(connection, [b"head ", memoryview(b"the body")[4:]])
    harness.send(connection, [b"", b" tail"])
    assert receive_exactly(client, 14) == b"head body tail"


def test_more_pieces_than_one_call_takes_arrive(harness: Harness) -> None:
    client, connection = harness.join()
    pieces = [index.to_bytes(4, "big") for index in range(5000)]
    harness.send(connection, pieces)
    harness.poll_until(lambda: not harness.output_bytes(connection))
    assert receive_exactly(client, 20_000) == b"".join(pieces)


def test_output_that_a_peer_does_not_take_at_once_arrives(harness: Harness) -> None:
    client, connection = harness.join()
    mapped = bytearray(range(256)) * (64 << 10)
    harness.send(connection, [memoryview(mapped)])
    assert harness.output_bytes(connection) > 0
    received = bytearray()
    while len(received) < len(mapped):
        harness.poll()
        received += client.recv(1 << 20)
    assert received == mapped
    harness.poll()
    assert harness.output_bytes(connection) == 0


def test_output_that_a_peer_does_not_take_at_once_waits_uncopied(python_harness: Harness) -> None:
    _, connection = python_harness.join()
    mapped = bytearray(16 << 20)
    python_harness.send(connection, [memoryview(mapped)])
    waiting = connection.output[0]
    assert isinstance(waiting, memoryview)
    assert waiting.obj is mapped


def test_a_server_with_nothing_to_write_sleeps(harness: Harness) -> None:
    client, connection = harness.join()
    harness.send(connection, [bytes(8 << 20)])
    receive = 8 << 20
    while harness.output_bytes(connection):
        receive -= len(client.recv(1 << 20))
        harness.poll()
    receive_exactly(client, receive)
    assert harness.server._epoll.poll(0) == []


def test_a_reader_too_slow_for_its_output_is_closed(harness: Harness) -> None:
    _, connection = harness.join()
    _, other = harness.join()
    harness.send(connection, [bytes(32 << 20)])
    assert connection.is_open  # one answer is never too much
    with capture_logs() as lines:
        harness.send(connection, [bytes(1)])
    assert not connection.is_open
    assert harness.server.closed == [connection]
    assert other.is_open
    assert "too slow a reader" in lines[0]["reason"]
    harness.send(connection, [b"dropped"])
    assert harness.output_bytes(connection) == 0


def test_a_peer_that_closes_is_told_of_once(harness: Harness) -> None:
    client, connection = harness.join()
    client.sendall(frame(b"last words"))
    client.close()
    harness.poll_until(lambda: harness.server.closed)
    assert harness.frames[0][1].body == b"last words"
    assert harness.server.closed == [connection]
    assert harness.server.connections == ()


def test_a_peer_that_resets_is_dropped(harness: Harness) -> None:
    client, connection = harness.join()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    harness.poll_until(lambda: harness.server.closed)
    assert harness.server.closed == [connection]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(60), "TLS"),
        (struct.pack(">i", 0), "length 0"),
        (struct.pack(">i", -1), "length -1"),
        (struct.pack(">i", (16 << 20) + 1), "length 16777217"),
        (struct.pack(">II", 100, 97), "header length 97"),
        (b"\xde\xad\xbe\xef" * 100, "length"),
    ],
)
def test_what_is_no_frame_closes_its_connection_alone(harness: Harness, sent: bytes, reason: str) -> None:
    client, connection = harness.join()
    neighbour, _ = harness.join()
    with capture_logs() as lines:
        client.sendall(sent)
        harness.poll_until(lambda: harness.server.closed)
    assert harness.server.closed == [connection]
    (line,) = lines
    assert line["log_level"] == "warning"
    assert reason in line["reason"]
    neighbour.sendall(frame(b"unimpressed"))
    harness.poll_until(lambda: harness.frames)
    assert harness.frames[0][1].body == b"unimpressed"


def test_a_half_sent_frame_that_ends_is_logged(harness: Harness) -> None:
    client, _ = harness.join()
    with capture_logs() as lines:
        client.sendall(frame(b"whole")[:-1])
        client.close()
        harness.poll_until(lambda: harness.server.closed)
    assert [line["log_level"] for line in lines] == ["info"]
    assert harness.frames == []


def test_an_idle_connection_expires_and_an_active_one_stays(harness: Harness) -> None:
    _, idle = harness.join()
    client, active = harness.join()
    while harness.last_active_ms(active) - harness.last_active_ms(idle) < 10:
        harness.clock.now_ms += 10
        client.sendall(frame(b""))
        harness.frames.clear()
        harness.poll_until(lambda: harness.frames)
    last_ms = harness.last_active_ms(idle)
    harness.server.expire_idle(last_ms + LIMITS.idle_ms)
    assert harness.server.closed == []
    with capture_logs() as lines:
        harness.server.expire_idle(last_ms + LIMITS.idle_ms + 1)
    assert harness.server.closed == [idle]
    assert active.is_open
    assert lines[0]["reason"] == f"idle for {LIMITS.idle_ms + 1} ms"


def test_a_greedy_peer_gets_one_share_of_a_poll(harness: Harness) -> None:
    greedy, connection = harness.join()
    modest, other = harness.join()
    share = RECEIVE_BYTES * RECEIVES_PER_POLL
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * share)
    greedy.setblocking(False)
    sent = 0
    while is_writable(greedy):
        sent += greedy.send(frame(bytes(1016)) * 64)
    assert sent > share
    modest.sendall(frame(b"me too"))
    before = sum(len(cut.body) + 10 for each, cut in harness.frames if each is connection)
    while not any(each is other for each, _ in harness.poll()):
        pass
    polls_frames = [cut for each, cut in harness.frames if each is connection]
    assert before == 0
    assert sum(len(cut.body) + 10 for cut in polls_frames) <= 2 * share


def test_paused_reading_leaves_bytes_with_the_peer_and_does_not_spin(harness: Harness) -> None:
    client, connection = harness.join()
    harness.server.pause_reading()
    client.sendall(frame(b"later"))
    harness.poll_until(lambda: harness.is_held_back(connection))
    assert harness.poll() == []
    assert harness.server._epoll.poll(0) == []
    harness.send(connection, [b"still writes"])
    assert receive_exactly(client, 12) == b"still writes"
    harness.server.resume_reading()
    harness.poll_until(lambda: harness.frames)
    assert harness.frames[0][1].body == b"later"


def test_a_peer_that_goes_while_reading_is_paused_is_still_read(harness: Harness) -> None:
    client, connection = harness.join()
    harness.server.pause_reading()
    client.sendall(frame(b"last words"))
    connection.socket.shutdown(socket.SHUT_WR)  # both directions end: a hang-up, which epoll cannot mask
    client.close()
    harness.poll_until(lambda: harness.is_held_back(connection))
    harness.poll()
    assert harness.server._epoll.poll(0) == []
    assert harness.server.closed == []
    harness.server.expire_idle(harness.now_ms() + 10 * LIMITS.idle_ms)
    assert connection.is_open
    harness.server.resume_reading()
    harness.poll_until(lambda: harness.server.closed)
    assert harness.frames[0][1].body == b"last words"


def test_a_watched_descriptor_calls_its_owner(harness: Harness) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        calls: list[bytes] = []
        harness.server.watch(ours.fileno(), lambda: calls.append(ours.recv(10)))
        theirs.send(b"ring")
        harness.poll(WAIT_MS)
        assert calls == [b"ring"]
        harness.server.watch(ours.fileno(), lambda: calls.append(b"room"), WRITABLE)
        harness.poll(WAIT_MS)
        assert calls == [b"ring", b"room"]
        harness.server.unwatch(ours.fileno())
        harness.server.unwatch(ours.fileno())
        theirs.send(b"unheard")
        harness.poll()
        assert len(calls) == 2


@pytest.mark.parametrize("kind", [Harness, ReactorHarness])
def test_more_connections_than_allowed_are_closed_with_one_line(kind: type[Harness]) -> None:
    with harness_with(kind, connections_max=1) as harness, capture_logs() as lines:
        _, first = harness.join()
        refused = [harness.connect() for _ in range(3)]
        for client in refused:
            harness.poll_until(lambda client=client: is_readable(client))
            assert client.recv(1) == b""
        assert harness.server.connections == (first,)
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["connections are refused"]


def test_a_server_without_free_descriptors_rests_and_comes_back(harness: Harness) -> None:
    waiting = harness.connect()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with capture_logs() as lines:
        resource.setrlimit(resource.RLIMIT_NOFILE, (waiting.fileno() + 1, hard))
        try:
            for _ in range(3):
                harness.poll(WAIT_MS)
                assert harness.server._epoll.poll(0) == []
                harness.pass_accept_pause()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert harness.server.connections == ()
        harness.poll(WAIT_MS)
    assert len(harness.server.connections) == 1
    failures = [line for line in lines if line["log_level"] == "error"]
    assert [line["event"] for line in failures] == ["cannot accept connections for now"]
    assert str(errno.EMFILE) in failures[0]["reason"]


def test_a_server_that_stops_accepting_serves_who_is_there(harness: Harness) -> None:
    client, connection = harness.join()
    harness.server.stop_accepting()
    with pytest.raises(ConnectionRefusedError):
        harness.connect()
    client.sendall(frame(b"still here"))
    harness.poll_until(lambda: harness.frames)
    harness.send(connection, [b"so am I"])
    assert receive_exactly(client, 7) == b"so am I"


def test_closing_all_tells_everybody(harness: Harness) -> None:
    client, connection = harness.join()
    harness.server.close_all()
    assert client.recv(1) == b""
    assert harness.server.closed == [connection]


def test_large_frames_arrive_whole(harness: Harness) -> None:
    client, _ = harness.join()
    client.setblocking(False)
    body = bytes(range(256)) * (8 << 12)
    unsent = memoryview(frame(body))
    while unsent:
        if is_writable(client):
            unsent = unsent[client.send(unsent) :]
        harness.poll()
    harness.poll_until(lambda: harness.frames)
    assert harness.frames[0][1].body == body


def test_a_taken_port_is_an_error_of_configuration() -> None:
    with listen_on("127.0.0.1:0") as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"cannot listen on {address}: Address already in use"):
            listen_on(address)


def test_workers_can_share_a_port() -> None:
    with listen_on("127.0.0.1:0", shared=True) as first:
        address = f"127.0.0.1:{first.getsockname()[1]}"
        with listen_on(address, shared=True) as second:
            assert second.getsockname() == first.getsockname()
