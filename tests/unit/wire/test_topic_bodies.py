import struct
import zlib

import pytest

from shmq.errors import RequestError
from shmq.wire.bodies import DataVersion
from shmq.wire.topic_bodies import (
    INFLATED_BYTES_MAX,
    RegisterBrokerBody,
    SubscriptionGroupConfig,
    SubscriptionGroupWrapper,
    TopicConfig,
    TopicConfigSerializeWrapper,
    body_crc32,
)

VERSION = DataVersion(1, 0, 1000)
TABLE = TopicConfigSerializeWrapper(
    {"T": TopicConfig("T", 4, 2, 6, attributes={"message.type": "NORMAL"}), "U": TopicConfig("U", 1, 1, 7)},
    VERSION,
    {"S": {"topic": "S", "bname": "b", "currIdMap": {"0": 0}}},
)


def deflated(*parts: bytes | int) -> bytes:
    return zlib.compress(
        b"".join(struct.pack(">i", p) if isinstance(p, int) else struct.pack(">i", len(p)) + p for p in parts)
    )


def test_a_topic_is_read_and_written():
    body = (
        b'{"attributes":{},"order":true,"perm":6,"readQueueNums":4,"topicFilterType":"SINGLE_TAG",'
        b'"topicName":"T","topicSysFlag":1,"writeQueueNums":2}'
    )
    topic = TopicConfig("T", 4, 2, 6, topic_sys_flag=1, order=True)
    assert TopicConfig.from_bytes(body) == topic
    assert topic.to_bytes() == body


def test_a_topic_of_an_old_broker_has_no_attributes():
    assert TopicConfig.from_bytes(b'{"topicName":"T"}') == TopicConfig("T", 16, 16, 6)
    assert TopicConfig.from_text("T 4 2 6 SINGLE_TAG") == TopicConfig("T", 4, 2, 6)
    assert TopicConfig.from_text("T 4 2 6 SINGLE_TAG ") == TopicConfig("T", 4, 2, 6)


@pytest.mark.parametrize(
    "text", ["", "T", "T 4 4 6", "T 4 x 6 SINGLE_TAG", "T 4 4 6 SINGLE_TAG {", "T 4 4 6 SINGLE_TAG []"]
)
def test_a_line_that_is_no_topic_is_refused(text):
    with pytest.raises(RequestError):
        TopicConfig.from_text(text)


def test_a_topic_without_a_name_has_that_of_its_key():
    table = TopicConfigSerializeWrapper.from_bytes(b'{"topicConfigTable":{"T":{"perm":4}}}')
    assert table.topics["T"] == TopicConfig("T", permission=4)


def test_a_registration_survives_both_forms():
    registration = RegisterBrokerBody(TABLE, ("h:1",))
    assert RegisterBrokerBody.from_bytes(registration.to_bytes()) == registration
    assert RegisterBrokerBody.from_bytes(registration.to_deflated()) == registration


def test_a_registration_of_an_old_broker_is_the_bare_table():
    assert RegisterBrokerBody.from_bytes(TABLE.to_bytes()) == RegisterBrokerBody(TABLE)


def test_a_deflated_registration_may_end_before_its_mappings():
    body = deflated(VERSION.to_bytes(), 1, b"T 4 2 6 SINGLE_TAG", b"[]")
    assert RegisterBrokerBody.from_bytes(body).table.topics == {"T": TopicConfig("T", 4, 2, 6)}


@pytest.mark.parametrize(
    "body",
    [
        b"\x78",
        b"\x78\x9c\x00\x00",
        TABLE.to_bytes()[:-1],
        RegisterBrokerBody(TABLE).to_deflated()[:-5],
        deflated(b"{}", 1),
        deflated(b"{}", 1, b"T"),
        deflated(b"{}", 0, b"{}"),
        deflated(b"{}", 0, b"[]", 1, b"[]"),
        deflated(-1),
        deflated(5),
        zlib.compress(bytes(INFLATED_BYTES_MAX + 1)),
    ],
)
def test_a_broken_registration_is_refused(body):
    with pytest.raises(RequestError):
        RegisterBrokerBody.from_bytes(body)


def test_a_bodys_checksum_has_31_bits():
    assert body_crc32(b"Hello") == 0x77D18982
    assert body_crc32(b"a") == 0xE8B7BE43 & 0x7FFFFFFF


def test_a_new_group_has_rocketmqs_defaults():
    body = (
        b'{"attributes":{},"brokerId":0,"consumeBroadcastEnable":true,"consumeEnable":true,"consumeFromMinEnable":true,'
        b'"consumeMessageOrderly":false,"consumeTimeoutMinute":15,"groupName":"G","groupRetryPolicy":{"type":"CUSTOMIZED"},'
        b'"groupSysFlag":0,"notifyConsumerIdsChangedEnable":true,"retryMaxTimes":16,"retryQueueNums":1,'
        b'"whichBrokerWhenConsumeSlowly":1}'
    )
    assert SubscriptionGroupConfig("G").to_bytes() == body
    assert SubscriptionGroupConfig.from_bytes(body) == SubscriptionGroupConfig("G")
    assert SubscriptionGroupConfig.from_bytes(b'{"groupName":"G"}') == SubscriptionGroupConfig("G")


def test_a_groups_table_is_read_and_written():
    group = SubscriptionGroupConfig("G", consume_enable=False, subscriptions=({"topic": "T"},))
    wrapper = SubscriptionGroupWrapper({"G": group}, VERSION)
    assert SubscriptionGroupWrapper.from_bytes(wrapper.to_bytes()) == wrapper
    assert b'"forbiddenTable":{}' in wrapper.to_bytes()
