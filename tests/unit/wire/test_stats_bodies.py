import pytest

from shmq.errors import RequestError
from shmq.wire import fastjson
from shmq.wire.bodies import MessageQueue
from shmq.wire.stats_bodies import ConsumeStats, OffsetWrapper, QueueOffsets, TopicOffset, TopicStatsTable

QUEUES = [MessageQueue("T", "b", queue_id) for queue_id in (0, 1)]


def test_consume_statistics_have_queues_as_keys():
    stats = ConsumeStats({QUEUES[0]: OffsetWrapper(9, 5, 6, 1000)}, 1.5)
    assert stats.to_bytes() == (
        b'{"consumeTps":1.5,"offsetTable":{{"brokerName":"b","queueId":0,"topic":"T"}:'
        b'{"brokerOffset":9,"consumerOffset":5,"lastTimestamp":1000,"pullOffset":6}}}'
    )
    assert ConsumeStats.from_bytes(stats.to_bytes()) == stats


def test_statistics_stand_inside_other_bodies():
    stats = ConsumeStats({QUEUES[0]: OffsetWrapper(9, 5, 6, 1000)})
    assert fastjson.dumps({"G": [stats.to_json()]}) == b'{"G":[' + stats.to_bytes() + b"]}"


def test_topic_statistics_of_several_queues_are_read_and_written():
    table = TopicStatsTable({queue: TopicOffset(1, 2, 3) for queue in QUEUES}, 0.25)
    assert TopicStatsTable.from_bytes(table.to_bytes()) == table


@pytest.mark.parametrize("member", ["offsetTable", "messageQueueTable"])
def test_queue_offsets_are_read_and_written(member):
    offsets = QueueOffsets({queue: 7 + queue.queue_id for queue in QUEUES})
    body = offsets.to_bytes(member)
    assert body == (
        b'{"%s":{{"brokerName":"b","queueId":0,"topic":"T"}:7,{"brokerName":"b","queueId":1,"topic":"T"}:8}}'
        % member.encode()
    )
    assert QueueOffsets.from_bytes(body, member) == offsets


def test_a_queue_may_be_given_as_the_text_of_its_object():
    body = b'{"offsetTable":{"{\\"brokerName\\":\\"b\\",\\"queueId\\":0,\\"topic\\":\\"T\\"}":7}}'
    assert QueueOffsets.from_bytes(body) == QueueOffsets({QUEUES[0]: 7})


def test_a_key_that_is_no_queue_is_refused():
    with pytest.raises(RequestError):
        QueueOffsets.from_bytes(b'{"offsetTable":{"x":7}}')
