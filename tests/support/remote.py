"""A plain blocking remoting peer for system tests: one socket, one request at a time, no retries of its own."""

import socket
import time
from types import TracebackType
from typing import Final, Self

from shmq.config.addresses import split_address
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command, Encoding, decode, encode
from shmq.wire.frame import Frame, FrameReader
from shmq.wire.message import ReceivedMessage, decode_messages
from shmq.wire.route_bodies import TopicRouteData

TIMEOUT_S: Final = 20.0
RECEIVE_BYTES: Final = 1 << 16
PULL_SUSPEND: Final = 2
PULL_SUBSCRIPTION: Final = 4


class Remote:
    """A connection to a broker or a name server."""

    def __init__(
        self, address: str, timeout_s: float = TIMEOUT_S, encoding: Encoding = Encoding.JSON
    ) -> None:
        self.socket = socket.create_connection(split_address(address), timeout_s)
        self.pushed: list[Command] = []
        self._encoding = encoding
        self._reader = FrameReader()
        self._frames: list[Frame] = []
        self._opaque = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def call(self, command: Command) -> Command:
        """Send a request, wait for its response; requests of the broker's own go to `pushed`."""
        return self.answer_to(self.post(command))

    def post(self, command: Command) -> int:
        """Send a request, wait for nothing; return the number of its response."""
        self._opaque += 1
        command.opaque = self._opaque
        command.encoding = self._encoding
        self.socket.sendall(encode(command))
        return self._opaque

    def answer_to(self, opaque: int) -> Command:
        """Wait for the response of that number; responses to others are dropped."""
        while True:
            answer = self.receive()
            if not answer.is_response:
                self.pushed.append(answer)
            elif answer.opaque == opaque:
                return answer

    def wait_pushed(self) -> Command:
        """Return the next request of the broker's own, one that came before or one that comes."""
        while not self.pushed:
            command = self.receive()
            assert not command.is_response, f"an answer to nothing: {command}"
            self.pushed.append(command)
        return self.pushed.pop(0)

    def respond(self, asked: Command, body: bytes = b"") -> None:
        """Answer a request of the broker's own: all is well."""
        self.socket.sendall(encode(asked.reply(body=body)))

    def receive(self) -> Command:
        """The next command that comes in."""
        while not self._frames:
            received = self.socket.recv(RECEIVE_BYTES)
            if not received:
                raise ConnectionError("the peer closed the connection")
            self._frames += self._reader.feed(received)
        return decode(self._frames.pop(0))

    def send(self, topic: str, body: bytes, queue_id: int = 0, properties: str = "") -> Command:
        """SEND_MESSAGE_V2."""
        return self.call(send_request(topic, body, queue_id, properties))

    def pull(
        self, topic: str, queue_id: int, offset: int, *, expression: str = "*", suspend_ms: int = 0
    ) -> Command:
        """PULL_MESSAGE with its subscription, of a group that need not be online."""
        return self.call(pull_request(topic, queue_id, offset, expression=expression, suspend_ms=suspend_ms))

    def route(self, topic: str) -> TopicRouteData | None:
        """GET_ROUTEINFO_BY_TOPIC of a name server; None where the topic is not known."""
        answer = self.call(Command(RequestCode.GET_ROUTEINFO_BY_TOPIC, fields={"topic": topic}))
        if answer.code == ResponseCode.TOPIC_NOT_EXIST:
            return None
        assert answer.code == ResponseCode.SUCCESS, answer.remark
        return TopicRouteData.from_bytes(answer.body)

    def max_offset(self, topic: str, queue_id: int) -> int:
        """GET_MAX_OFFSET."""
        fields = {"topic": topic, "queueId": str(queue_id)}
        return int(self.call(Command(RequestCode.GET_MAX_OFFSET, fields=fields)).fields["offset"])

    def read_queue(self, topic: str, queue_id: int, least: int = 0) -> list[ReceivedMessage]:
        """Every message of a queue, from offset 0 to where it ends now, once it has at least so many."""
        while (end := self.max_offset(topic, queue_id)) < least:
            woken = self.pull(topic, queue_id, end, suspend_ms=5000)
            assert woken.code in {ResponseCode.SUCCESS, ResponseCode.PULL_NOT_FOUND}, woken.remark
        messages: list[ReceivedMessage] = []
        while len(messages) < end:
            answer = self.pull(topic, queue_id, len(messages))
            assert answer.code == 0, (answer.code, answer.remark)
            messages += decode_messages(answer.body)
        return messages

    def query(self, topic: str, key: str, count_max: int = 32) -> list[ReceivedMessage]:
        """QUERY_MESSAGE, of all times."""
        fields = {
            "topic": topic,
            "key": key,
            "maxNum": str(count_max),
            "beginTimestamp": "0",
            "endTimestamp": str(2**63 - 1),
        }
        answer = self.call(Command(RequestCode.QUERY_MESSAGE, fields=fields))
        if answer.code == ResponseCode.QUERY_NOT_FOUND:
            return []
        assert answer.code == ResponseCode.SUCCESS, answer.remark
        return decode_messages(answer.body)

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()


def send_request(topic: str, body: bytes, queue_id: int = 0, properties: str = "", flag: int = 0) -> Command:
    """A SEND_MESSAGE_V2."""
    fields = {
        "a": "PG",
        "b": topic,
        "c": "TBW102",
        "d": "4",
        "e": str(queue_id),
        "f": "0",
        "g": str(time.time_ns() // 1_000_000),
        "h": "0",
        "i": properties,
        "j": "0",
        "k": "false",
        "m": "false",
    }
    return Command(RequestCode.SEND_MESSAGE_V2, flag=flag, fields=fields, body=body)


def pull_request(
    topic: str, queue_id: int, offset: int, *, expression: str = "*", suspend_ms: int = 0
) -> Command:
    """A PULL_MESSAGE with its subscription."""
    flags = PULL_SUBSCRIPTION | (PULL_SUSPEND if suspend_ms else 0)
    fields = {
        "consumerGroup": "system-test",
        "topic": topic,
        "queueId": str(queue_id),
        "queueOffset": str(offset),
        "maxMsgNums": "32",
        "sysFlag": str(flags),
        "commitOffset": "0",
        "suspendTimeoutMillis": str(suspend_ms),
        "subscription": expression,
        "subVersion": "0",
    }
    return Command(RequestCode.PULL_MESSAGE, fields=fields)
