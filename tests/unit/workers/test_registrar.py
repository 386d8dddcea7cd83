import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from shmq.errors import StoreError
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import FLAG_ONEWAY, FLAG_RESPONSE, Command, decode, encode
from shmq.wire.frame import FrameReader
from shmq.workers.connection import Listener
from shmq.workers.listening import listen_on
from shmq.workers.registrar import LIMITS, Registrar, RegistrarSettings, monotonic_ms
from shmq.workers.sockets import SocketServer
from tests.support.broker_registrations import registration_of
from tests.support.turning import turn_until

TOPICS = ("T", "U")


class Client:
    """A peer that waits for its answers."""

    def __init__(self, running: "Running") -> None:
        self._running = running
        self.socket = socket.create_connection(("127.0.0.1", running.port))
        self.socket.setblocking(False)
        self._reader = FrameReader()
        self.answers: list[Command] = []
        self.is_closed = False

    def ask(self, code: int, body: bytes = b"", **fields: str) -> Command:
        return self.exchange(Command(code, opaque=5, fields=dict(fields), body=body))

    def exchange(self, command: Command) -> Command:
        self.socket.sendall(encode(command))
        self._running.until(self._has_received)
        return self.answers.pop(0)

    def wait_closed(self) -> None:
        self._running.until(lambda: self._has_received() or self.is_closed)
        assert self.is_closed

    def _has_received(self) -> bool:
        try:
            received = self.socket.recv(1 << 20)
        except BlockingIOError:
            return bool(self.answers)
        self.is_closed = not received
        self.answers += map(decode, self._reader.feed(received))
        return bool(self.answers)


class Running:
    """A registrar that this thread turns."""

    def __init__(self, kv_path: str = "", is_needed: Callable[[], bool] = lambda: False) -> None:
        listening = listen_on("127.0.0.1:0")
        self.port = listening.getsockname()[1]
        settings = RegistrarSettings(LIMITS, kv_path, scan_interval_ms=1)
        self.registrar = Registrar([Listener(listening)], settings, structlog.get_logger(), is_needed)
        self.ahead_ms = 0
        self.clients: list[Client] = []

    def client(self) -> Client:
        self.clients.append(Client(self))
        return self.clients[-1]

    def turn(self) -> None:
        self.registrar.do_work((monotonic_ms() + self.ahead_ms) * 1_000_000)

    def until(self, condition: Callable[[], object]) -> None:
        turn_until(condition, [self.registrar._server], self.turn)

    def close(self) -> None:
        self.registrar.close()
        for client in self.clients:
            client.socket.close()


@pytest.fixture
def running() -> Iterator[Running]:
    made = Running()
    made.registrar.start()
    yield made
    made.close()


def test_a_client_finds_what_a_broker_registered(running: Running) -> None:
    broker, client = running.client(), running.client()
    assert broker.exchange(registration_of(TOPICS)).code == ResponseCode.SUCCESS
    route = client.ask(RequestCode.GET_ROUTEINFO_BY_TOPIC, topic="T")
    assert (route.code, route.opaque, route.is_response) == (ResponseCode.SUCCESS, 5, True)
    assert b'"10.0.0.1:10911"' in route.body


def test_a_broker_whose_connection_closes_is_gone(running: Running) -> None:
    broker, client = running.client(), running.client()
    broker.exchange(registration_of(TOPICS))
    with capture_logs() as lines:
        broker.socket.close()
        running.until(lambda: lines)
    route = client.ask(RequestCode.GET_ROUTEINFO_BY_TOPIC, topic="T")
    assert route.code == ResponseCode.TOPIC_NOT_EXIST
    assert "broker-a closed its connection" in (route.remark or "")
    assert ("warning", "broker gone", "broker-a", "closed") in [
        (line["log_level"], line["event"], line.get("broker"), line.get("reason")) for line in lines
    ]


def test_a_silent_broker_is_closed(running: Running) -> None:
    broker = running.client()
    broker.exchange(registration_of(TOPICS, heartbeatTimeoutMillis="1000"))
    running.ahead_ms = 1100
    with capture_logs() as lines:
        running.turn()
        broker.wait_closed()
    assert [line["event"] for line in lines] == ["connection closed", "broker gone"]


def test_a_broker_that_registers_and_leaves_in_one_breath_leaves_nothing(running: Running) -> None:
    broker, client = running.client(), running.client()
    broker.socket.sendall(encode(registration_of(TOPICS)))
    broker.socket.close()
    running.until(lambda: running.registrar._naming.routes.absences.last_broker(0))
    assert client.ask(RequestCode.GET_ROUTEINFO_BY_TOPIC, topic="T").code == ResponseCode.TOPIC_NOT_EXIST


def test_who_wants_no_answer_gets_none(running: Running) -> None:
    client = running.client()
    client.socket.sendall(encode(Command(RequestCode.GET_NAMESRV_CONFIG, opaque=1, flag=FLAG_ONEWAY)))
    client.socket.sendall(encode(Command(0, opaque=2, flag=FLAG_RESPONSE)))
    assert client.ask(RequestCode.GET_NAMESRV_CONFIG).opaque == 5


def test_a_header_that_cannot_be_read_closes_its_connection_alone(running: Running) -> None:
    client, other = running.client(), running.client()
    with capture_logs() as lines:
        client.socket.sendall(b"\x00\x00\x00\x08\x00\x00\x00\x04{[]}")
        client.wait_closed()
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["connection closed"]
    assert other.ask(RequestCode.GET_NAMESRV_CONFIG).code == ResponseCode.SUCCESS


def test_the_key_value_configuration_outlives_its_server(tmp_path: Path) -> None:
    path = tmp_path / "namesrv" / "kvConfig.json"
    first = Running(str(path))
    first.registrar.start()
    first.client().ask(RequestCode.PUT_KV_CONFIG, namespace="N", key="k", value="v")
    assert path.read_bytes() == b'{"configTable":{"N":{"k":"v"}}}'
    first.close()
    second = Running(str(path))
    second.registrar.start()
    assert second.client().ask(RequestCode.GET_KV_CONFIG, namespace="N", key="k").fields == {"value": "v"}
    second.close()


def test_a_configuration_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "kvConfig.json"
    path.write_bytes(b"not this")
    running = Running(str(path))
    with pytest.raises(StoreError, match="kvConfig"):
        running.registrar.start()
    running.close()


def test_a_configuration_that_cannot_be_written_is_logged_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "kvConfig.json"
    (tmp_path / "kvConfig.json.new").mkdir()  # in the way of the document that is to replace the first
    running = Running(str(path))
    running.registrar.start()
    client = running.client()
    with capture_logs() as lines:
        client.ask(RequestCode.PUT_KV_CONFIG, namespace="N", key="k", value="v")
    assert ("error", "configuration not saved") in [(line["log_level"], line["event"]) for line in lines]
    assert client.ask(RequestCode.GET_KV_CONFIG, namespace="N", key="k").fields == {"value": "v"}
    assert stat.S_ISDIR((tmp_path / "kvConfig.json.new").stat().st_mode)
    running.close()


def test_brokers_are_told_of_a_new_smallest_id_where_that_is_wanted(running: Running) -> None:
    listening = listen_on("127.0.0.1:0")
    slave = SocketServer([Listener(listening)], LIMITS, structlog.get_logger())
    address = f"127.0.0.1:{listening.getsockname()[1]}"
    running.client().ask(RequestCode.UPDATE_NAMESRV_CONFIG, b"notifyMinBrokerIdChanged=true")
    running.client().exchange(
        registration_of(TOPICS, broker_id=1, address=address, enableActingMaster="true")
    )
    running.client().exchange(registration_of(TOPICS, enableActingMaster="true"))
    told: list[Command] = []

    def turn() -> None:
        running.turn()
        told.extend(decode(frame) for _, frame in slave.poll(0, monotonic_ms))

    turn_until(lambda: told, [running.registrar._server, slave], turn)
    assert told[0].code == RequestCode.NOTIFY_MIN_BROKER_ID_CHANGE
    assert told[0].fields["minBrokerAddr"] == "10.0.0.1:10911"
    turn_until(lambda: slave.closed, [running.registrar._server, slave], turn)  # told, it hangs up
    slave.close_all()


def test_a_registrar_that_stops_sends_what_waits(running: Running) -> None:
    client = running.client()
    client.exchange(registration_of(TOPICS))
    running.registrar.stop()
    running.until(lambda: running.registrar.is_done)
    with pytest.raises(ConnectionRefusedError):
        running.client()


def test_a_registrar_that_is_still_needed_goes_on_after_its_stop() -> None:
    is_needed = [True]
    running = Running(is_needed=lambda: is_needed[0])
    running.registrar.start()
    client = running.client()
    client.exchange(registration_of(TOPICS))
    running.registrar.stop()
    assert not running.registrar.is_done
    fields = registration_of(()).fields
    assert client.ask(RequestCode.UNREGISTER_BROKER, **fields).code == ResponseCode.SUCCESS
    is_needed[0] = False
    assert running.registrar.is_done
    running.close()
