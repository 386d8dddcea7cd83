"""Peers that send nonsense, or nothing, or never read: theirs is answered or closed, and nobody else notices."""

import random
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import product
from typing import Final

import pytest

from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command, decode, encode
from shmq.wire.frame import FRAME_BYTES_MAX, FrameReader
from tests.support.healthy import Healthy
from tests.support.remote import RECEIVE_BYTES, TIMEOUT_S, Remote, pull_request, send_request
from tests.support.shmq_process import ShmqBroker
from tests.support.waiting import eventually

IDLE_CONNECTIONS: Final = 1000
HALF_OPEN_CONNECTIONS: Final = 50
RECEIVE_BUFFER_BYTES: Final = 4096
REQUESTS_MAX: Final = 10_000
ROUTE: Final = Command(RequestCode.GET_ROUTEINFO_BY_TOPIC, opaque=7, fields={"topic": "TBW102"})

# Both the broker and its name server are held to everything below.
Which = Callable[[ShmqBroker], str]
both = pytest.mark.parametrize(
    "which",
    [
        pytest.param(lambda broker: broker.address, id="broker"),
        pytest.param(lambda broker: broker.namesrv_address, id="name server"),
    ],
)


def json_frame(header: bytes, body: bytes = b"", encoding: int = 0) -> bytes:
    return struct.pack(">iI", 4 + len(header) + len(body), encoding << 24 | len(header)) + header + body


IMPOSSIBLE: Final = {
    "a length of 0": struct.pack(">i", 0),
    "a length of 3": struct.pack(">i", 3) + b"abc",
    "a negative length": struct.pack(">i", -1) + b"abcd",
    "the most negative length": struct.pack(">i", -(1 << 31)),
    "16 MiB + 1": struct.pack(">i", FRAME_BYTES_MAX + 1),
    "a header longer than its frame": struct.pack(">iI", 8, 5) + b"abcd",
    "garbage": random.Random(1).randbytes(4096),
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a TLS hello": bytes.fromhex("16030100a5010000a10303") + bytes(160),
    "no JSON": json_frame(b"{code:"),
    "JSON but no object": json_frame(b"[1, 2]"),
    "a code that is no number": json_frame(b'{"code":"abc","opaque":1,"flag":0}'),
    "deep JSON": json_frame(b'{"code":105,"extFields":' + b"[" * 100_000),
    "an empty header": json_frame(b""),
    "an unknown encoding": json_frame(b'{"code":105}', encoding=9),
    "a binary header that is cut": json_frame(b"\x00\x69\x00", encoding=1),
    "a binary header with a wild length": json_frame(b"\x00\x69\x00" + b"\x7f" * 30, encoding=1),
}


@pytest.fixture
def healthy(shared_broker: ShmqBroker) -> Iterator[Healthy]:
    with Healthy(shared_broker, "healthy") as client:
        client.check()
        yield client
        client.check()


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), TIMEOUT_S)


def read_to_end(connected: socket.socket) -> bytes:
    """What the peer sends until it closes; a reset is an end too."""
    received = b""
    try:
        while piece := connected.recv(RECEIVE_BYTES):
            received += piece
    except ConnectionResetError:
        return received
    return received


def answer_on(connected: socket.socket) -> Command:
    reader = FrameReader()
    while True:
        received = connected.recv(RECEIVE_BYTES)
        assert received, "closed without an answer"
        for frame in reader.feed(received):
            return decode(frame)


def name_of(connected: socket.socket) -> str:
    host, port = connected.getsockname()
    return f"{host}:{port}"


def wait_logged(broker: ShmqBroker, peer: str, said: str) -> None:
    """Wait until a line of the log says this of the peer."""

    def is_logged() -> bool:
        return any(line.get("peer") == peer and said in str(line) for line in broker.log_lines())

    eventually(is_logged)


@both
@pytest.mark.parametrize("sent", IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_what_is_no_frame_closes_its_connection_with_a_line(
    shared_broker: ShmqBroker, healthy: Healthy, which: Which, sent: bytes
) -> None:
    with connect(which(shared_broker)) as stranger:
        stranger.sendall(sent)
        assert read_to_end(stranger) == b""
        wait_logged(shared_broker, name_of(stranger), "connection closed")
    healthy.check()


@both
@pytest.mark.parametrize("how", ["closed", "reset"])
def test_a_frame_that_breaks_off_is_a_line_in_the_log(
    shared_broker: ShmqBroker, healthy: Healthy, which: Which, how: str
) -> None:
    whole = encode(ROUTE)
    for cut in (1, 4, 7, 8, len(whole) - 1):
        with connect(which(shared_broker)) as stranger:
            stranger.sendall(whole[:cut])
            healthy.check()  # by now it was read
            peer = name_of(stranger)
            if how == "reset":
                stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_logged(shared_broker, peer, "connection closed")


@both
def test_half_open_connections_wait_as_long_as_they_like(
    shared_broker: ShmqBroker, healthy: Healthy, which: Which
) -> None:
    whole = encode(ROUTE)
    with ExitStack() as stack:
        strangers = [stack.enter_context(connect(which(shared_broker))) for _ in range(HALF_OPEN_CONNECTIONS)]
        for cut, stranger in enumerate(strangers, 1):
            stranger.sendall(whole[:cut])
        healthy.check()
        for cut, stranger in enumerate(strangers, 1):
            stranger.sendall(whole[cut:])
        for stranger in strangers:
            assert answer_on(stranger).opaque == ROUTE.opaque


@both
def test_a_thousand_idle_connections_disturb_nobody(
    shared_broker: ShmqBroker, healthy: Healthy, which: Which
) -> None:
    with ExitStack() as stack:
        idle = [stack.enter_context(connect(which(shared_broker))) for _ in range(IDLE_CONNECTIONS)]
        healthy.check()
        for each in idle[::100]:
            each.sendall(encode(ROUTE))
            assert answer_on(each).opaque == ROUTE.opaque
    healthy.check()


def is_refused(connected: socket.socket, request: bytes) -> bool:
    """Send the same again and again; whether the peer hangs up over it."""
    try:
        for _ in range(REQUESTS_MAX):
            connected.sendall(request)
    except (ConnectionResetError, BrokenPipeError):
        return True
    return False


@pytest.mark.usefixtures("healthy")
@both
def test_a_peer_that_never_reads_is_closed(shared_broker: ShmqBroker, which: Which) -> None:
    with Remote(shared_broker.address) as filling:
        assert filling.send("slow", bytes(200_000)).code == ResponseCode.SUCCESS
        filling.read_queue("slow", 0, 1)
    pull = encode(pull_request("slow", 0, 0)) * 10
    request = pull if which(shared_broker) == shared_broker.address else encode(ROUTE) * 100
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        slow.settimeout(TIMEOUT_S)
        host, _, port = which(shared_broker).rpartition(":")
        slow.connect((host, int(port)))
        peer = name_of(slow)
        assert is_refused(slow, request), "so many answers found room somewhere"
        wait_logged(shared_broker, peer, "too slow a reader")


@both
@pytest.mark.parametrize("code", [0, 9999, -5, 32_767])
def test_an_unknown_code_is_not_supported(shared_broker: ShmqBroker, which: Which, code: int) -> None:
    with Remote(which(shared_broker)) as remote:
        answer = remote.call(Command(code))
    assert (answer.code, answer.remark) == (3, f" request type {code} not supported")


@both
def test_a_huge_header_is_read(shared_broker: ShmqBroker, healthy: Healthy, which: Which) -> None:
    fields = {"topic": "TBW102", "filler": "x" * (4 << 20)}
    with Remote(which(shared_broker)) as remote:
        assert remote.call(Command(RequestCode.GET_ROUTEINFO_BY_TOPIC, fields=fields)).is_response
        healthy.check()
        fields = {f"field{number}": "x" for number in range(100_000)}
        answer = remote.call(Command(RequestCode.QUERY_DATA_VERSION, fields=fields))
    assert answer.code != ResponseCode.SUCCESS


@pytest.mark.usefixtures("healthy")
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff" * 100, b"[" * 100_000], ids=len)
@pytest.mark.parametrize(
    "code", [RequestCode.HEART_BEAT, RequestCode.LOCK_BATCH_MQ, RequestCode.CHECK_CLIENT_CONFIG]
)
def test_a_body_that_is_not_what_it_must_be_is_answered(
    shared_broker: ShmqBroker, code: RequestCode, body: bytes
) -> None:
    with Remote(shared_broker.address) as remote:
        answer = remote.call(Command(code, body=body))
        assert answer.code not in {ResponseCode.SUCCESS, ResponseCode.REQUEST_CODE_NOT_SUPPORTED}
        assert answer.remark
        assert remote.send("strange", b"still here").code == ResponseCode.SUCCESS


def test_a_control_request_larger_than_a_ring_is_answered(
    shared_broker: ShmqBroker, healthy: Healthy
) -> None:
    with Remote(shared_broker.address) as remote:
        answer = remote.call(
            Command(RequestCode.HEART_BEAT, body=b'{"clientID":"' + b"x" * (8 << 20) + b'"}')
        )
        assert answer.is_response
        healthy.check()
        assert remote.send("strange", b"still here").code == ResponseCode.SUCCESS


@pytest.mark.usefixtures("healthy")
def test_missing_and_wild_fields_are_answered(shared_broker: ShmqBroker) -> None:
    pulls = ("topic", "queueId", "queueOffset", "sysFlag")
    sends = ("e", "f", "g", "j")
    with Remote(shared_broker.address) as remote:
        for name in pulls:
            pull = pull_request("strange", 0, 0)
            del pull.fields[name]
            assert remote.call(pull).code != ResponseCode.SUCCESS
        for name, wild in product(pulls, ("", "abc", "99999999999999999999", "\x00")):
            pull = pull_request("strange", 0, 0)
            pull.fields[name] = wild
            assert remote.call(pull).code != ResponseCode.SUCCESS
        for name, wild in product(sends, ("abc", "99999999999999999999")):
            send = send_request("strange", b"body")
            send.fields[name] = wild
            assert remote.call(send).code != ResponseCode.SUCCESS
