"""The load: clients over plain sockets, in a process of their own that is told by lines of JSON what to do.

    python -m perf.load_generator

Each line on stdin is a job with its arguments; each job is answered by one line, `consume` by two. Frames are
made once and only their message id (and in paced sends the time stamp) is written anew, so that the load costs
much less than what it measures; its own CPU time is part of every answer. All clocks are CLOCK_MONOTONIC, which
the processes of a machine share.

A closed loop (`send`, `pull`) keeps a window of requests in flight on each connection: it measures what can be
taken, and a slow answer delays the next request. The open loop (`paced`) sends when the plan says, whatever was
answered; its latencies, and those that `consume` sees, count from the planned time.
"""

import json
import select
import socket
import struct
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from perf.harness import percentiles
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command, decode, encode
from shmq.wire.frame import FrameReader
from shmq.wire.message import decode_messages

RECEIVE_BYTES: Final = 1 << 18
PULL_MESSAGES: Final = 32
SUSPEND_AND_SUBSCRIPTION: Final = 2 | 4
SUSPEND_MS: Final = 15_000
NS: Final = 1_000_000_000
LEAD_NS: Final = 50_000_000
"""How far ahead a plan begins."""

_KEY: Final = b"#" * 32
_STAMP: Final = struct.Struct(">q")


class SendFrame:
    """A send request, whole but for its message id."""

    def __init__(self, topic: str, queue_id: int, body_bytes: int, opaque: int) -> None:
        fields = {
            "a": "perf-producer",
            "b": topic,
            "c": "TBW102",
            "d": "4",
            "e": str(queue_id),
            "f": "0",
            "g": str(time.time_ns() // 1_000_000),
            "h": "0",
            "i": f"UNIQ_KEY\x01{_KEY.decode()}\x02WAIT\x01true\x02TAGS\x01TagA",
            "j": "0",
            "k": "false",
            "m": "false",
        }
        frame = encode(Command(RequestCode.SEND_MESSAGE_V2, opaque, fields=fields, body=bytes(body_bytes)))
        self._head, _, self._tail = frame.partition(_KEY)
        self._before_body = self._tail[: len(self._tail) - body_bytes]
        self._rest = bytes(body_bytes - _STAMP.size)

    def numbered(self, number: int) -> bytes:
        """The frame of one message."""
        return b"%b%032X%b" % (self._head, number, self._tail)

    def stamped(self, number: int, time_ns: int) -> bytes:
        """The frame of one message whose body begins with a time."""
        body = _STAMP.pack(time_ns) + self._rest
        return b"%b%032X%b%b" % (self._head, number, self._before_body, body)


class Lane:
    """One connection."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = FrameReader()

    def receive(self) -> list[Command]:
        """Wait for bytes; return the answers that are whole now."""
        received = self.socket.recv(RECEIVE_BYTES)
        if not received:
            raise ConnectionError("the peer closed the connection")
        return [decode(frame) for frame in self._reader.feed(received)]

    def call(self, command: Command) -> Command:
        """One request and its answer, with nothing else in flight."""
        self.socket.sendall(encode(command))
        while True:
            for answer in self.receive():
                if answer.is_response:
                    return answer


@dataclass
class Sender:
    """A connection with a window of sends in flight; the opaque of a request is its place in the window."""

    lane: Lane
    queue_id: int
    frames: list[SendFrame]
    sent_ns: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.sent_ns = [0] * len(self.frames)


class Senders:
    """A closed loop over several connections."""

    def __init__(
        self, *, address: str, topic: str, queues: int, connections: int, window: int, body_bytes: int
    ) -> None:
        self._epoll = select.epoll()
        self._senders: dict[int, Sender] = {}
        self._number = time.time_ns()
        self._sent: Counter[int] = Counter()
        for connection in range(connections):
            queue_id = connection % queues
            frames = [SendFrame(topic, queue_id, body_bytes, opaque) for opaque in range(window)]
            sender = Sender(Lane(address), queue_id, frames)
            self._senders[sender.lane.socket.fileno()] = sender
            self._epoll.register(sender.lane.socket, select.EPOLLIN)

    def send(self, messages: int) -> dict[str, Any]:
        """Send so many messages and wait for every answer."""
        latencies_ns: list[int] = []
        cpu_begin, begin_ns = time.process_time(), time.monotonic_ns()
        left = messages
        for sender in self._senders.values():
            left -= self._fill(sender, range(min(left, len(sender.frames))))
        while len(latencies_ns) < messages:
            for descriptor, _ in self._epoll.poll():
                sender = self._senders[descriptor]
                answers = sender.lane.receive()
                now_ns = time.monotonic_ns()
                for answer in answers:
                    require_success(answer)
                    latencies_ns.append(now_ns - sender.sent_ns[answer.opaque])
                left -= self._fill(sender, [answer.opaque for answer in answers[:left]])
        elapsed_ns = time.monotonic_ns() - begin_ns
        return {
            "messages": messages,
            "seconds": elapsed_ns / NS,
            "cpu_seconds": time.process_time() - cpu_begin,
            "latencies": percentiles(latencies_ns),
            "sent": [self._sent[queue_id] for queue_id in sorted(self._sent)],
        }

    def _fill(self, sender: Sender, places: Any) -> int:
        frames = []
        for place in places:
            self._number += 1
            frames.append(sender.frames[place].numbered(self._number))
        if frames:
            now_ns = time.monotonic_ns()
            for place in places:
                sender.sent_ns[place] = now_ns
            self._sent[sender.queue_id] += len(frames)
            sender.lane.socket.sendall(b"".join(frames))
        return len(frames)


def pull(*, address: str, topic: str, ends: list[int]) -> dict[str, Any]:
    """Read each queue from 0 to its end, one pull in flight a queue, each on a connection of its own."""
    epoll = select.epoll()
    lanes = [Lane(address) for _ in ends]
    queue_of = {lane.socket.fileno(): queue_id for queue_id, lane in enumerate(lanes)}
    offsets = [0] * len(ends)
    sent_ns = [0] * len(ends)
    latencies_ns: list[int] = []
    pulled_bytes = 0
    cpu_begin, begin_ns = time.process_time(), time.monotonic_ns()
    for lane, (queue_id, end) in zip(lanes, enumerate(ends), strict=True):
        epoll.register(lane.socket, select.EPOLLIN)
        if end:
            sent_ns[queue_id] = time.monotonic_ns()
            lane.socket.sendall(pull_frame(topic, queue_id, 0))
    while any(offset < end for offset, end in zip(offsets, ends, strict=True)):
        for descriptor, _ in epoll.poll():
            queue_id = queue_of[descriptor]
            for answer in lanes[queue_id].receive():
                now_ns = time.monotonic_ns()
                if answer.code == ResponseCode.SUCCESS:
                    following = int(answer.fields["nextBeginOffset"])
                    count_messages(answer.body, following - offsets[queue_id])
                    pulled_bytes += len(answer.body)
                    offsets[queue_id] = following
                    latencies_ns.append(now_ns - sent_ns[queue_id])
                elif answer.code not in {ResponseCode.PULL_NOT_FOUND, ResponseCode.PULL_RETRY_IMMEDIATELY}:
                    require_success(answer)
                if offsets[queue_id] < ends[queue_id]:
                    sent_ns[queue_id] = time.monotonic_ns()
                    lanes[queue_id].socket.sendall(pull_frame(topic, queue_id, offsets[queue_id]))
    elapsed_ns = time.monotonic_ns() - begin_ns
    epoll.close()
    for lane in lanes:
        lane.socket.close()
    return {
        "messages": sum(offsets),
        "pulls": len(latencies_ns),
        "bytes": pulled_bytes,
        "seconds": elapsed_ns / NS,
        "cpu_seconds": time.process_time() - cpu_begin,
        "latencies": percentiles(latencies_ns),
    }


def paced(*, address: str, topic: str, messages: int, rate: int, body_bytes: int) -> dict[str, Any]:
    """Send so many messages a second to queue 0, each at its planned time, whatever has been answered."""
    lane = Lane(address)
    frame = SendFrame(topic, 0, body_bytes, 0)
    number = time.time_ns()
    start_ns = time.monotonic_ns() + LEAD_NS
    planned_ns = [start_ns + NS * index // rate for index in range(messages)]
    late_ns: list[int] = []
    answered_ns: list[int] = []

    def take(answers: list[Command]) -> None:
        now_ns = time.monotonic_ns()
        for answer in answers:
            require_success(answer)
            answered_ns.append(now_ns - planned_ns[len(answered_ns)])  # one connection: answers keep order

    for index, due_ns in enumerate(planned_ns):
        while (wait_ns := due_ns - time.monotonic_ns()) > 0:
            readable, _, _ = select.select([lane.socket], [], [], wait_ns / NS)
            if readable:
                take(lane.receive())
        late_ns.append(time.monotonic_ns() - due_ns)
        lane.socket.sendall(frame.stamped(number + index, due_ns))
    while len(answered_ns) < messages:
        take(lane.receive())
    lane.socket.close()
    return {"answered": percentiles(answered_ns), "late": percentiles(late_ns)}


def consume(*, address: str, topic: str, messages: int) -> dict[str, Any]:
    """Follow queue 0 by long polls from its end on; latencies count from the time in each body."""
    lane = Lane(address)
    fields = {"topic": topic, "queueId": "0"}
    answer = lane.call(Command(RequestCode.GET_MAX_OFFSET, fields=fields))
    require_success(answer)
    offset = int(answer.fields["offset"])
    reply({"ready": True})
    latencies_ns: list[int] = []
    pulls = 0
    while len(latencies_ns) < messages:
        lane.socket.sendall(pull_frame(topic, 0, offset))
        answers: list[Command] = []
        while not answers:
            answers = lane.receive()
        now_ns = time.monotonic_ns()
        pulls += 1
        (answer,) = answers
        if answer.code == ResponseCode.SUCCESS:
            planned_ns = (_STAMP.unpack_from(message.body)[0] for message in decode_messages(answer.body))
            latencies_ns.extend(now_ns - each for each in planned_ns)
            offset = int(answer.fields["nextBeginOffset"])
    lane.socket.close()
    return {"latencies": percentiles(latencies_ns), "messages_a_pull": len(latencies_ns) / pulls}


def pull_frame(topic: str, queue_id: int, offset: int) -> bytes:
    """A pull that waits where there is nothing yet."""
    fields = {
        "consumerGroup": "perf-consumer",
        "topic": topic,
        "queueId": str(queue_id),
        "queueOffset": str(offset),
        "maxMsgNums": str(PULL_MESSAGES),
        "sysFlag": str(SUSPEND_AND_SUBSCRIPTION),
        "commitOffset": "0",
        "suspendTimeoutMillis": str(SUSPEND_MS),
        "subscription": "*",
        "subVersion": "0",
    }
    return encode(Command(RequestCode.PULL_MESSAGE, fields=fields))


def count_messages(body: bytes | memoryview, expected: int) -> None:
    """Walk the messages of an answer by their sizes."""
    at = found = 0
    while at < len(body):
        at += int.from_bytes(body[at : at + 4], "big")
        found += 1
    if found != expected or at != len(body):
        raise AssertionError(f"{found} messages in {len(body)} bytes where {expected} were announced")


def require_success(answer: Command) -> None:
    """Stop where a request failed: its figures would mean nothing."""
    if answer.code != ResponseCode.SUCCESS:
        raise AssertionError(f"code {answer.code}: {answer.remark}")


def reply(content: dict[str, Any]) -> None:
    """Answer a job."""
    print(json.dumps(content), flush=True)


def main() -> None:
    """Do jobs until stdin ends."""
    senders: Senders | None = None
    for line in sys.stdin:
        arguments = json.loads(line)
        match arguments.pop("job"):
            case "open":
                senders = Senders(**arguments)
                reply({"opened": arguments["connections"]})
            case "send" if senders is not None:
                reply(senders.send(**arguments))
            case "pull":
                reply(pull(**arguments))
            case "paced":
                reply(paced(**arguments))
            case "consume":
                reply(consume(**arguments))
            case unknown:
                raise AssertionError(f"no such job: {unknown}")


if __name__ == "__main__":
    main()
