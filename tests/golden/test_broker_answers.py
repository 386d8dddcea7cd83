"""Answers to sends and pulls, as RocketMQ's encoder writes them."""

import pytest

from shmq.broker.outcome import Appended, PutStatus
from shmq.broker.pulling import handle_pull
from shmq.broker.sending import handle_send
from shmq.store.host import Host
from shmq.store.record import NewRecord
from shmq.wire.codes import RequestCode
from shmq.wire.command import Encoding, decode, encode_head
from shmq.wire.frame import FrameReader
from tests.support.small_broker import NOW_MS, PEER, SmallBroker

SEND_REQUEST = bytes.fromhex(
    "000000ec010000e301360001df000000070000000000000000000000ce00016100000002504700016200000009546f70"
    "696354657374000163000000065442573130320001640000000134000165000000013100016600000001300001670000"
    "000d3137303030303030303030303000016800000001300001690000003e554e49515f4b455901374630303030303130"
    "303031303030303030303030303030303030303030414102574149540174727565025441475301546167410200016a00"
    "0000013000016b0000000566616c736500016d0000000566616c736500016e0000000862726f6b65722d6148656c6c6f"
)
SEND_ANSWER = bytes.fromhex(
    "000000c6010000c200000001df000000070000000100000000000000ad00056d73674964000000203746303030303031"
    "3030303032413946303030303030303030303030303036340007717565756549640000000131000b71756575654f6666"
    "7365740000000135000d7472616e73616374696f6e496400000020374630303030303130303031303030303030303030"
    "3030303030303030304141000854524143455f4f4e0000000474727565000a4d53475f524547494f4e0000000d446566"
    "61756c74526567696f6e"
)
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


def test_a_send_is_answered_with_the_same_fields(broker):
    request = _command(SEND_REQUEST)
    outcome = handle_send(broker.replica, request, PEER, NOW_MS)
    (made,) = outcome.records
    assert (made.topic, made.queue_id, made.body) == (b"TopicTest", 1, b"Hello")
    answer = outcome.then(Appended(PutStatus.PUT_OK, 5, (100,), NOW_MS)).command
    expected = _command(SEND_ANSWER)
    assert (answer.code, answer.opaque, answer.flag) == (expected.code, expected.opaque, expected.flag)
    assert (answer.fields, answer.encoding) == (expected.fields, Encoding.ROCKETMQ)


def _command(frame):
    return decode(FrameReader().feed(frame)[0])
