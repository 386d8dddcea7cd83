import zlib

import pytest

from shmq.client.errors import MessageError, NoAnswerError, NoRouteError, SendError, UnreachableError
from shmq.client.message import BODY_BYTES_MAX, Message, SendStatus
from shmq.client.producer import Producer
from shmq.client.routing import TEMPLATE_TOPIC
from shmq.client.sending import RETRIED, ProducerSettings
from shmq.errors import PeerError
from shmq.wire.batch import split_batch
from shmq.wire.bodies import MessageQueue
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.fields import read_header
from shmq.wire.flags import COMPRESSION_ZLIB, MESSAGE_COMPRESSED
from shmq.wire.message import parse_properties
from shmq.wire.route_bodies import BrokerData, QueueData, TopicRouteData
from shmq.wire.send_headers import SendHeader
from tests.support.fake_broker import FakeBroker, stored_fields

_SEND = RequestCode.SEND_MESSAGE_V2


@pytest.fixture
def producer(broker):
    with Producer(broker.address) as opened:
        yield opened


def _headers(broker, code=_SEND):
    return [read_header(SendHeader, request.fields, short=True) for request in broker.received(code)]


def _refuse(broker, code, *, times):
    """Refuse the next sends with a code."""
    left = [code] * times

    def answer(request):
        if left:
            return request.reply(left.pop(), "not now")
        return request.reply(fields=stored_fields(broker, 0, 0))

    broker.script[_SEND] = answer


def _two_brokers(first, second):
    """Tell a route over both brokers, one queue each."""
    route = TopicRouteData(
        (QueueData(first.name, 1, 1, 6), QueueData(second.name, 1, 1, 6)),
        (BrokerData("c", first.name, {0: first.address}), BrokerData("c", second.name, {0: second.address})),
    )
    first.routes["Both"] = route
    return route


def test_a_sent_message_is_stored_and_told_where(producer, broker):
    result = producer.send(Message("T", b"hello", tag="A"))
    assert result.status is SendStatus.SEND_OK
    assert (result.queue.broker_name, result.queue_offset) == ("fake", 0)
    assert broker.end("T", result.queue.queue_id) == 1
    properties = parse_properties(_headers(broker)[0].properties)
    assert (properties["UNIQ_KEY"], properties["TAGS"]) == (result.message_id, "A")


def test_messages_go_round_the_queues(producer):
    queue_ids = [producer.send(Message("T", b"x")).queue.queue_id for _ in range(4)]
    assert sorted(queue_ids[:2]) == [0, 1]
    assert queue_ids[:2] == queue_ids[2:]


def test_a_message_goes_to_the_queue_that_was_asked_for(producer):
    queue = producer.queues("T")[1]
    assert [producer.send(Message("T", b"x"), queue).queue for _ in range(3)] == [queue] * 3


def test_a_queue_of_an_unknown_broker_has_no_route(producer):
    with pytest.raises(NoRouteError, match="elsewhere"):
        producer.send(Message("T", b"x"), MessageQueue("T", "elsewhere", 0))


def test_a_long_body_travels_compressed(producer, broker):
    producer.send(Message("T", b"a" * 5000))
    (request,) = broker.received(_SEND)
    assert _headers(broker)[0].sys_flag == MESSAGE_COMPRESSED | COMPRESSION_ZLIB
    assert zlib.decompress(request.body) == b"a" * 5000


def test_a_topic_that_is_none_yet_is_sent_to_a_broker_that_makes_it(producer, broker):
    broker.routes[TEMPLATE_TOPIC] = broker.route(8, permission=7)
    producer.send(Message("New", b"x"))
    (header,) = _headers(broker)
    assert (header.topic, header.default_topic, header.default_topic_queue_count) == (
        "New",
        TEMPLATE_TOPIC,
        4,
    )


def test_a_topic_without_route_is_not_sent(producer, broker):
    with pytest.raises(NoRouteError):
        producer.send(Message("Nowhere", b"x"))
    assert broker.received(_SEND) == []


def test_a_topic_that_nobody_may_write_is_not_sent(producer, broker):
    broker.routes["R"] = broker.route(1, permission=4)
    with pytest.raises(NoRouteError, match="takes"):
        producer.send(Message("R", b"x"))


@pytest.mark.parametrize("code", sorted(RETRIED))
def test_a_refusal_that_another_broker_may_not_repeat_is_tried_again(producer, broker, code):
    _refuse(broker, code, times=2)
    assert producer.send(Message("T", b"x")).status is SendStatus.SEND_OK
    assert len(broker.received(_SEND)) == 3


def test_tries_end_after_two_retries(producer, broker):
    _refuse(broker, ResponseCode.SYSTEM_BUSY, times=9)
    with pytest.raises(SendError) as refused:
        producer.send(Message("T", b"x"))
    assert (refused.value.code, refused.value.remark) == (ResponseCode.SYSTEM_BUSY, "not now")
    assert len(broker.received(_SEND)) == 3


def test_all_tries_of_a_message_carry_one_id(producer, broker):
    _refuse(broker, ResponseCode.SYSTEM_BUSY, times=2)
    producer.send(Message("T", b"x"))
    assert len({parse_properties(header.properties)["UNIQ_KEY"] for header in _headers(broker)}) == 1


def test_a_refusal_for_good_is_not_tried_again(producer, broker):
    _refuse(broker, ResponseCode.MESSAGE_ILLEGAL, times=9)
    with pytest.raises(SendError):
        producer.send(Message("T", b"x"))
    assert len(broker.received(_SEND)) == 1


def test_a_retry_goes_to_another_broker(broker):
    with FakeBroker(name="other") as other, Producer(broker.address) as producer:
        _two_brokers(broker, other)
        for each in (broker, other):
            _refuse(each, ResponseCode.SYSTEM_BUSY, times=1)
        for _ in range(2):
            producer.send(Message("Both", b"x"))
        assert {len(broker.received(_SEND)), len(other.received(_SEND))} == {2}


def test_a_broker_that_is_down_is_passed_over(broker):
    with FakeBroker(name="other") as gone:
        _two_brokers(broker, gone)
    with Producer(broker.address) as producer:
        results = [producer.send(Message("Both", b"x")) for _ in range(4)]
    assert {result.queue.broker_name for result in results} == {"fake"}


def test_a_lost_connection_is_tried_again(producer, broker):
    def hang_up_once(_):
        broker.script.clear()
        broker.drop_connections()

    broker.script[_SEND] = hang_up_once
    assert producer.send(Message("T", b"x")).status is SendStatus.SEND_OK


def test_no_answer_in_time_is_an_error(broker):
    broker.script[_SEND] = lambda _: None
    with (
        Producer(broker.address, ProducerSettings(timeout_s=0.1)) as producer,
        pytest.raises(NoAnswerError),
    ):
        producer.send(Message("T", b"x"))
    assert len(broker.received(_SEND)) == 1


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (ResponseCode.FLUSH_DISK_TIMEOUT, SendStatus.FLUSH_DISK_TIMEOUT),
        (ResponseCode.FLUSH_SLAVE_TIMEOUT, SendStatus.FLUSH_SLAVE_TIMEOUT),
        (ResponseCode.SLAVE_NOT_AVAILABLE, SendStatus.SLAVE_NOT_AVAILABLE),
    ],
)
def test_a_stored_message_says_what_is_certain_of_it(producer, broker, code, status):
    broker.script[_SEND] = lambda request: request.reply(code, fields=stored_fields(broker, 1, 5))
    result = producer.send(Message("T", b"x"))
    assert (result.status, result.queue.queue_id, result.queue_offset) == (status, 1, 5)


def test_a_success_without_its_header_is_the_brokers_fault(producer, broker):
    broker.script[_SEND] = lambda request: request.reply()
    with pytest.raises(PeerError, match="msgId"):
        producer.send(Message("T", b"x"))


def test_a_batch_is_one_request_and_one_queue(producer, broker):
    result = producer.send_batch([Message("T", b"a", tag="A"), Message("T", b"b")])
    (request,) = broker.received(RequestCode.SEND_BATCH_MESSAGE)
    entries = split_batch(request.body)
    assert [bytes(entry.body) for entry in entries] == [b"a", b"b"]
    ids = [parse_properties(bytes(entry.properties).decode())["UNIQ_KEY"] for entry in entries]
    assert result.message_id == ",".join(ids)
    assert _headers(broker, RequestCode.SEND_BATCH_MESSAGE)[0].batch
    assert broker.end("T", result.queue.queue_id) == 2


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [Message("T", b"a"), Message("Other", b"b")],
        [Message("T", b"a", delay_level=1)],
        [Message("%RETRY%g", b"a")],
        [Message("T", b"")],
        [Message("T", bytes(BODY_BYTES_MAX // 2))] * 2,
    ],
    ids=["empty", "two topics", "delayed", "retry topic", "empty body", "too long"],
)
def test_a_batch_that_no_broker_would_take_is_refused(producer, messages):
    with pytest.raises(MessageError):
        producer.send_batch(messages)


def test_properties_too_long_for_their_length_field_are_refused(producer):
    with pytest.raises(MessageError, match="properties"):
        producer.send(Message("T", b"x", properties={"a": "b" * 40_000}))


def test_a_oneway_message_asks_for_no_answer(producer, broker):
    producer.send_oneway(Message("T", b"x"))
    (request,) = broker.wait_received(_SEND)
    assert request.is_oneway


def test_a_oneway_message_to_a_broker_that_is_down_is_an_error(broker):
    with FakeBroker(name="gone") as gone:
        broker.routes["G"] = gone.route(1)
    with Producer(broker.address) as producer, pytest.raises(UnreachableError):
        producer.send_oneway(Message("G", b"x"))
