import threading

import pytest

from shmq.client.errors import ClosedError
from shmq.client.message import Message
from shmq.client.producer import Producer
from shmq.wire.bodies import MessageQueue
from tests.support.fake_broker import DEADLINE_S


def test_a_producer_tells_the_queues_of_a_topic(broker):
    with Producer(broker.address) as producer:
        assert producer.queues("T") == (MessageQueue("T", "fake", 0), MessageQueue("T", "fake", 1))


def test_threads_take_turns(broker):
    with Producer(broker.address) as producer:
        results = []

        def send():
            results.extend(producer.send(Message("T", b"x")) for _ in range(20))

        threads = [threading.Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)
    assert len({result.message_id for result in results}) == 80
    assert len({(result.queue, result.queue_offset) for result in results}) == 80


def test_a_closed_producer_sends_nothing(broker):
    producer = Producer(broker.address)
    producer.close()
    producer.close()
    with pytest.raises(ClosedError):
        producer.send(Message("T", b"x"))
