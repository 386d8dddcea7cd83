import pytest

from shmq.client.consumer import PullConsumer
from shmq.client.errors import ClosedError, MessageError


def test_a_closed_consumer_reads_nothing(broker):
    consumer = PullConsumer("T", broker.address)
    consumer.close()
    consumer.close()
    with pytest.raises(ClosedError):
        consumer.poll(0.0)


def test_what_cannot_be_a_topic_is_refused(broker):
    with pytest.raises(MessageError):
        PullConsumer("a b", broker.address)
