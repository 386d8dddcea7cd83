import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from shmq.wire.codes import RequestCode
from shmq.wire.command import Command, decode, encode
from shmq.wire.frame import Frame
from shmq.workers.connection import Connection, Limits, Listener
from shmq.workers.link import DIAL_TIMEOUT_MS, RETRY_MS_MAX, RETRY_MS_MIN, Link, State
from shmq.workers.listening import listen_on
from shmq.workers.name_server_links import (
    Answered,
    Connected,
    Disconnected,
    Failed,
    LinkEvent,
    NameServerLinks,
)
from shmq.workers.sockets import SocketServer
from tests.support.turning import turn_until

LIMITS = Limits(frame_bytes_max=1 << 20, output_bytes_max=1 << 20, connections_max=10, idle_ms=60_000)
DEADLINE_MS = 5000


class NameServer:
    """A peer that answers when it is told to."""

    def __init__(self, address: str = "127.0.0.1:0") -> None:
        listening = listen_on(address)
        self.address = f"127.0.0.1:{listening.getsockname()[1]}"
        self.server = SocketServer([Listener(listening)], LIMITS, structlog.get_logger())
        self.frames: list[tuple[Connection, Frame]] = []

    def answer(self) -> None:
        connection, frame = self.frames.pop(0)
        request = decode(frame)
        self.server.send(connection, [encode(request.reply(body=bytes(request.body).upper()))])


class Conductor:
    """The links of one process, its sockets, and the name servers they go to."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000
        self.watcher = SocketServer([], LIMITS, structlog.get_logger())
        self.name_servers: list[NameServer] = []
        self.events: list[LinkEvent] = []
        self.links: NameServerLinks

    def dial(self, *addresses: str) -> None:
        self.links = NameServerLinks(addresses, self.watcher, structlog.get_logger())

    def serve(self, address: str = "127.0.0.1:0") -> NameServer:
        self.name_servers.append(NameServer(address))
        return self.name_servers[-1]

    def turn(self) -> None:
        self.watcher.poll(0, lambda: self.now_ms)
        for each in self.name_servers:
            each.frames += each.server.poll(0, lambda: self.now_ms)
        self.events += self.links.poll(self.now_ms)

    def until(self, count: int) -> list[LinkEvent]:
        servers = [self.watcher, *(each.server for each in self.name_servers)]
        turn_until(lambda: len(self.events) >= count, servers, self.turn)
        events, self.events = self.events, []
        return events

    def until_asked(self, name_server: NameServer, count: int = 1) -> None:
        turn_until(lambda: len(name_server.frames) >= count, [self.watcher, name_server.server], self.turn)

    def stop(self, name_server: NameServer) -> None:
        self.name_servers.remove(name_server)
        name_server.server.close_all()

    def close(self) -> None:
        self.links.close()
        self.watcher.close_all()
        for each in self.name_servers:
            each.server.close_all()


@pytest.fixture
def conductor() -> Iterator[Conductor]:
    running = Conductor()
    running.dial()
    yield running
    running.close()


def request(body: bytes = b"body") -> Command:
    return Command(RequestCode.REGISTER_BROKER, body=body)


def test_each_name_server_is_reached_and_asked(conductor: Conductor) -> None:
    one, two = conductor.serve(), conductor.serve()
    conductor.dial(one.address, two.address)
    assert not conductor.links.send(one.address, request(), "early", conductor.now_ms + DEADLINE_MS)
    assert set(conductor.until(2)) == {Connected(one.address), Connected(two.address)}
    assert conductor.links.send(two.address, request(), "context", conductor.now_ms + DEADLINE_MS)
    conductor.until_asked(two)
    two.answer()
    (event,) = conductor.until(1)
    assert isinstance(event, Answered)
    assert (event.name_server, event.context, event.answer.body) == (two.address, "context", b"BODY")
    assert conductor.links.pending_count == 0


def test_answers_find_their_requests_in_any_order(conductor: Conductor) -> None:
    server = conductor.serve()
    conductor.dial(server.address)
    conductor.until(1)
    for context in range(3):
        conductor.links.send(
            server.address, request(b"%d" % context), context, conductor.now_ms + DEADLINE_MS
        )
    conductor.until_asked(server, 3)
    server.frames.reverse()
    for _ in range(3):
        server.answer()
    answers = conductor.until(3)
    assert [(event.context, event.answer.body) for event in answers if isinstance(event, Answered)] == [
        (2, b"2"),
        (1, b"1"),
        (0, b"0"),
    ]


def test_a_request_without_an_answer_fails_in_time(conductor: Conductor) -> None:
    server = conductor.serve()
    conductor.dial(server.address)
    conductor.until(1)
    conductor.links.send(server.address, request(), "context", conductor.now_ms + DEADLINE_MS)
    conductor.until_asked(server)
    assert conductor.links.due_ms == conductor.now_ms + DEADLINE_MS
    conductor.now_ms += DEADLINE_MS
    assert conductor.links.poll(conductor.now_ms) == [Failed(server.address, "context", "no answer in time")]
    with capture_logs() as lines:
        server.answer()
        turn_until(lambda: lines, [conductor.watcher], conductor.turn)
    assert lines[0]["event"] == "unexpected command dropped"
    assert conductor.events == []


def test_a_lost_name_server_fails_its_requests_and_is_dialled_again(conductor: Conductor) -> None:
    server = conductor.serve()
    conductor.dial(server.address)
    conductor.until(1)
    conductor.links.send(server.address, request(), "context", conductor.now_ms + DEADLINE_MS)
    with capture_logs() as lines:
        conductor.stop(server)
        assert conductor.until(2) == [
            Failed(server.address, "context", "the connection was lost"),
            Disconnected(server.address),
        ]
        assert conductor.links.due_ms == conductor.now_ms + RETRY_MS_MIN
        conductor.serve(server.address)
        conductor.now_ms += RETRY_MS_MIN
        assert conductor.until(1) == [Connected(server.address)]
    assert [(line["log_level"], line["event"]) for line in lines if line["log_level"] != "debug"] == [
        ("warning", "connection lost"),
        ("info", "connected"),
    ]


def test_a_name_server_that_sends_no_frames_is_lost(conductor: Conductor) -> None:
    server = conductor.serve()
    conductor.dial(server.address)
    conductor.until(1)
    turn_until(lambda: server.server.connections, [server.server], conductor.turn)
    server.server.send(server.server.connections[0], [b"HTTP/1.1 400 Bad Request\r\n\r\n"])
    assert conductor.until(1) == [Disconnected(server.address)]


def dead_address() -> str:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{unused.getsockname()[1]}"


def test_a_name_server_that_is_not_there_is_tried_ever_more_seldom_and_told_of_once(
    conductor: Conductor,
) -> None:
    link = Link(dead_address(), conductor.watcher, structlog.get_logger())
    waits: list[int] = []
    with capture_logs() as lines:
        for _ in range(10):
            link.tick(conductor.now_ms)
            turn_until(lambda: link.state is State.RESTING, [conductor.watcher], conductor.turn)
            waits.append(link.due_ms - conductor.now_ms)
            conductor.now_ms = link.due_ms
    assert waits == [min(RETRY_MS_MIN << tries, RETRY_MS_MAX) for tries in range(10)]
    assert [(line["event"], line["reason"]) for line in lines] == [("cannot connect", "Connection refused")]
    link.close()


def test_a_name_server_that_does_not_answer_the_call_is_given_up(conductor: Conductor) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        address = deaf.getsockname()
        with socket.create_connection(address):  # takes the only place in the queue
            link = Link(f"127.0.0.1:{address[1]}", conductor.watcher, structlog.get_logger())
            link.tick(conductor.now_ms)
            with capture_logs() as lines:
                link.tick(conductor.now_ms + DIAL_TIMEOUT_MS)
            assert link.state is State.RESTING
            assert lines[0]["reason"] == f"no answer within {DIAL_TIMEOUT_MS} ms"
            link.close()


def test_a_name_is_resolved_without_waiting(conductor: Conductor, monkeypatch: pytest.MonkeyPatch) -> None:
    server = conductor.serve()
    port = server.address.rpartition(":")[2]
    look_up = socket.getaddrinfo
    may_answer = threading.Event()

    def resolve_slowly(host: str, port: int, **options: Any) -> Any:
        if options.get("flags") == socket.AI_NUMERICHOST:
            return look_up(host, port, **options)
        may_answer.wait()
        return look_up("127.0.0.1", port, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_slowly)
    conductor.dial(f"name.server.example:{port}")
    conductor.turn()
    assert conductor.events == []
    may_answer.set()
    assert conductor.until(1) == [Connected(f"name.server.example:{port}")]


def test_a_name_whose_look_up_comes_too_late_is_given_up(
    conductor: Conductor, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo
    may_answer = threading.Event()
    has_answered = threading.Event()

    def resolve_slowly(host: str, port: int, **options: Any) -> Any:
        if options.get("flags") == socket.AI_NUMERICHOST:
            return look_up(host, port, **options)
        may_answer.wait()
        has_answered.set()
        raise socket.gaierror(socket.EAI_AGAIN, "later")

    monkeypatch.setattr(socket, "getaddrinfo", resolve_slowly)
    link = Link("name.server.example:1", conductor.watcher, structlog.get_logger())
    link.tick(conductor.now_ms)
    assert link.state is State.RESOLVING
    link.tick(conductor.now_ms + DIAL_TIMEOUT_MS)
    assert link.state is State.RESTING
    may_answer.set()
    assert has_answered.wait(10)
    link.tick(conductor.now_ms + DIAL_TIMEOUT_MS + RETRY_MS_MIN)
    with capture_logs() as lines:
        turn_until(lambda: link.state is State.RESTING, [conductor.watcher], conductor.turn)
    assert lines == []  # that it cannot be reached has been told
    link.close()


@pytest.mark.parametrize("address", ["no address", "host:port", f"{'a' * 300}.example:1"])
def test_what_is_no_address_is_not_dialled(conductor: Conductor, address: str) -> None:
    link = Link(address, conductor.watcher, structlog.get_logger())
    with capture_logs() as lines:
        link.tick(conductor.now_ms)
        turn_until(lambda: link.state is State.RESTING, [conductor.watcher], conductor.turn)
    assert lines[0]["event"] == "cannot connect"
    link.close()


def test_output_that_a_peer_does_not_take_at_once_is_sent_as_it_takes_it(conductor: Conductor) -> None:
    server = conductor.serve()
    link = Link(server.address, conductor.watcher, structlog.get_logger())
    link.tick(conductor.now_ms)
    turn_until(lambda: link.is_connected, [conductor.watcher], conductor.turn)
    for _ in range(40):
        assert link.send(request(bytes(500_000)))
    assert link.output_bytes > 0
    conductor.until_asked(server, 40)
    assert link.output_bytes == 0
    assert {len(frame.body) for _, frame in server.frames} == {500_000}
    link.close()
