"""`shmq-namesrv` as a process of its own, asked over TCP, stopped by signals, killed; and the one within a broker."""

import random
import select
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command, decode, encode
from shmq.wire.frame import FrameReader
from tests.support.broker_registrations import registration_of
from tests.support.processes import Process
from tests.support.remote import Remote
from tests.support.shmq_process import ShmqBroker
from tests.support.waiting import eventually

SCRIPT = Path(sys.executable).parent / "shmq-namesrv"
READY = "shmq-namesrv ready on "
DEADLINE_S = 60.0
TOPICS = ("T", "U")
RESIDENT_BYTES_MAX = 64 << 20  # the compiler alone would take as much


class NameServer:
    """The process and its address."""

    def __init__(self, directory: Path, listen: str = "127.0.0.1:0", kv_path: Path | None = None) -> None:
        command: list[str | Path] = [SCRIPT, "--listen", listen]
        if kv_path is not None:
            command += ["--kv-path", kv_path]
        self.process = Process(command, log_path=directory / "namesrv.log", directory=directory)
        line = self.process.wait_line(lambda line: line.startswith(READY), DEADLINE_S)
        self.address = line.removeprefix(READY)

    def connect(self) -> socket.socket:
        host, _, port = self.address.rpartition(":")
        connected = socket.create_connection((host, int(port)), timeout=DEADLINE_S)
        connected.settimeout(DEADLINE_S)
        return connected


def ask(connected: socket.socket, command: Command) -> Command:
    connected.sendall(encode(command))
    reader = FrameReader()
    while True:
        received = connected.recv(65536)
        assert received, "the name server closed the connection"
        for frame in reader.feed(received):
            return decode(frame)


def route(connected: socket.socket, topic: str = "T") -> Command:
    return ask(connected, Command(RequestCode.GET_ROUTEINFO_BY_TOPIC, fields={"topic": topic}))


@pytest.fixture
def name_server(tmp_path: Path) -> Iterator[NameServer]:
    started = NameServer(tmp_path)
    with started.process:
        yield started


def test_a_route_is_there_while_its_broker_is_connected(name_server: NameServer) -> None:
    with name_server.connect() as client:
        assert "No broker has registered" in (route(client).remark or "")
        with name_server.connect() as broker:
            assert ask(broker, registration_of(TOPICS)).code == ResponseCode.SUCCESS
            assert b'"10.0.0.1:10911"' in route(client).body
            broker.shutdown(socket.SHUT_WR)
            assert broker.recv(1) == b""  # the name server has seen the end, and closed too
        answer = route(client)
        assert answer.code == ResponseCode.TOPIC_NOT_EXIST
        assert "broker-a closed its connection" in (answer.remark or "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_good_order(name_server: NameServer, number: int) -> None:
    with name_server.connect() as client:
        route(client)
        name_server.process.signal(number)
        assert client.recv(1) == b""
    assert name_server.process.wait_exit(DEADLINE_S) == 0


def test_it_is_small(name_server: NameServer) -> None:
    assert psutil.Process(name_server.process.pid).memory_info().rss < RESIDENT_BYTES_MAX


def test_a_kill_loses_routes_but_not_the_configuration(tmp_path: Path) -> None:
    kv_path = tmp_path / "kv" / "kvConfig.json"
    first = NameServer(tmp_path, kv_path=kv_path)
    with first.process, first.connect() as client:
        ask(client, registration_of(TOPICS))
        put = {"namespace": "ORDER_TOPIC_CONFIG", "key": "T", "value": "broker-a:4"}
        ask(client, Command(RequestCode.PUT_KV_CONFIG, fields=put))
        first.process.signal(signal.SIGKILL)
        first.process.wait_exit(DEADLINE_S)
    again = NameServer(tmp_path, first.address, kv_path)
    with again.process, again.connect() as client:
        assert route(client).code == ResponseCode.TOPIC_NOT_EXIST
        assert ask(client, registration_of(TOPICS)).body == b'{"table":{"T":"broker-a:4"}}'


def test_a_taken_address_is_the_operators_error(name_server: NameServer, tmp_path: Path) -> None:
    log_path = tmp_path / "second.log"
    with Process([SCRIPT, "--listen", name_server.address], log_path=log_path) as second:
        assert second.wait_exit(DEADLINE_S) == 2
    assert f"cannot listen on {name_server.address}: Address already in use" in log_path.read_text()


def test_a_configuration_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    kv_path = tmp_path / "kvConfig.json"
    kv_path.write_text("not this")
    log_path = tmp_path / "namesrv.log"
    command: list[str | Path] = [SCRIPT, "--listen", "127.0.0.1:0", "--kv-path", kv_path]
    with Process(command, log_path=log_path) as process:
        assert process.wait_exit(DEADLINE_S) == 1
    assert str(kv_path) in log_path.read_text()
    assert kv_path.read_text() == "not this"


def test_garbage_and_a_thousand_idle_peers_disturb_nobody(name_server: NameServer) -> None:
    source = random.Random(7)
    idle = [name_server.connect() for _ in range(1000)]
    try:
        with name_server.connect() as client:
            ask(client, registration_of(TOPICS))
            for _ in range(100):
                with name_server.connect() as stranger:
                    stranger.sendall(source.choice((b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\xa5")))
                    stranger.sendall(source.randbytes(200))
            for each in idle[:10]:
                assert route(each).code == ResponseCode.SUCCESS
            assert route(client).code == ResponseCode.SUCCESS
    finally:
        for each in idle:
            each.close()


def test_the_broker_s_own_routes_stay_while_its_conductor_is_replaced(tmp_path: Path) -> None:
    broker = ShmqBroker(tmp_path, settings={"network_workers": 1})
    try:
        with Remote(broker.address) as remote, Remote(broker.namesrv_address) as names:
            question = Command(RequestCode.GET_ROUTEINFO_BY_TOPIC, fields={"topic": "T"})
            assert remote.send("T", b"x", 0, "").code == ResponseCode.SUCCESS
            eventually(lambda: names.call(question).code == ResponseCode.SUCCESS)
            broker.worker("conductor").kill()
            fields = {"consumerGroup": "nobody"}
            opaque = remote.post(Command(RequestCode.GET_CONSUMER_LIST_BY_GROUP, fields=fields))
            while not select.select([remote.socket], [], [], 0)[0]:  # until there is a new one, which answers
                assert names.call(question).code == ResponseCode.SUCCESS
            remote.answer_to(opaque)
            eventually(lambda: names.call(question).code == ResponseCode.SUCCESS)
        broker.stop()
    finally:
        broker.discard()
