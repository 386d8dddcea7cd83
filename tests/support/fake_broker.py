"""A name server and broker in one thread per connection, for tests of clients: real sockets, real frames.

It keeps topics in memory and answers as RocketMQ does when all goes well. `script` replaces the answer to a request
code: a function that gets the request and returns a response, or None to stay silent. What arrived is in `requests`.
"""

import contextlib
import socket
import struct
import threading
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Final, Self

from shmq.wire.batch import split_batch
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command, decode, encode
from shmq.wire.consume_headers import (
    HeartbeatResponseHeader,
    MaxOffsetHeader,
    MinOffsetHeader,
    OffsetResponseHeader,
    PullHeader,
    PullResponseHeader,
    QueryOffsetHeader,
    UpdateOffsetHeader,
)
from shmq.wire.fields import read_header, write_header
from shmq.wire.flags import PULL_SUSPEND
from shmq.wire.frame import FrameReader
from shmq.wire.heartbeat_bodies import HeartbeatData
from shmq.wire.message import Host, offset_message_id
from shmq.wire.route_bodies import BrokerData, QueueData, TopicRouteData
from shmq.wire.send_headers import SendHeader, SendResponseHeader

Answer = Callable[[Command], Command | None]

DEADLINE_S: Final = 10.0

_LOOPBACK: Final = bytes((127, 0, 0, 1))


class FakeBroker:
    """One broker that also answers for routes, on a port of its own."""

    def __init__(self, topics: Mapping[str, int] | None = None, *, name: str = "fake") -> None:
        self.name = name
        self.topics = dict(topics or {})
        self.routes: dict[str, TopicRouteData] = {}
        self.script: dict[int, Answer] = {}
        self.requests: list[Command] = []
        self.groups: set[str] = set()
        self.committed: dict[tuple[str, str, int], int] = {}
        self.min_offsets: dict[tuple[str, int], int] = defaultdict(int)
        self._queues: dict[tuple[str, int], list[bytes]] = defaultdict(list)
        self._changed = threading.Condition()
        self._connections: list[socket.socket] = []
        self._is_open = True
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening and end all connections."""
        with self._changed:
            self._is_open = False
            self._changed.notify_all()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop_connections()

    def drop_connections(self) -> None:
        """End all connections."""
        with self._changed:
            dropped, self._connections = self._connections, []
        for connection in dropped:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def push(self, command: Command) -> None:
        """Send a command of the broker's own on every connection."""
        with self._changed:
            connections = list(self._connections)
        for connection in connections:
            connection.sendall(encode(command))

    def route(self, queue_count: int, *, permission: int = 6) -> TopicRouteData:
        """Return a route to this broker."""
        return TopicRouteData(
            queues=(QueueData(self.name, queue_count, queue_count, permission),),
            brokers=(BrokerData("cluster", self.name, {0: self.address}),),
        )

    def store(
        self,
        topic: str,
        queue_id: int,
        body: bytes,
        properties: Mapping[str, str] | None = None,
        *,
        sys_flag: int = 0,
    ) -> int:
        """Put a message at the end of a queue; return its offset."""
        written = "".join(f"{name}\x01{value}\x02" for name, value in (properties or {}).items()).encode()
        with self._changed:
            queue = self._queues[topic, queue_id]
            offset = self.min_offsets[topic, queue_id] + len(queue)
            queue.append(self._record(topic, queue_id, offset, body, written, sys_flag))
            self._changed.notify_all()
        return offset

    def end(self, topic: str, queue_id: int) -> int:
        """Return the offset that the next message of a queue will have."""
        with self._changed:
            return self.min_offsets[topic, queue_id] + len(self._queues[topic, queue_id])

    def received(self, code: int) -> list[Command]:
        """Return the requests of one code."""
        with self._changed:
            return [request for request in self.requests if request.code == code]

    def wait_received(self, code: int, count: int = 1) -> list[Command]:
        """Return the requests of one code once there are so many."""
        give_up_at = time.monotonic() + DEADLINE_S
        with self._changed:
            while True:
                found = [request for request in self.requests if request.code == code]
                if len(found) >= count:
                    return found
                assert self._changed.wait(give_up_at - time.monotonic()), f"got {len(found)} of code {code}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._changed:
                    self._connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        reader = FrameReader()
        with connection, contextlib.suppress(OSError):
            while received := connection.recv(1 << 16):
                for frame in reader.feed(received):
                    self._take(connection, decode(frame))

    def _take(self, connection: socket.socket, request: Command) -> None:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
        if request.is_response:
            return
        if request.code == RequestCode.PULL_MESSAGE and request.code not in self.script:
            threading.Thread(target=self._pull_later, args=(connection, request), daemon=True).start()
            return
        response = self.answer(request)
        if response is not None and not request.is_oneway:
            connection.sendall(encode(response))

    def answer(self, request: Command) -> Command | None:
        """Return what the script says, or what a broker answers when all goes well."""
        scripted = self.script.get(request.code)
        if scripted is not None:
            return scripted(request)
        return _ANSWERS.get(request.code, _answer_unknown)(self, request)

    def _pull_later(self, connection: socket.socket, request: Command) -> None:
        response = self._pull(request)
        if response is not None:
            with contextlib.suppress(OSError):
                connection.sendall(encode(response))

    def _pull(self, request: Command) -> Command | None:
        header = read_header(PullHeader, request.fields)
        key = (header.topic, header.queue_id)
        wait_s = header.suspend_timeout_ms / 1000 if header.sys_flag & PULL_SUSPEND else 0.0
        give_up_at = time.monotonic() + wait_s
        with self._changed:
            while True:
                first = self.min_offsets[key]
                queue = self._queues[key]
                end = first + len(queue)
                found = queue[header.queue_offset - first :][: header.message_count_max]
                if header.queue_offset < first or header.queue_offset > end:
                    moved = first if header.queue_offset < first else end
                    return _pulled(request, ResponseCode.PULL_OFFSET_MOVED, moved, first, end)
                if found:
                    after = header.queue_offset + len(found)
                    return _pulled(request, ResponseCode.SUCCESS, after, first, end, b"".join(found))
                woken = self._changed.wait(give_up_at - time.monotonic())
                if not self._is_open:
                    return None
                if not woken:
                    return _pulled(request, ResponseCode.PULL_NOT_FOUND, header.queue_offset, first, end)

    def _record(
        self, topic: str, queue_id: int, offset: int, body: bytes, properties: bytes, sys_flag: int
    ) -> bytes:
        now_ms = int(time.time() * 1000)
        head = struct.pack(
            ">IIiiqqiq",
            0xDAA320A7,
            zlib.crc32(body) & 0x7FFFFFFF,
            queue_id,
            0,
            offset,
            1000 + offset,
            sys_flag,
            now_ms,
        )
        host = _LOOPBACK + struct.pack(">i", self.port)
        tail = struct.pack(">q", now_ms) + host + struct.pack(">iqi", 0, 0, len(body)) + body
        names = bytes((len(topic),)) + topic.encode() + struct.pack(">h", len(properties)) + properties
        record = head + host + tail + names
        return struct.pack(">i", len(record) + 4) + record


def _answer_route(broker: FakeBroker, request: Command) -> Command:
    topic = request.fields["topic"]
    route = broker.routes.get(topic)
    if route is None and topic in broker.topics:
        route = broker.route(broker.topics[topic])
    if route is None:
        return request.reply(ResponseCode.TOPIC_NOT_EXIST, f"No topic route info for {topic}")
    return request.reply(body=route.to_bytes(standard=True))


def _answer_send(broker: FakeBroker, request: Command) -> Command:
    header = read_header(SendHeader, request.fields, short=True)
    bodies = [entry.body for entry in split_batch(request.body)] if header.batch else [request.body]
    properties = _pairs(header.properties)
    offsets = [
        broker.store(header.topic, header.queue_id, bytes(body), properties, sys_flag=header.sys_flag)
        for body in bodies
    ]
    return request.reply(fields=stored_fields(broker, header.queue_id, offsets[0]))


def _answer_heartbeat(broker: FakeBroker, request: Command) -> Command:
    beat = HeartbeatData.from_bytes(request.body)
    broker.groups.update(consumer.group_name for consumer in beat.consumers)
    return request.reply(fields=write_header(HeartbeatResponseHeader()))


def _answer_success(_: FakeBroker, request: Command) -> Command:
    return request.reply()


def _answer_end(broker: FakeBroker, request: Command) -> Command:
    header = read_header(MaxOffsetHeader, request.fields)
    return _offset(request, broker.end(header.topic, header.queue_id))


def _answer_first(broker: FakeBroker, request: Command) -> Command:
    header = read_header(MinOffsetHeader, request.fields)
    return _offset(request, broker.min_offsets[header.topic, header.queue_id])


def _answer_query(broker: FakeBroker, request: Command) -> Command:
    header = read_header(QueryOffsetHeader, request.fields)
    offset = broker.committed.get((header.consumer_group, header.topic, header.queue_id))
    if offset is None:
        return request.reply(ResponseCode.QUERY_NOT_FOUND, "Not found")
    return _offset(request, offset)


def _answer_update(broker: FakeBroker, request: Command) -> Command:
    header = read_header(UpdateOffsetHeader, request.fields)
    if header.consumer_group not in broker.groups:
        return request.reply(ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, f"no {header.consumer_group}")
    broker.committed[header.consumer_group, header.topic, header.queue_id] = header.commit_offset
    return request.reply()


def _answer_unknown(_: FakeBroker, request: Command) -> Command:
    return request.reply(ResponseCode.REQUEST_CODE_NOT_SUPPORTED, f"unknown {request.code}")


_ANSWERS: Final[Mapping[int, Callable[[FakeBroker, Command], Command]]] = {
    RequestCode.GET_ROUTEINFO_BY_TOPIC: _answer_route,
    RequestCode.SEND_MESSAGE_V2: _answer_send,
    RequestCode.SEND_BATCH_MESSAGE: _answer_send,
    RequestCode.HEART_BEAT: _answer_heartbeat,
    RequestCode.UNREGISTER_CLIENT: _answer_success,
    RequestCode.GET_MAX_OFFSET: _answer_end,
    RequestCode.GET_MIN_OFFSET: _answer_first,
    RequestCode.QUERY_CONSUMER_OFFSET: _answer_query,
    RequestCode.UPDATE_CONSUMER_OFFSET: _answer_update,
}


def stored_fields(broker: FakeBroker, queue_id: int, queue_offset: int) -> dict[str, str]:
    """Return the header of the answer to a message that was stored."""
    message_id = offset_message_id(Host(_LOOPBACK, broker.port), 1000 + queue_offset)
    return write_header(
        SendResponseHeader(message_id=message_id, queue_id=queue_id, queue_offset=queue_offset)
    )


def _pulled(request: Command, code: int, after: int, first: int, end: int, body: bytes = b"") -> Command:
    header = PullResponseHeader(suggested_broker_id=0, next_offset=after, min_offset=first, max_offset=end)
    return request.reply(code, fields=write_header(header), body=body)


def _offset(request: Command, offset: int) -> Command:
    return request.reply(fields=write_header(OffsetResponseHeader(offset=offset)))


def _pairs(properties: str | None) -> dict[str, str]:
    pairs = (part.split("\x01", 1) for part in (properties or "").split("\x02") if part)
    return dict(pairs)
