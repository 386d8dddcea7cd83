"""Bodies as RocketMQ's own encoder writes them, beside what they mean: read one way, written the other."""

import json
import zlib
from pathlib import Path

from shmq.wire import fastjson
from shmq.wire.batch import BatchEntry, join_batch, split_batch
from shmq.wire.bodies import DataVersion, LockBatchResponse, MessageQueue
from shmq.wire.heartbeat_bodies import (
    ConsumeFromWhere,
    ConsumerData,
    ConsumeType,
    HeartbeatData,
    MessageModel,
    SubscriptionData,
)
from shmq.wire.message import decode_messages, write_properties
from shmq.wire.pop_bodies import BatchAck, BatchAckBody
from shmq.wire.stats_bodies import TopicOffset, TopicStatsTable
from shmq.wire.topic_bodies import RegisterBrokerBody, TopicConfig, TopicConfigSerializeWrapper

DUMPS = json.loads((Path(__file__).parent / "wire.json").read_text())
QUEUE = MessageQueue("TopicTest", "broker-a", 0)


def test_a_stored_message():
    (message,) = decode_messages(bytes.fromhex(DUMPS["message"]))
    assert (message.topic, message.body, message.body_crc32) == ("TopicTest", b"Hello", 2010220930)
    assert (message.queue_id, message.queue_offset, message.position) == (1, 5, 100)
    assert (message.flag, message.sys_flag, message.size_bytes) == (0, 0, 190)
    assert (message.born_timestamp_ms, str(message.born_host)) == (1_700_000_000_000, "127.0.0.1:50000")
    assert (message.store_timestamp_ms, str(message.store_host)) == (1_700_000_000_001, "127.0.0.1:10911")
    assert (message.reconsume_times, message.prepared_transaction_offset) == (0, 0)
    assert message.properties == {
        "UNIQ_KEY": "7F0000010001000000000000000000AA",
        "WAIT": "true",
        "TAGS": "TagA",
        "CLUSTER": "DefaultCluster",
    }
    assert message.offset_message_id == "7F00000100002A9F0000000000000064"
    assert bytes.fromhex(DUMPS["message"]).endswith(write_properties(message.properties).encode())


def test_a_batch_of_two():
    body = bytes.fromhex(DUMPS["batch"])
    entries = [BatchEntry(0, b"A", b"UNIQ_KEY\x01KA\x02"), BatchEntry(0, b"BC", b"UNIQ_KEY\x01KBC\x02")]
    assert split_batch(body) == entries
    assert join_batch(entries) == body


def test_a_deflated_registration():
    inflated = bytes.fromhex(DUMPS["registration"])
    topic = TopicConfig("TopicTest", read_queue_count=4, write_queue_count=4, permission=6)
    registration = RegisterBrokerBody(
        TopicConfigSerializeWrapper({"TopicTest": topic}, DataVersion(1, 0, 1_700_000_000_000))
    )
    assert zlib.decompress(registration.to_deflated()) == inflated
    assert RegisterBrokerBody.from_bytes(zlib.compress(inflated)) == registration


def test_a_heartbeat_of_java():
    heartbeat = HeartbeatData(
        client_id="127.0.0.1@123",
        producer_groups=("CLIENT_INNER_PRODUCER",),
        consumers=(
            ConsumerData(
                group_name="CG",
                subscriptions=(SubscriptionData.from_tags("TopicTest", "TagA || TagB", 1_700_000_000_000),),
            ),
        ),
    )
    body = DUMPS["heartbeat_java"].encode()
    assert HeartbeatData.from_bytes(body) == heartbeat
    assert heartbeat.to_bytes() == body


def test_a_heartbeat_of_cpp():
    heartbeat = HeartbeatData(
        client_id="x",
        consumers=(
            ConsumerData(
                group_name="g",
                consume_type=ConsumeType.CONSUME_PASSIVELY,
                message_model=MessageModel.CLUSTERING,
                consume_from_where=ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET,
                subscriptions=(SubscriptionData("t", "*", version=123),),
            ),
        ),
    )
    assert HeartbeatData.from_bytes(DUMPS["heartbeat_cpp"].encode() + b"\n") == heartbeat
    assert HeartbeatData.from_bytes(heartbeat.to_bytes()) == heartbeat


def test_topic_statistics_with_queues_as_keys():
    table = TopicStatsTable({QUEUE: TopicOffset(0, 6, 1_700_000_000_001)})
    body = DUMPS["topic_stats"].encode()
    assert TopicStatsTable.from_bytes(body) == table
    assert table.to_bytes() == body


def test_the_answer_to_a_lock():
    body = DUMPS["locked_queues"].encode()
    assert LockBatchResponse.from_bytes(body) == LockBatchResponse((QUEUE,))
    assert LockBatchResponse((QUEUE,)).to_bytes() == body


def test_a_batch_of_acknowledgements():
    ack = BatchAck(
        consumer_group="CG",
        topic="TopicTest",
        retry="0",
        queue_id=1,
        revive_queue_id=2,
        start_offset=10,
        pop_time_ms=1_700_000_000_000,
        invisible_ms=60_000,
        offsets=(10, 13, 19),
    )
    body = DUMPS["batch_ack"].encode()
    assert BatchAckBody.from_bytes(body) == BatchAckBody("broker-a", (ack,))
    assert BatchAckBody("broker-a", (ack,)).to_bytes() == body


def test_a_back_reference_is_followed():
    body = DUMPS["back_reference"].encode()
    version = {"counter": 1, "stateVersion": 0, "timestamp": 1_700_000_000_000}
    assert fastjson.loads(body)["mappingDataVersion"] == version
    table = TopicConfigSerializeWrapper({}, DataVersion(1, 0, 1_700_000_000_000))
    assert TopicConfigSerializeWrapper.from_bytes(body) == table
    assert table.to_bytes() == body.replace(b'{"$ref":"$.dataVersion"}', fastjson.dumps(version))
