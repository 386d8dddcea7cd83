import os
import resource
import socket
import struct
import time
from collections.abc import Iterator

import numpy as np
import pytest
from structlog.testing import capture_logs

from shmq.fastpath import connections, desk
from shmq.memory import region
from shmq.memory.endian import store_native_i64
from shmq.memory.words import load_word, store_word
from shmq.ring import doorbell, spsc, waiting
from shmq.store import watermarks
from shmq.workers import reactor_rows, reactor_state
from shmq.workers.connection import Limits
from shmq.workers.reactor_input import DIRECT_BYTES, SCRATCH_BYTES, SHARE_BYTES
from shmq.workers.reactor_output import KEPT_BYTES_MAX
from shmq.workers.runner import wall_ms
from tests.support.readiness import is_writable
from tests.support.server_harness import LIMITS, WAIT_MS, ReactorHarness, frame, receive_exactly

MANY = 2000


@pytest.fixture
def harness() -> Iterator[ReactorHarness]:
    running = ReactorHarness()
    yield running
    running.stop()


def feed(harness: ReactorHarness, client: socket.socket, sent: bytes) -> None:
    """Send bytes that may be more than the socket takes, while the server reads."""
    client.setblocking(False)
    unsent = memoryview(sent)
    while unsent:
        if is_writable(client):
            unsent = unsent[client.send(unsent) :]
        harness.poll()


def bodies(harness: ReactorHarness) -> list[bytes]:
    return [each.body for _, each in harness.frames]


def test_frames_cut_at_every_byte_come_out_the_same(harness: ReactorHarness) -> None:
    client, connection = harness.join()
    stream = frame(b"first") + frame(b"", b"") + frame(b"third", b'{"code":1}')
    for cut in range(1, len(stream)):
        client.sendall(stream[:cut])
        whole = sum(cut >= end for end in (15, 23, len(stream)))
        harness.poll_until(lambda whole=whole: len(harness.frames) == whole)
        held = cut - (0, 15, 23)[whole]
        harness.poll_until(lambda held=held: harness.held_bytes(connection) == held)
        client.sendall(stream[cut:])
        harness.poll_until(lambda: len(harness.frames) == 3)
        assert bodies(harness) == [b"first", b"", b"third"]
        assert [each.header for _, each in harness.frames] == [b"{}", b"", b'{"code":1}']
        assert harness.held_bytes(connection) == 0
        harness.frames.clear()


@pytest.mark.parametrize("size", [DIRECT_BYTES - 11, DIRECT_BYTES, 100_000, SCRATCH_BYTES, SCRATCH_BYTES + 7])
@pytest.mark.parametrize("piece", [1000, DIRECT_BYTES, 70_001])
def test_long_frames_in_pieces_come_out_between_short_ones(
    harness: ReactorHarness, size: int, piece: int
) -> None:
    client, connection = harness.join()
    body = np.random.default_rng(size).bytes(size)
    stream = frame(b"before") + frame(body) + frame(b"between") + frame(body[::-1]) + frame(b"behind")
    for at in range(0, len(stream), piece):
        client.sendall(stream[at : at + piece])
        harness.poll()
    harness.poll_until(lambda: len(harness.frames) == 5)
    assert bodies(harness) == [b"before", body, b"between", body[::-1], b"behind"]
    row = harness.server.row_of(connection)
    assert (row["input"], row["input_capacity"]) == (0, 0)


def test_the_longest_frame_passes_and_a_longer_one_does_not(harness: ReactorHarness) -> None:
    client, _ = harness.join()
    body = bytes(LIMITS.frame_bytes_max - 10)
    feed(harness, client, frame(body))
    harness.poll_until(lambda: harness.frames)
    assert bodies(harness) == [body]
    with capture_logs() as lines:
        client.send(struct.pack(">i", LIMITS.frame_bytes_max - 3))
        harness.poll_until(lambda: harness.server.closed)
    assert lines[0]["reason"] == f"impossible frame length {LIMITS.frame_bytes_max - 3}"


def test_a_frame_that_does_not_come_costs_what_came(harness: ReactorHarness) -> None:
    client, connection = harness.join()
    client.sendall(struct.pack(">II", (16 << 20) - 4, 2) + bytes(100_000))
    harness.poll_until(lambda: harness.held_bytes(connection) == 100_008)
    assert harness.server.row_of(connection)["input_capacity"] < 4 * 100_000


def test_frames_before_one_that_is_none_are_still_served(harness: ReactorHarness) -> None:
    client, connection = harness.join()
    client.sendall(frame(b"good") + b"GET / HTTP/1.1\r\n")
    harness.poll_until(lambda: harness.server.closed)
    assert bodies(harness) == [b"good"]
    assert harness.server.closed == [connection]


def test_a_connection_gets_its_share_of_a_round(harness: ReactorHarness) -> None:
    client, connection = harness.join()
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * SHARE_BYTES)
    client.setblocking(False)
    sent = 0
    while is_writable(client):
        sent += client.send(frame(bytes(1014)) * 64)
    assert sent > 2 * SHARE_BYTES
    assert 0 < sum(len(cut.body) for _, cut in harness.poll()) <= SHARE_BYTES + SCRATCH_BYTES


def test_answers_of_one_round_go_together(harness: ReactorHarness) -> None:
    client, connection = harness.join()
    for index in range(100):
        harness.server.send(connection, [b"answer ", str(index).encode()])
    assert harness.output_bytes(connection) > 0
    harness.poll()
    expected = b"".join(b"answer %d" % index for index in range(100))
    assert client.recv(1 << 16) == expected


def test_a_quiet_connection_holds_no_room_for_output() -> None:
    harness = ReactorHarness(Limits(1 << 20, 1 << 20, 4, 60_000))
    _, connection = harness.join()
    harness.send(connection, [b"answer"])
    assert harness.server.row_of(connection)["output_capacity"] > 0
    harness.server.expire_idle(wall_ms() + 30_000)
    assert connection.is_open
    assert harness.server.row_of(connection)["output"] == 0
    harness.stop()


def test_room_for_much_output_is_given_back_when_it_is_sent(harness: ReactorHarness) -> None:
    client, connection = harness.join()
    harness.send(connection, [bytes(8 << 20)])
    left = 8 << 20
    while left:
        left -= len(client.recv(1 << 20))
        harness.poll()
    harness.poll_until(lambda: not harness.output_bytes(connection))
    assert harness.server.row_of(connection)["output_capacity"] <= KEPT_BYTES_MAX
    assert harness.server.output_bytes == 0


def test_a_slow_reader_gets_everything_in_order(harness: ReactorHarness) -> None:
    client, connection = harness.join()
    expected = bytearray()
    received = bytearray()
    most = 0
    rng = np.random.default_rng(1)
    for _ in range(300):
        piece = rng.bytes(int(rng.integers(1, 100_000)))
        expected += piece
        harness.server.send(connection, [piece])
        harness.poll()
        most = max(most, harness.output_bytes(connection))
        while harness.output_bytes(connection) > LIMITS.output_bytes_max // 2:
            received += client.recv(100_000)
            harness.poll()
    while len(received) < len(expected):
        received += client.recv(1 << 20)
        harness.poll()
    assert most > LIMITS.output_bytes_max // 4
    assert received == expected


def test_many_connections_are_served_each_its_own_frames() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * MANY + 100), hard))
    harness = ReactorHarness(Limits(1 << 20, 1 << 20, MANY, 60_000))
    clients = []
    for _ in range(MANY):
        clients.append(harness.connect())
        harness.poll()
    harness.poll_until(lambda: len(harness.server.connections) == MANY)
    for index, client in enumerate(clients):
        client.sendall(frame(b"%d" % index))
    harness.poll_until(lambda: len(harness.frames) == MANY)
    for connection, cut in harness.frames:
        harness.server.send(connection, [cut.body.rjust(8)])
    harness.server.flush()
    for index, client in enumerate(clients):
        assert receive_exactly(client, 8) == b"%8d" % index
    harness.stop()
    assert len(harness.server.closed) == MANY
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_connections_that_come_and_go_take_the_same_rows(harness: ReactorHarness) -> None:
    for turn in range(3 * LIMITS.connections_max):
        client, connection = harness.join()
        assert connection.index == 0
        assert harness.held_bytes(connection) == 0
        client.sendall(frame(b"%d" % turn) + b"\0\0")
        harness.send(connection, [b"unread"])
        harness.poll_until(lambda connection=connection: harness.held_bytes(connection) == 2)
        harness.server.close(connection, "enough")
        client.close()
    assert bodies(harness) == [b"%d" % turn for turn in range(3 * LIMITS.connections_max)]


def test_a_row_that_is_closed_with_unsent_answers_passes_nothing_on(harness: ReactorHarness) -> None:
    _, first = harness.join()
    harness.server.send(first, [b"of the first"])
    harness.server.close(first, "enough")
    client, second = harness.join()
    assert second.index == first.index
    harness.send(second, [b"of the second"])
    assert receive_exactly(client, 13) == b"of the second"


def test_an_event_of_a_connection_that_is_gone_is_nobodys(harness: ReactorHarness) -> None:
    _, connection = harness.join()
    state = harness.server.state
    data = connection.index | connection.id << 32
    row = reactor_rows.find_row(state, data)
    assert connections.has_flag(row, connections.OPEN)
    assert reactor_rows.find_row(state, connection.index | connection.id + 1 << 32) == 0
    assert reactor_rows.find_row(state, data + 1) == 0
    harness.server.close(connection, "enough")
    assert reactor_rows.find_row(state, data) == 0
    _, second = harness.join()
    assert second.index == connection.index
    assert reactor_rows.find_row(state, data) == 0


def test_closing_in_the_middle_of_a_poll_leaves_the_others_alone(harness: ReactorHarness) -> None:
    pairs = [harness.join() for _ in range(3)]
    for client, _ in pairs:
        client.sendall(frame(b"x"))
    pairs[1][0].close()
    harness.poll_until(lambda: len(harness.frames) == 3 and harness.server.closed)
    assert harness.server.closed == [pairs[1][1]]
    harness.server.close(pairs[0][1], "enough")
    harness.send(pairs[2][1], [b"still here"])
    assert receive_exactly(pairs[2][0], 10) == b"still here"


def test_held_back_connections_may_go_in_any_order(harness: ReactorHarness) -> None:
    pairs = [harness.join() for _ in range(4)]
    harness.server.pause_reading()
    for client, connection in pairs:
        client.sendall(frame(b"later"))
        harness.poll_until(lambda connection=connection: harness.is_held_back(connection))
    for index in (1, 3, 0):
        harness.server.close(pairs[index][1], "enough")
    harness.server.resume_reading()
    harness.poll_until(lambda: harness.frames)
    assert [connection for connection, _ in harness.frames] == [pairs[2][1]]


def test_a_row_holds_both_hosts_as_a_record_has_them(harness: ReactorHarness) -> None:
    client, connection = harness.join(port_index=1)
    row = harness.server.row_of(connection)
    assert bytes(row["born_host"])[: row["born_host_bytes"]] == b"\x7f\0\0\1" + struct.pack(
        ">i", client.getsockname()[1]
    )
    assert bytes(row["store_host"])[: row["store_host_bytes"]] == b"\x7f\0\0\1" + struct.pack(
        ">i", harness.ports[1]
    )
    assert row["flags"] & connections.VIP


def test_a_letter_and_its_bell_end_a_sleep(harness: ReactorHarness) -> None:
    shared = region.anonymous(16_384)
    bell, ring = shared.address, shared.address + 1024
    spsc.initialise(ring, 4096)
    descriptor = os.eventfd(0, os.EFD_NONBLOCK)
    doorbell.initialise(bell, descriptor)
    harness.server.sleep_on(bell, descriptor)
    harness.server.listen_for_letters(ring)
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            while load_word(bell + doorbell.SLEEPING) == 0:
                os.sched_yield()
            spsc.publish(ring, spsc.fill_head(ring, spsc.claim(ring, 8), 8, 1, 1))
            doorbell.ring_bell(bell)
            os._exit(0)
        assert harness.poll(WAIT_MS) == []
        assert not spsc.is_empty(ring)
        spsc.give_back(ring, spsc.produced_position(ring))
        os.waitpid(pid, 0)
    os.close(descriptor)


@pytest.mark.parametrize(
    ("mark", "wanted"),
    [
        (watermarks.FLUSHED, (doorbell.FLUSHED, 500, reactor_state.NONE)),
        (watermarks.DISPATCHED, (doorbell.DISPATCHED, reactor_state.NONE, 499)),
    ],
)
@pytest.mark.parametrize("strategy", [waiting.FUTEX, waiting.YIELD, waiting.BUSY_SPIN])
def test_news_that_python_waits_for_ends_a_poll(
    harness: ReactorHarness, mark: int, wanted: tuple[int, int, int], strategy: int
) -> None:
    shared = region.anonymous(16_384)
    bell, marks = shared.address, shared.address + 1024
    descriptor = os.eventfd(0, os.EFD_NONBLOCK)
    doorbell.initialise(bell, descriptor)
    store_word(marks + mark, 499)
    store_native_i64(harness.server.desk + desk.WATERMARKS, marks)
    harness.server.sleep_on(bell, descriptor)
    harness.server.wait_by(strategy, 50_000)
    harness.server.want(*wanted)
    pid = os.fork()
    if pid == 0:
        while strategy == waiting.FUTEX and load_word(bell + doorbell.SLEEPING) == 0:
            os.sched_yield()
        store_word(marks + mark, 500)
        doorbell.ring_for(bell, wanted[0])
        os._exit(0)
    assert harness.poll(WAIT_MS) == []
    assert load_word(marks + mark) == 500
    os.waitpid(pid, 0)
    os.close(descriptor)


def test_a_poll_ends_in_time_whatever_the_strategy(harness: ReactorHarness) -> None:
    for strategy in (waiting.FUTEX, waiting.YIELD, waiting.BUSY_SPIN):
        harness.server.wait_by(strategy, 1000)
        begun_ns = time.monotonic_ns()
        assert harness.poll(20) == []
        assert time.monotonic_ns() - begun_ns >= 20_000_000
