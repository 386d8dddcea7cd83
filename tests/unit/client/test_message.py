import zlib
from types import SimpleNamespace

import pytest

from shmq.client.errors import MessageError
from shmq.client.message import BODY_BYTES_MAX, Message, check, check_topic, compress, deliver, properties_of
from shmq.wire.bodies import MessageQueue
from shmq.wire.flags import COMPRESSION_LZ4, COMPRESSION_ZLIB, MESSAGE_COMPRESSED
from shmq.wire.message import Host, ReceivedMessage

_QUEUE = MessageQueue("T", "b", 0)


def _stored(body, sys_flag=0, properties=None):
    host = Host(bytes((127, 0, 0, 1)), 10911)
    return ReceivedMessage(
        topic="T",
        body=body,
        properties=properties or {},
        queue_id=0,
        queue_offset=7,
        position=100,
        size_bytes=len(body) + 91,
        flag=0,
        sys_flag=sys_flag,
        body_crc32=0,
        born_timestamp_ms=1,
        born_host=host,
        store_timestamp_ms=2,
        store_host=host,
        reconsume_times=0,
        prepared_transaction_offset=0,
    )


def test_a_message_of_every_part_is_taken():
    check(Message("T", b"x", tag="A", keys=("k1", "k2"), properties={"a": "b"}))


@pytest.mark.parametrize(
    "message",
    [
        Message("T", b""),
        Message("T", bytes(BODY_BYTES_MAX + 1)),
        Message("", b"x"),
        Message("a b", b"x"),
        Message("t" * 128, b"x"),
        Message("T", b"x", keys=("a b",)),
        Message("T", b"x", keys=("",)),
        Message("T", b"x", tag="a\x01b"),
        Message("T", b"x", properties={"a": "b\x02"}),
        Message("T", b"x", properties={"a\x01": "b"}),
    ],
    ids=lambda message: repr(message)[:60],
)
def test_a_message_that_no_broker_would_take_is_refused(message):
    with pytest.raises(MessageError):
        check(message)


def test_a_topic_may_hold_what_rocketmq_allows():
    check_topic("%RETRY%a|b_C-9")


def test_properties_hold_tag_keys_delay_and_the_message_id():
    message = Message("T", b"x", tag="A", keys=("k1", "k2"), properties={"own": "1"}, delay_level=3)
    assert properties_of(message, "ID") == {
        "own": "1",
        "TAGS": "A",
        "KEYS": "k1 k2",
        "DELAY": "3",
        "WAIT": "true",
        "UNIQ_KEY": "ID",
    }


def test_a_compressed_body_is_delivered_as_it_was_sent():
    body = b"a" * 5000
    for sys_flag in (MESSAGE_COMPRESSED, MESSAGE_COMPRESSED | COMPRESSION_ZLIB):
        delivery = deliver(_QUEUE, _stored(compress(body), sys_flag))
        assert (delivery.body, delivery.still_compressed) == (body, None)


def test_a_body_compressed_otherwise_is_handed_on_and_says_so():
    delivery = deliver(_QUEUE, _stored(b"frame", MESSAGE_COMPRESSED | COMPRESSION_LZ4))
    assert (delivery.body, delivery.still_compressed) == (b"frame", "lz4")


def test_a_broken_compressed_body_is_handed_on_and_says_so():
    broken = zlib.compress(b"a" * 5000)[:-9]
    delivery = deliver(_QUEUE, _stored(broken, MESSAGE_COMPRESSED))
    assert (delivery.body, delivery.still_compressed) == (broken, "zlib")


def test_a_delivery_tells_what_its_producer_said():
    delivery = deliver(_QUEUE, _stored(b"x", properties={"TAGS": "A", "KEYS": "k1 k2", "UNIQ_KEY": "ID"}))
    told = SimpleNamespace(tag=delivery.tag, keys=delivery.keys, id=delivery.message_id)
    assert told == SimpleNamespace(tag="A", keys=("k1", "k2"), id="ID")
    assert (delivery.topic, delivery.queue_offset, delivery.properties["TAGS"]) == ("T", 7, "A")


def test_a_message_without_an_id_of_its_own_has_that_of_its_place():
    assert deliver(_QUEUE, _stored(b"x")).message_id == "7F00000100002A9F0000000000000064"
