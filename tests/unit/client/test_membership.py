from time import monotonic

from shmq.client.connection import BlockingTransport
from shmq.client.consumer import PullConsumer
from shmq.client.membership import Membership
from shmq.client.message import Message
from shmq.client.producer import Producer
from shmq.client.protocol import Begin, Exchange, request_of
from shmq.client.pulling import ConsumerSettings
from shmq.client.sending import ProducerSettings
from shmq.wire.codes import RequestCode
from shmq.wire.heartbeat_bodies import ConsumeFromWhere, ConsumeType, HeartbeatData
from tests.support.fake_broker import DEADLINE_S

_BEAT = RequestCode.HEART_BEAT
_QUESTION = 9999


def _beats(broker, count=1):
    return [HeartbeatData.from_bytes(request.body) for request in broker.wait_received(_BEAT, count)]


def test_a_producer_tells_its_group(broker):
    with Producer(broker.address, ProducerSettings(group="PG")) as producer:
        producer.send(Message("T", b"x"))
        (beat,) = _beats(broker)
    assert (beat.producer_groups, beat.consumers) == (("PG",), ())
    assert "@" in beat.client_id


def test_a_consumer_tells_its_group_and_subscription(broker):
    settings = ConsumerSettings(group="CG", expression="A || B", from_beginning=True)
    with PullConsumer("T", broker.address, settings) as consumer:
        consumer.poll(0.0)
        (beat,) = _beats(broker)
    (data,) = beat.consumers
    assert (data.group_name, data.consume_type) == ("CG", ConsumeType.CONSUME_ACTIVELY)
    assert data.consume_from_where is ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET
    (subscription,) = data.subscriptions
    assert (subscription.topic, subscription.tags) == ("T", {"A", "B"})


def test_a_consumer_without_a_group_tells_nothing(broker):
    with PullConsumer("T", broker.address) as consumer:
        consumer.poll(0.05)
    assert broker.received(_BEAT) == []
    assert broker.received(RequestCode.UNREGISTER_CLIENT) == []


def test_one_heartbeat_serves_many_messages(broker):
    with Producer(broker.address) as producer:
        for _ in range(20):
            producer.send(Message("T", b"x"))
    assert len(broker.received(_BEAT)) == 1


def test_a_new_connection_gets_a_heartbeat(broker):
    with Producer(broker.address) as producer:
        producer.send(Message("T", b"x"))
        _beats(broker)
        broker.drop_connections()
        producer.send(Message("T", b"x"))
        assert len(_beats(broker, 2)) == 2


def test_a_heartbeat_is_repeated_when_it_is_due(broker):
    transport = BlockingTransport()
    member = Membership("id", producer_group="PG", heartbeat_s=0.0)
    for _ in range(3):
        transport.run(_speak(broker, member))
    assert len(_beats(broker, 3)) == 3
    transport.close()


def test_an_idle_client_keeps_itself_known(broker):
    transport = BlockingTransport()
    member = Membership("id", producer_group="PG", heartbeat_s=0.0)
    transport.run(_speak(broker, member))
    transport.run(member.keep())
    assert len(_beats(broker, 2)) == 2
    transport.close()


def test_nobody_is_told_again_before_it_is_due(broker):
    transport = BlockingTransport()
    member = Membership("id", producer_group="PG")
    transport.run(_speak(broker, member))
    transport.run(member.keep())
    transport.run(_speak(broker, member))
    broker.wait_received(_QUESTION, 2)
    assert len(_beats(broker)) == 1
    transport.close()


def _speak(broker, member):
    exchange = Exchange(broker.address, request_of(_QUESTION), monotonic() + DEADLINE_S)
    yield Begin(exchange)
    yield from member.follow(exchange)


def test_leaving_is_told_to_every_broker_that_had_a_heartbeat(broker):
    with Producer(broker.address, ProducerSettings(group="PG")) as producer:
        producer.send(Message("T", b"x"))
        (beat,) = _beats(broker)
    (farewell,) = broker.received(RequestCode.UNREGISTER_CLIENT)
    assert farewell.fields == {"clientID": beat.client_id, "producerGroup": "PG"}


def test_a_broker_that_is_gone_does_not_keep_a_client_from_closing(broker):
    producer = Producer(broker.address)
    producer.send(Message("T", b"x"))
    _beats(broker)
    broker.close()
    producer.close()
    assert broker.received(RequestCode.UNREGISTER_CLIENT) == []
