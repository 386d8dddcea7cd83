"""Answers to sends and pulls, byte for byte as RocketMQ's encoder writes them."""

import pytest

from shmq.broker.pulling import handle_pull
from shmq.store.host import Host
from shmq.store.record import NewRecord
from shmq.wire.codes import RequestCode
from shmq.wire.command import Encoding, encode_head
from tests.support.small_broker import SmallBroker

PULL_ANSWER = bytes.fromhex(
    "000000950100009100000001df000000080000000100000005464f554e44000000770014737567676573745768696368"
    "42726f6b657249640000000130000f6e657874426567696e4f6666736574000000013600096d696e4f66667365740000"
    "00013000096d61784f66667365740000000136000c746f706963537973466c61670000000130000c67726f7570537973"
    "466c61670000000130"
)


@pytest.fixture
def broker(tmp_path):
    made = SmallBroker(tmp_path)
    made.add_topic("TopicTest")
    made.add_group("G")
    return made


def test_a_pull_that_finds_the_last_of_six_messages(broker):
    host = Host(b"\x7f\x00\x00\x01", 10911)
    for _ in range(6):
        broker.put(NewRecord(b"TopicTest", 1, 0, 0, 1, host, host, 0, 0, b"Hello", b""))
    broker.dispatch()
    fields = {
        "consumerGroup": "G", "topic": "TopicTest", "queueId": 1, "queueOffset": 5, "maxMsgNums": 32, "sysFlag": 4,
        "commitOffset": 0, "suspendTimeoutMillis": 0, "subVersion": 0,
    }  # fmt: skip
    outcome = broker.call(handle_pull, RequestCode.PULL_MESSAGE, fields, encoding=Encoding.ROCKETMQ)
    outcome.command.opaque = 8
    assert encode_head(outcome.command, 0) == PULL_ANSWER
