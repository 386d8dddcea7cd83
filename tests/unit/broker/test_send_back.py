"""Messages that a consumer gives back."""

import pytest

from shmq.broker.outcome import Append, PutStatus, Reply
from shmq.broker.send_back import handle_send_back
from shmq.errors import RequestError
from shmq.store import properties
from shmq.store.host import Host
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.topic_bodies import SubscriptionGroupConfig, TopicConfig
from tests.support.small_metadata import NOW_MS, PEER, SmallMetadata

ORIGIN = {"TAGS": "a", "KEYS": "k", "UNIQ_KEY": "u"}


@pytest.fixture
def broker(tmp_path):
    made = SmallMetadata(tmp_path)
    made.state.topics.put(TopicConfig("T", 4, 4), NOW_MS)
    made.state.groups.find("g", NOW_MS)
    made.append("T", 2)  # so that the message under test does not lie at 0
    return made


@pytest.fixture
def position(broker):
    return broker.append("T", 1, body=b"Hello", properties=properties.join(ORIGIN))


def back(broker, position, *, version=413, **fields):
    given = {"offset": position, "group": "g", "delayLevel": 0, "originTopic": "T"} | fields
    return broker.call(handle_send_back, RequestCode.CONSUMER_SEND_MSG_BACK, given, version=version)


def sent(outcome):
    """The one record of an outcome, and its properties."""
    assert isinstance(outcome, Append)
    assert not outcome.wait_flush
    (record,) = outcome.records
    return record, properties.parse(record.properties)


def test_a_message_given_back_waits_for_its_groups_retry_topic(broker, position):
    outcome = back(broker, position)
    record, pairs = sent(outcome)
    assert (record.topic, record.queue_id) == (b"SCHEDULE_TOPIC_XXXX", 2)
    assert outcome.slot == broker.state.topics.slots("SCHEDULE_TOPIC_XXXX")[2]
    assert pairs == ORIGIN | {
        "RETRY_TOPIC": "T",
        "ORIGIN_MESSAGE_ID": f"7F00000100002A9F{position:016X}",
        "WAIT": "false",
        "DELAY": "3",
        "REAL_TOPIC": "%RETRY%g",
        "REAL_QID": "0",
    }
    assert (record.body, record.flag, record.sys_flag, record.reconsume_times) == (b"Hello", 0, 0, 1)
    assert (record.born_timestamp_ms, record.born_host) == (900, Host(b"\x7f\x00\x00\x01", 10911))
    assert (record.store_host, record.prepared_position) == (PEER.advertised, 0)
    assert broker.state.topics.get("%RETRY%g") == TopicConfig("%RETRY%g", 1, 1)


def test_a_checksum_of_the_old_record_is_not_passed_on(broker):
    position = broker.append("T", 1, properties=properties.join(ORIGIN | {"__CRC32#": "0123456789"}))
    assert "__CRC32#" not in sent(back(broker, position))[1]


def test_the_delay_grows_with_each_failure_and_ends_at_the_last_level(broker, position):
    levels = []
    for _ in range(17):
        outcome = back(broker, position, maxReconsumeTimes=99)
        levels.append(int(sent(outcome)[1]["DELAY"]))
        position = broker.put(outcome.records[0])
    assert levels == [*range(3, 19), 18]


def test_topic_and_id_of_the_first_time_are_kept(broker, position):
    first = back(broker, position)
    again = broker.put(first.records[0])
    pairs = sent(back(broker, again))[1]
    assert pairs["RETRY_TOPIC"] == "T"
    assert pairs["ORIGIN_MESSAGE_ID"] == sent(first)[1]["ORIGIN_MESSAGE_ID"]


@pytest.mark.parametrize(("asked", "level"), [(1, 1), (18, 18), (40, 18)])
def test_a_consumer_may_choose_the_delay(broker, position, asked, level):
    record, pairs = sent(back(broker, position, delayLevel=asked))
    assert (record.queue_id, pairs["DELAY"]) == (level - 1, str(level))


def test_retries_are_spread_over_the_queues_that_the_retry_topic_has(broker, position):
    broker.state.groups.alter(SubscriptionGroupConfig("g", retry_queue_count=3), NOW_MS)
    seen = {sent(back(broker, position))[1]["REAL_QID"] for _ in range(60)}
    assert seen == {"0", "1", "2"}
    broker.state.topics.put(TopicConfig("%RETRY%g", 2, 2), NOW_MS)
    seen = {sent(back(broker, position))[1]["REAL_QID"] for _ in range(60)}
    assert seen == {"0", "1"}


@pytest.mark.parametrize(
    ("fields", "group"),
    [
        ({"delayLevel": -1}, {}),
        ({"maxReconsumeTimes": 0}, {}),
        ({}, {"retry_times_max": 0}),
    ],
)
def test_a_message_tried_too_often_goes_to_the_dead_letters(broker, position, fields, group):
    broker.state.groups.alter(SubscriptionGroupConfig("g", **group), NOW_MS)
    outcome = back(broker, position, **fields)
    record, pairs = sent(outcome)
    assert (record.topic, record.queue_id, record.reconsume_times) == (b"%DLQ%g", 0, 1)
    assert outcome.slot == broker.state.topics.slots("%DLQ%g")[0]
    assert pairs["DELAY"] == "0"
    assert pairs["RETRY_TOPIC"] == "T"
    assert "REAL_TOPIC" not in pairs
    assert broker.state.topics.get("%DLQ%g") == TopicConfig("%DLQ%g", 1, 1)


def test_the_limit_of_an_old_client_is_the_groups(broker, position):
    record, _ = sent(back(broker, position, version=120, maxReconsumeTimes=0))
    assert record.topic == b"SCHEDULE_TOPIC_XXXX"


def test_the_answer_waits_for_the_record(broker, position):
    answer = broker.commit(back(broker, position))
    assert isinstance(answer, Reply)
    assert (answer.command.code, answer.command.opaque) == (0, 7)


@pytest.mark.parametrize("status", [PutStatus.FLUSH_DISK_TIMEOUT, PutStatus.SERVICE_NOT_AVAILABLE])
def test_what_is_not_plainly_stored_is_an_error(broker, position, status):
    answer = broker.commit(back(broker, position), status).command
    assert (answer.code, answer.remark) == (ResponseCode.SYSTEM_ERROR, status.name)


def test_a_group_without_retry_queues_drops_the_message(broker, position):
    broker.state.groups.alter(SubscriptionGroupConfig("g", retry_queue_count=0), NOW_MS)
    outcome = back(broker, position)
    assert isinstance(outcome, Reply)
    assert outcome.command.code == 0


def refusal(broker, position, **fields):
    with pytest.raises(RequestError) as refused:
        back(broker, position, **fields)
    return refused.value.code, refused.value.remark


def test_an_unknown_group_is_refused(broker, position):
    assert refusal(broker, position, group="a b") == (
        ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST,
        "subscription group not exist, a b",
    )


def test_a_position_where_no_message_begins_is_refused(broker, position):
    for wrong in (position + 1, position + 10_000, -5, 1 << 60):
        assert refusal(broker, wrong) == (
            ResponseCode.SYSTEM_ERROR,
            f"look message by offset failed, {wrong}",
        )


def test_a_retry_topic_that_may_not_be_written_is_refused(broker, position):
    broker.state.topics.put(TopicConfig("%RETRY%g", 1, 1, 4), NOW_MS)
    assert refusal(broker, position) == (
        ResponseCode.NO_PERMISSION,
        "the topic[%RETRY%g] sending message is forbidden",
    )


def test_a_broker_that_may_not_be_written_refuses(tmp_path):
    broker = SmallMetadata(tmp_path, broker_permission=4)
    assert refusal(broker, 0) == (
        ResponseCode.NO_PERMISSION,
        "the broker[127.0.0.1] sending message is forbidden",
    )


def test_properties_that_outgrow_a_record_are_refused(broker):
    big = properties.join({"a": "x" * 32_700})
    position = broker.append("T", 1, properties=big)
    assert refusal(broker, position) == (ResponseCode.SYSTEM_ERROR, "PROPERTIES_SIZE_EXCEEDED")
