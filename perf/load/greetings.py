"""What is said before a load: make topics, say hello to NATS, ask how far queues reach."""

import json
import socket
from collections.abc import Sequence
from typing import Any, Final

from perf.load.forms import inbox
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command
from tests.support.remote import Remote

NATS_STREAM: Final = "PERF"
NATS_SUBJECTS: Final = "perf.*"

_RECEIVE_BYTES: Final = 1 << 16
_HELLO: Final = b'CONNECT {"verbose":false,"pedantic":false,"lang":"perf","version":"1","protocol":1}\r\n'
_READ_AND_WRITE: Final = 6


def create_topics(address: str, topics: Sequence[str], queues: int) -> None:
    """Make topics on a broker that speaks remoting."""
    with Remote(address) as remote:
        for topic in topics:
            fields = {
                "topic": topic,
                "defaultTopic": "TBW102",
                "readQueueNums": str(queues),
                "writeQueueNums": str(queues),
                "perm": str(_READ_AND_WRITE),
                "topicFilterType": "SINGLE_TAG",
                "topicSysFlag": "0",
                "order": "false",
            }
            _require_success(remote.call(Command(RequestCode.UPDATE_AND_CREATE_TOPIC, fields=fields)))


def ends_of(address: str, topic: str, queues: int) -> list[int]:
    """How many messages each queue has."""
    with Remote(address) as remote:
        return [
            int(_require_success(remote.call(_max_offset(topic, queue_id))).fields["offset"])
            for queue_id in range(queues)
        ]


def say_hello_to_nats(sockets: Sequence[socket.socket]) -> None:
    """Begin each connection, and subscribe to its own reply subjects."""
    for lane, each in enumerate(sockets):
        greeted = _until(each, b"\r\n", b"")
        assert greeted.startswith(b"INFO "), greeted
        each.sendall(_HELLO + f"SUB {inbox(lane)}.* 1\r\nPING\r\n".encode())
        _until(each, b"PONG\r\n", b"")


def create_nats_stream(address: str) -> None:
    """Make the stream, in files, that keeps what is published."""
    config = {"name": NATS_STREAM, "subjects": [NATS_SUBJECTS], "storage": "file", "retention": "limits"}
    answer = _ask_nats(address, f"$JS.API.STREAM.CREATE.{NATS_STREAM}", config)
    assert "error" not in answer, answer


def purge_nats_stream(address: str) -> None:
    """Forget what was published."""
    answer = _ask_nats(address, f"$JS.API.STREAM.PURGE.{NATS_STREAM}", {})
    assert answer.get("success"), answer


def say_to_redis(address: str, *words: str) -> str:
    """One command; its answer's first line."""
    host, _, port = address.rpartition(":")
    text = "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
    with socket.create_connection((host, int(port)), 20) as each:
        each.sendall(f"*{len(words)}\r\n{text}".encode())
        answer = _until(each, b"\r\n", b"")
    assert not answer.startswith(b"-"), answer
    return answer.decode().strip()


def _ask_nats(address: str, subject: str, content: dict[str, Any]) -> dict[str, Any]:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), 20) as each:
        say_hello_to_nats([each])
        body = json.dumps(content).encode()
        each.sendall(
            b"SUB _INBOX.ask 2\r\nPUB %b _INBOX.ask %d\r\n%b\r\n" % (subject.encode(), len(body), body)
        )
        received = b""
        while True:
            received = _until(each, b"\r\n", received)
            head, _, rest = received.partition(b"\r\n")
            if not head.startswith(b"MSG "):
                received = rest
                continue
            size = int(head.split()[-1])
            while len(rest) < size:
                rest += each.recv(_RECEIVE_BYTES)
            answer: dict[str, Any] = json.loads(rest[:size])
            return answer


def _until(each: socket.socket, end: bytes, received: bytes) -> bytes:
    """What came, once it holds a text."""
    while end not in received:
        got = each.recv(_RECEIVE_BYTES)
        if not got:
            raise ConnectionError(f"the peer closed the connection after {received!r}")
        received += got
    return received


def _max_offset(topic: str, queue_id: int) -> Command:
    return Command(RequestCode.GET_MAX_OFFSET, fields={"topic": topic, "queueId": str(queue_id)})


def _require_success(answer: Command) -> Command:
    if answer.code != ResponseCode.SUCCESS:
        raise AssertionError(f"code {answer.code}: {answer.remark}")
    return answer
