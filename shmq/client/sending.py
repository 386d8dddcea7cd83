"""Sending: the flows of a producer.

A message goes to the next queue of its topic, round and round. If that fails in a way that another broker may not
(the codes of RETRIED, a lost connection, no answer), it is tried again, on another broker if there is one; all
tries share one timeout. A message whose answer was lost may therefore be stored twice, under the same message id.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic, time
from typing import Final, NamedTuple

from shmq.client.errors import (
    ClientError,
    MessageError,
    NoAnswerError,
    NoRouteError,
    SendError,
    UnreachableError,
)
from shmq.client.identity import Identity
from shmq.client.membership import Membership
from shmq.client.message import (
    BODY_BYTES_MAX,
    COMPRESS_BYTES,
    WAIT_STORED,
    Message,
    SendResult,
    SendStatus,
    check,
    compress,
    properties_of,
)
from shmq.client.protocol import Begin, Exchange, Flow, finish, read_answer, request_of
from shmq.client.routing import TEMPLATE_QUEUE_COUNT, TEMPLATE_TOPIC, Route, Router
from shmq.wire.batch import PROPERTIES_BYTES_MAX, BatchEntry, join_batch
from shmq.wire.bodies import MessageQueue
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.fields import write_header
from shmq.wire.flags import COMPRESSION_ZLIB, MESSAGE_COMPRESSED
from shmq.wire.message import write_properties
from shmq.wire.send_headers import SendHeader, SendResponseHeader

SEND_TIMEOUT_S: Final = 3.0
RETRIES: Final = 2

RETRIED: Final = frozenset(
    {
        ResponseCode.TOPIC_NOT_EXIST,
        ResponseCode.SERVICE_NOT_AVAILABLE,
        ResponseCode.SYSTEM_ERROR,
        ResponseCode.SYSTEM_BUSY,
        ResponseCode.NO_PERMISSION,
        ResponseCode.NO_BUYER_ID,
        ResponseCode.NOT_IN_CURRENT_UNIT,
        ResponseCode.GO_AWAY,
    }
)
_STORED: Final = {
    ResponseCode.SUCCESS: SendStatus.SEND_OK,
    ResponseCode.FLUSH_DISK_TIMEOUT: SendStatus.FLUSH_DISK_TIMEOUT,
    ResponseCode.FLUSH_SLAVE_TIMEOUT: SendStatus.FLUSH_SLAVE_TIMEOUT,
    ResponseCode.SLAVE_NOT_AVAILABLE: SendStatus.SLAVE_NOT_AVAILABLE,
}


@dataclass(frozen=True, slots=True)
class ProducerSettings:
    """How a producer sends.

    Attributes:
        group: the producer group, as brokers list it.
        timeout_s: for all tries of one message together.
        retries: how often a failed try may be followed by another.
        compress_bytes: bodies of this size and more travel compressed.
    """

    group: str = "DEFAULT_PRODUCER"
    timeout_s: float = SEND_TIMEOUT_S
    retries: int = RETRIES
    compress_bytes: int = COMPRESS_BYTES


class _Parcel(NamedTuple):
    """A message or a batch as it is sent, whatever the queue."""

    topic: str
    message_id: str
    body: bytes
    properties: str
    flag: int
    sys_flag: int
    is_batch: bool


class Sender:
    """The flows of one producer."""

    def __init__(self, router: Router, identity: Identity, settings: ProducerSettings) -> None:
        self.membership = Membership(identity.client_id, producer_group=settings.group)
        self._router = router
        self._identity = identity
        self._settings = settings
        self._turns: dict[str, int] = {}

    def queues(self, topic: str) -> Flow[tuple[MessageQueue, ...]]:
        """Return the queues that messages of a topic may be sent to."""
        route = yield from self._route(topic, monotonic() + self._settings.timeout_s)
        return route.writable

    def send(self, message: Message, queue: MessageQueue | None = None) -> Flow[SendResult]:
        """Send a message to a queue, or to the topic's next; return where it is stored."""
        check(message)
        return (yield from self._send(self._parcel(message), queue))

    def send_batch(self, messages: Sequence[Message], queue: MessageQueue | None = None) -> Flow[SendResult]:
        """Send messages of one topic as one; return where they are stored."""
        return (yield from self._send(self._batch(messages), queue))

    def send_oneway(self, message: Message, queue: MessageQueue | None = None) -> Flow[None]:
        """Send a message and ask for no answer."""
        check(message)
        deadline_s = monotonic() + self._settings.timeout_s
        parcel = self._parcel(message)
        route = yield from self._route(parcel.topic, deadline_s)
        target = queue or self._next_queue(route, None)
        exchange = self._exchange(route, parcel, target, deadline_s, oneway=True)
        yield Begin(exchange)
        yield from self.membership.follow(exchange)
        exchange.result()

    def _send(self, parcel: _Parcel, queue: MessageQueue | None) -> Flow[SendResult]:
        deadline_s = monotonic() + self._settings.timeout_s
        failed: MessageQueue | None = None
        failure: ClientError = NoAnswerError("the time to send is over")
        for _ in range(1 + self._settings.retries):
            route = yield from self._route(parcel.topic, deadline_s)
            target = queue or self._next_queue(route, failed and failed.broker_name)
            exchange = self._exchange(route, parcel, target, deadline_s)
            yield Begin(exchange)
            yield from self.membership.follow(exchange)
            yield from finish(exchange)
            try:
                return _result_of(exchange, parcel.message_id, target)
            except SendError as error:
                if error.code not in RETRIED:
                    raise
                failure = error
            except (UnreachableError, NoAnswerError) as error:
                self._router.doubt(parcel.topic)
                failure = error
            failed = target
            if monotonic() >= deadline_s:
                break
        raise failure

    def _route(self, topic: str, deadline_s: float) -> Flow[Route]:
        return (yield from self._router.find(topic, deadline_s, may_be_made=True))

    def _next_queue(self, route: Route, failed_broker: str | None) -> MessageQueue:
        """Return the topic's next queue, of another broker than the failed one if there is another."""
        queues = route.writable
        if not queues:
            raise NoRouteError(f"no broker of the topic {route.topic} takes messages")
        turn = self._turns.get(route.topic)
        if turn is None:
            turn = random.randrange(len(queues))  # noqa: S311  (spreads producers, guards nothing)
        for step in range(len(queues)):
            queue = queues[(turn + step) % len(queues)]
            if queue.broker_name != failed_broker:
                break
        else:
            step, queue = 0, queues[turn % len(queues)]
        self._turns[route.topic] = turn + step + 1
        return queue

    def _exchange(
        self,
        route: Route,
        parcel: _Parcel,
        queue: MessageQueue,
        deadline_s: float,
        *,
        oneway: bool = False,
    ) -> Exchange:
        address = route.address(queue.broker_name)
        if address is None:
            raise NoRouteError(f"the topic {route.topic} has no broker {queue.broker_name}")
        header = SendHeader(
            producer_group=self._settings.group,
            topic=parcel.topic,
            default_topic=TEMPLATE_TOPIC,
            default_topic_queue_count=TEMPLATE_QUEUE_COUNT,
            queue_id=queue.queue_id,
            sys_flag=parcel.sys_flag,
            born_timestamp_ms=int(time() * 1000),
            flag=parcel.flag,
            properties=parcel.properties,
            batch=parcel.is_batch,
            broker_name=queue.broker_name,
        )
        code = RequestCode.SEND_BATCH_MESSAGE if parcel.is_batch else RequestCode.SEND_MESSAGE_V2
        request = request_of(code, write_header(header, short=True), parcel.body, oneway=oneway)
        return Exchange(address, request, deadline_s)

    def _parcel(self, message: Message) -> _Parcel:
        message_id = self._identity.next_message_id()
        properties = write_properties(properties_of(message, message_id))
        _check_properties(properties)
        body, sys_flag = message.body, 0
        if len(body) >= self._settings.compress_bytes:
            body, sys_flag = compress(body), MESSAGE_COMPRESSED | COMPRESSION_ZLIB
        return _Parcel(message.topic, message_id, body, properties, message.flag, sys_flag, is_batch=False)

    def _batch(self, messages: Sequence[Message]) -> _Parcel:
        if not messages:
            raise MessageError("the batch holds no message")
        topic = messages[0].topic
        message_ids = []
        entries = []
        for message in messages:
            check(message)
            if message.topic != topic or message.delay_level or topic.startswith("%RETRY%"):
                raise MessageError(
                    "a batch holds messages of one topic, without delay, and not of a retry topic"
                )
            message_ids.append(self._identity.next_message_id())
            properties = write_properties(properties_of(message, message_ids[-1]))
            _check_properties(properties)
            entries.append(BatchEntry(message.flag, message.body, properties.encode()))
        body = join_batch(entries)
        if len(body) > BODY_BYTES_MAX:
            raise MessageError(f"the batch of {len(body)} bytes is longer than {BODY_BYTES_MAX}")
        properties = write_properties({WAIT_STORED: "true"})
        return _Parcel(topic, ",".join(message_ids), body, properties, 0, 0, is_batch=True)


def _check_properties(properties: str) -> None:
    size = len(properties.encode())
    if size > PROPERTIES_BYTES_MAX:
        raise MessageError(f"the properties of {size} bytes are longer than {PROPERTIES_BYTES_MAX}")


def _result_of(exchange: Exchange, message_id: str, queue: MessageQueue) -> SendResult:
    response = exchange.result()
    status = next((status for code, status in _STORED.items() if code == response.code), None)
    if status is None:
        raise SendError(response.code, response.remark, exchange.address)
    header = read_answer(SendResponseHeader, response, exchange.address)
    return SendResult(
        status=status,
        message_id=message_id,
        offset_message_id=header.message_id,
        queue=queue._replace(queue_id=header.queue_id),
        queue_offset=header.queue_offset,
        transaction_id=header.transaction_id,
    )
