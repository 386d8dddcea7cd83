"""Send: checks, records, answers."""

import pytest

from shmq.broker.outcome import Append, Appended, PutStatus
from shmq.broker.sending import handle_send
from shmq.errors import RequestError
from shmq.store import properties
from shmq.wire.batch import BatchEntry, join_batch
from shmq.wire.codes import RequestCode, ResponseCode
from tests.support.small_broker import (
    NOW_MS,
    PEER,
    SEND,
    SmallBroker,
    answered,
    properties_text,
    replied,
    send_fields,
)

REGION = {"MSG_REGION": "DefaultRegion", "TRACE_ON": "true"}


@pytest.fixture
def broker(tmp_path):
    made = SmallBroker(tmp_path, message_bytes_max=1000)
    made.add_topic("T")
    made.add_topic("TBW102", permission=7)
    made.add_topic("SCHEDULE_TOPIC_XXXX", 18)
    made.add_topic("RMQ_SYS_TRANS_HALF_TOPIC", 1)
    made.add_topic("rmq_sys_wheel_timer", 1)
    made.add_group("G")
    return made


def send(broker, body=b"Hello", code=SEND, **fields):
    return broker.call(handle_send, code, send_fields(**fields), body)


def refusal(broker, *args, **fields):
    with pytest.raises(RequestError) as caught:
        send(broker, *args, **fields)
    assert caught.value.fields == REGION
    return caught.value.code, caught.value.remark


def record(outcome):
    assert isinstance(outcome, Append)
    (only,) = outcome.records
    return only


def pairs(outcome):
    return properties.parse(record(outcome).properties)


def test_a_message_becomes_a_record_of_its_queue(broker):
    outcome = send(broker, b"Hello", e=2, f=1, h=9, j=3)
    made = record(outcome)
    assert outcome.slot == broker.replica.topics["T"].slots[2]
    assert outcome.wait_flush
    assert (made.topic, made.queue_id, made.body, made.flag, made.sys_flag) == (b"T", 2, b"Hello", 9, 1)
    assert (made.born_timestamp_ms, made.reconsume_times, made.prepared_position) == (NOW_MS, 3, 0)
    assert (made.born_host, made.store_host) == (PEER.host, PEER.advertised)


def test_the_answer_holds_the_ids_that_clients_read(broker):
    for _ in range(5):
        broker.append("T", 1)
    position = broker.store.end
    command = replied(broker.commit(send(broker, i=properties_text(UNIQ_KEY="K"))))
    assert (command.code, command.remark, command.opaque, command.is_response) == (0, None, 7, True)
    assert command.fields == REGION | {
        "msgId": f"7F00000100002A9F{position:016X}",
        "queueId": "1",
        "queueOffset": "5",
        "transactionId": "K",
    }


def test_long_field_names_belong_to_the_old_code(broker):
    fields = {
        "producerGroup": "PG", "topic": "T", "defaultTopic": "TBW102", "defaultTopicQueueNums": 4, "queueId": 3,
        "sysFlag": 0, "bornTimestamp": NOW_MS, "flag": 0,
    }  # fmt: skip
    made = record(broker.call(handle_send, RequestCode.SEND_MESSAGE, fields, b"x"))
    assert (made.topic, made.queue_id) == (b"T", 3)


def test_a_missing_field_is_refused(broker):
    with pytest.raises(RequestError) as caught:
        send(broker, g=None)
    assert caught.value.code == ResponseCode.INVALID_PARAMETER


def test_the_broker_adds_its_properties_and_keeps_the_others(broker):
    given = properties_text(KEYS="k", TAGS="a", UNIQ_KEY="U", POP_CK="x", WAIT="true")
    assert pairs(send(broker, i=given)) == {
        "KEYS": "k", "TAGS": "a", "UNIQ_KEY": "U", "WAIT": "true", "CLUSTER": "DefaultCluster", **REGION,
    }  # fmt: skip


def test_a_message_without_unique_key_gets_one_that_its_answer_names(broker):
    first, second = send(broker), send(broker)
    keys = [pairs(each)["UNIQ_KEY"] for each in (first, second)]
    assert [len(key) for key in keys] == [32, 32]
    assert keys[0] != keys[1]
    assert keys[0].startswith("7F000001")
    assert replied(broker.commit(first)).fields["transactionId"] == keys[0]


@pytest.mark.parametrize(("wait", "expected"), [("true", True), ("false", False), ("no", False)])
def test_a_producer_may_not_wait_for_the_flush(broker, wait, expected):
    assert send(broker, i=properties_text(WAIT=wait)).wait_flush is expected


def test_a_negative_queue_leaves_the_choice_to_the_broker(broker):
    broker.add_topic("W", write_queue_count=2)
    chosen = {record(send(broker, topic="W", e=-1)).queue_id for _ in range(50)}
    assert chosen == {0, 1}


def test_a_queue_that_can_only_be_read_may_be_named(broker):
    broker.add_topic("W", write_queue_count=2)
    assert record(send(broker, topic="W", e=3)).queue_id == 3
    assert refusal(broker, topic="W", e=4)[0] == ResponseCode.INVALID_PARAMETER


def test_no_queue_can_be_chosen_where_none_may_be_written(broker):
    broker.add_topic("W", write_queue_count=0)
    assert refusal(broker, topic="W", e=-1)[0] == ResponseCode.SYSTEM_ERROR


def test_the_tags_of_a_multi_tag_topic_are_marked(broker):
    broker.add_topic("M", topic_filter_type="MULTI_TAG")
    assert record(send(broker, topic="M", f=1)).sys_flag == 3


@pytest.mark.parametrize(
    ("topic", "code", "remark"),
    [
        (" ", ResponseCode.INVALID_PARAMETER, "The specified topic is blank."),
        ("a b", ResponseCode.INVALID_PARAMETER, "illegal characters"),
        ("x" * 128, ResponseCode.INVALID_PARAMETER, "longer than topic max length: 127"),
        ("SCHEDULE_TOPIC_XXXX", ResponseCode.NO_PERMISSION, "is forbidden."),
        ("RMQ_SYS_TRANS_HALF_TOPIC", ResponseCode.NO_PERMISSION, "is forbidden."),
    ],
)
def test_some_topics_are_closed_to_clients(broker, topic, code, remark):
    given, text = refusal(broker, topic=topic)
    assert given == code
    assert remark in text


def test_only_ordered_topics_mind_a_broker_that_may_not_be_written(tmp_path):
    broker = SmallBroker(tmp_path, broker_permission=4)
    broker.add_topic("T")
    broker.add_topic("O", order=True)
    assert isinstance(send(broker), Append)
    assert refusal(broker, topic="O") == (
        ResponseCode.NO_PERMISSION,
        "the broker[127.0.0.1] sending message is forbidden",
    )


def test_an_unknown_topic_is_made_and_the_send_goes_on(broker):
    ask = send(broker, topic="New", d=2, k="true")
    assert ask.question == {
        "ask": "topic", "topic": "New", "default_topic": "TBW102", "queue_nums": 2, "sys_flag": 1,
    }  # fmt: skip
    broker.add_topic("New", 2)
    assert record(answered(ask)).topic == b"New"


def test_a_topic_that_cannot_be_made_does_not_exist(broker):
    remark = "topic[New] not exist, apply first please!"
    with pytest.raises(RequestError) as caught:
        answered(send(broker, topic="New"), ResponseCode.TOPIC_NOT_EXIST, remark)
    assert (caught.value.code, caught.value.remark) == (ResponseCode.TOPIC_NOT_EXIST, remark)
    assert caught.value.fields == REGION


def test_nothing_is_asked_twice(broker):
    with pytest.raises(RequestError) as caught:
        answered(send(broker, topic="New"))
    assert caught.value.code == ResponseCode.SYSTEM_ERROR


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"", {}),
        (b"x" * 1001, {}),
        (b"x", {"i": properties_text(K="v" * 32760)}),
        (b"x", {"i": properties_text(INNER_NUM="2")}),
        (b"x", {"f": 0x80}),
        (b"x", {"i": properties_text(DELAY="soon")}),
        (b"x", {"topic": "%DLQ%" + "g" * 123}),
    ],
)
def test_an_illegal_message_is_refused(broker, body, fields):
    broker.add_topic("%DLQ%" + "g" * 123)
    assert refusal(broker, body, **fields)[0] == ResponseCode.MESSAGE_ILLEGAL


def test_the_largest_message_is_taken(broker):
    assert len(record(send(broker, b"x" * 1000)).body) == 1000


def test_a_record_that_fits_no_file_of_the_log_is_refused(tmp_path):
    broker = SmallBroker(tmp_path, log_file_bytes=4096)
    broker.add_topic("T")
    overhead = 91 + 1 + len(record(send(broker, b"x", i=properties_text(UNIQ_KEY="U"))).properties)
    largest = 4096 - 8 - overhead
    assert isinstance(send(broker, b"x" * largest, i=properties_text(UNIQ_KEY="U")), Append)
    refused = refusal(broker, b"x" * (largest + 1), i=properties_text(UNIQ_KEY="U"))
    assert refused[0] == ResponseCode.MESSAGE_ILLEGAL


def test_a_topic_that_keeps_the_last_of_each_key_wants_keys(broker):
    broker.add_topic("C", attributes={"cleanup.policy": "COMPACTION"})
    assert refusal(broker, topic="C") == (ResponseCode.MESSAGE_ILLEGAL, "Required message key is missing")
    assert isinstance(send(broker, topic="C", i=properties_text(KEYS="k")), Append)


def test_a_transaction_begins_with_a_half_message(broker):
    properties = properties_text(UNIQ_KEY="U", TRAN_MSG="true", PGROUP="PG", TAGS="a", DELAY="3", TIMER_DELAY_SEC="9",
                                 TRANSACTION_CHECK_TIMES="4", TRAN_PREPARED_QUEUE_OFFSET="0")  # fmt: skip
    outcome = send(broker, e=2, f=5, i=properties)
    half = record(outcome)
    assert (half.topic, half.queue_id, half.sys_flag) == (b"RMQ_SYS_TRANS_HALF_TOPIC", 0, 1)
    assert outcome.slot == broker.replica.topics["RMQ_SYS_TRANS_HALF_TOPIC"].slots[0]
    assert pairs(outcome) == {
        "UNIQ_KEY": "U", "TRAN_MSG": "true", "PGROUP": "PG", "TAGS": "a", "CLUSTER": "DefaultCluster",
        "__transactionId__": "U", "REAL_TOPIC": "T", "REAL_QID": "2", **REGION,
    }  # fmt: skip
    answer = replied(broker.commit(outcome))
    assert (answer.fields["queueId"], answer.fields["transactionId"]) == ("2", "U")


@pytest.mark.parametrize("flags", [4, 12])
def test_a_message_that_calls_itself_open_or_rolled_back_is_refused(broker, flags):
    assert refusal(broker, f=flags)[0] == ResponseCode.MESSAGE_ILLEGAL


def test_a_broker_told_to_refuse_transactions_says_so(tmp_path):
    broker = SmallBroker(tmp_path, reject_transaction_message=True)
    broker.add_topic("T")
    assert refusal(broker, f=4, i=properties_text(TRAN_MSG="true")) == (
        ResponseCode.NO_PERMISSION,
        "the broker[127.0.0.1] sending transaction message is forbidden",
    )


def test_a_half_message_that_could_not_be_copied_is_refused(broker):
    for spare, is_refused in ((300, False), (0, True)):
        properties = properties_text(UNIQ_KEY="U", TRAN_MSG="true", filler="x" * (0x7FFF - 250 - spare))
        if is_refused:
            assert refusal(broker, i=properties)[0] == ResponseCode.MESSAGE_ILLEGAL
        else:
            assert isinstance(send(broker, i=properties), Append)


@pytest.mark.parametrize(
    "fields", [{"i": properties_text(TRAN_MSG="true", DELAY="3")}, {"topic": "%RETRY%G"}]
)
def test_what_a_consumer_sends_to_be_tried_again_begins_no_transaction(broker, fields):
    broker.add_topic("%RETRY%G")
    broker.add_group("G")
    outcome = send(broker, **({"f": 5, "j": 1, "i": properties_text(TRAN_MSG="true")} | fields))
    made = record(answered(outcome, 1) if fields.get("topic") else outcome)
    assert made.topic != b"RMQ_SYS_TRANS_HALF_TOPIC"
    assert made.sys_flag == 1


@pytest.mark.parametrize(("level", "stored"), [("3", 3), ("18", 18), ("99", 18)])
def test_a_delayed_message_goes_to_its_levels_queue(broker, level, stored):
    outcome = send(broker, e=2, i=properties_text(DELAY=level, TIMER_DELAY_SEC="9", UNIQ_KEY="U"))
    made = record(outcome)
    assert (made.topic, made.queue_id) == (b"SCHEDULE_TOPIC_XXXX", stored - 1)
    assert outcome.slot == broker.replica.topics["SCHEDULE_TOPIC_XXXX"].slots[stored - 1]
    assert pairs(outcome) == {
        "DELAY": str(stored), "UNIQ_KEY": "U", "CLUSTER": "DefaultCluster", "REAL_TOPIC": "T", "REAL_QID": "2",
        **REGION,
    }  # fmt: skip
    assert replied(broker.commit(outcome)).fields["queueId"] == "2"


@pytest.mark.parametrize("level", ["0", "-1"])
def test_no_level_is_no_delay(broker, level):
    assert record(send(broker, i=properties_text(DELAY=level))).topic == b"T"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (PutStatus.SERVICE_NOT_AVAILABLE, ResponseCode.SERVICE_NOT_AVAILABLE),
        (PutStatus.MESSAGE_ILLEGAL, ResponseCode.MESSAGE_ILLEGAL),
        (PutStatus.SYSTEM_BUSY, ResponseCode.SYSTEM_BUSY),
        (PutStatus.UNKNOWN_ERROR, ResponseCode.SYSTEM_ERROR),
    ],
)
def test_what_was_not_stored_is_an_error(broker, status, code):
    with pytest.raises(RequestError) as caught:
        send(broker).then(_appended(0, 0, status))
    assert (caught.value.code, caught.value.fields) == (code, REGION)


def test_a_flush_that_takes_too_long_is_told_with_a_whole_answer(broker):
    command = replied(broker.commit(send(broker), PutStatus.FLUSH_DISK_TIMEOUT))
    assert command.code == ResponseCode.FLUSH_DISK_TIMEOUT
    assert command.fields["queueOffset"] == "0"


class TestBatch:
    """Batches: m=true, whatever the code."""

    ENTRIES = (BatchEntry(1, b"A", b"UNIQ_KEY\x01KA\x02"), BatchEntry(2, b"BC", b"UNIQ_KEY\x01KBC\x02"))

    def body(self):
        return join_batch(self.ENTRIES)

    @pytest.mark.parametrize("code", [RequestCode.SEND_BATCH_MESSAGE, SEND])
    def test_each_message_becomes_a_record_with_its_own_properties_alone(self, broker, code):
        outcome = send(broker, self.body(), code, m="true", f=0, h=7)
        assert [(each.flag, bytes(each.body), each.properties) for each in outcome.records] == [
            tuple(entry) for entry in self.ENTRIES
        ]
        assert {(each.topic, each.queue_id, each.born_timestamp_ms) for each in outcome.records} == {
            (b"T", 1, NOW_MS)
        }

    def test_the_answer_joins_the_ids_and_names_the_first_offset(self, broker):
        broker.append("T", 1)
        begin = broker.store.end
        outcome = send(broker, self.body(), m="true")
        size = broker.store.end
        command = replied(broker.commit(outcome))
        ids = command.fields["msgId"].split(",")
        assert size == begin
        assert ids[0] == f"7F00000100002A9F{begin:016X}"
        assert len(ids) == 2
        assert command.fields["queueOffset"] == "1"
        assert "transactionId" not in command.fields

    def test_the_batchs_own_properties_say_whether_to_wait_and_its_id(self, broker):
        outcome = send(broker, self.body(), m="true", i=properties_text(WAIT="false", UNIQ_KEY="B"))
        assert not outcome.wait_flush
        assert replied(broker.commit(outcome)).fields["transactionId"] == "B"

    @pytest.mark.parametrize(
        "fields",
        [
            {"topic": "%RETRY%G"},
            {"f": 4},
            {"f": 8},
            {"i": properties_text(DELAY="1")},
            {"i": properties_text(INNER_NUM="2")},
        ],
    )
    def test_some_batches_are_illegal(self, broker, fields):
        broker.add_topic("%RETRY%G")
        assert refusal(broker, self.body(), m="true", **fields)[0] == ResponseCode.MESSAGE_ILLEGAL

    def test_a_batch_body_is_no_longer_than_a_message(self, broker):
        body = join_batch([BatchEntry(0, b"x" * 400, b"")] * 3)
        assert refusal(broker, body, m="true")[0] == ResponseCode.MESSAGE_ILLEGAL

    def test_a_batch_that_fits_no_file_of_the_log_is_refused(self, tmp_path):
        broker = SmallBroker(tmp_path, log_file_bytes=4096)
        broker.add_topic("T")
        body = join_batch([BatchEntry(0, b"x", b"")] * 50)
        assert refusal(broker, body, m="true")[0] == ResponseCode.MESSAGE_ILLEGAL

    def test_a_broken_batch_is_illegal(self, broker):
        with pytest.raises(RequestError) as caught:
            send(broker, self.body()[:-1], m="true")
        assert caught.value.code == ResponseCode.MESSAGE_ILLEGAL


def _appended(queue_offset, position, status=PutStatus.PUT_OK):
    return Appended(status, queue_offset, (position,), NOW_MS)


def test_what_has_waited_for_the_writer_for_too_long_is_told_how_long(broker):
    late = Appended(PutStatus.SYSTEM_BUSY, 0, (), 0, waited_ms=203, waiting_count=7)
    with pytest.raises(RequestError) as caught:
        send(broker).then(late)
    assert (caught.value.code, caught.value.fields) == (ResponseCode.SYSTEM_BUSY, REGION)
    words = "broker busy, start flow control for a while, period in queue: 203ms, size of queue: 7"
    assert caught.value.remark == f"[TIMEOUT_CLEAN_QUEUE]{words}"
