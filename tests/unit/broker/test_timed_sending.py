"""Sends that ask for a moment of their own, and recalls of what was sent so."""

import base64

import pytest

from shmq.broker.outcome import Answered, Append, Appended, PutStatus
from shmq.broker.sending import handle_send
from shmq.broker.timers.recalling import handle_recall
from shmq.broker.timers.sending import read_handle
from shmq.errors import RequestError
from shmq.store import properties
from shmq.wire.batch import BatchEntry, join_batch
from shmq.wire.codes import RequestCode, ResponseCode
from tests.support.small_broker import NOW_MS, SEND, SmallBroker, properties_text, replied, send_fields

DAY_MS = 86_400_000
ILLEGAL = (
    ResponseCode.MESSAGE_ILLEGAL,
    (
        "timer message illegal, the delay time should not be bigger than the max delay 259200000ms; "
        "or if set del msg, the delay time should be bigger than the current time"
    ),
)


def make(root, **settings):
    made = SmallBroker(root, **settings)
    for topic in ("T", "TBW102", "%RETRY%G"):
        made.add_topic(topic)
    made.add_topic("rmq_sys_wheel_timer", 1)
    made.add_group("G")
    return made


@pytest.fixture
def broker(tmp_path):
    return make(tmp_path, recall_message_enable=True)


def send(broker, code=SEND, body=b"Hello", **asked):
    texts = {name: str(value) for name, value in asked.items()}
    return broker.call(handle_send, code, send_fields(e=2, i=properties_text(UNIQ_KEY="U", **texts)), body)


def record(outcome):
    assert isinstance(outcome, Append)
    (only,) = outcome.records
    return only


def refusal(call, *args, **given):
    with pytest.raises(RequestError) as caught:
        call(*args, **given)
    return caught.value.code, caught.value.remark


@pytest.mark.parametrize(
    ("asked", "out_ms"),
    [
        ({"TIMER_DELIVER_MS": NOW_MS + 5001}, NOW_MS + 5000),
        ({"TIMER_DELIVER_MS": NOW_MS + 5000}, NOW_MS + 4000),
        ({"TIMER_DELAY_MS": 1}, NOW_MS),
        ({"TIMER_DELAY_SEC": 5}, NOW_MS + 4000),
        ({"TIMER_DELAY_SEC": 5, "TIMER_DELAY_MS": 1, "TIMER_DELIVER_MS": 1}, NOW_MS + 4000),
        ({"TIMER_DELAY_MS": 1500, "TIMER_DELIVER_MS": 1}, NOW_MS + 1000),
        ({"TIMER_DELAY_SEC": 259_200}, NOW_MS + 3 * DAY_MS - 1000),
    ],
)
def test_a_message_with_a_moment_waits_in_the_timer_topic(broker, asked, out_ms):
    outcome = send(broker, **asked)
    made = record(outcome)
    assert (made.topic, made.queue_id) == (b"rmq_sys_wheel_timer", 0)
    assert outcome.slot == broker.replica.topics["rmq_sys_wheel_timer"].slots[0]
    pairs = properties.parse(made.properties)
    assert (pairs["TIMER_OUT_MS"], pairs["REAL_TOPIC"], pairs["REAL_QID"]) == (str(out_ms), "T", "2")
    answer = replied(broker.commit(outcome)).fields
    assert answer["queueId"] == "2"
    assert base64.urlsafe_b64decode(answer["recallHandle"]) == f"v1 T b {out_ms + 1} U".encode()


@pytest.mark.parametrize(
    "asked",
    [
        {"TIMER_DELIVER_MS": NOW_MS},
        {"TIMER_DELAY_MS": 0},
        {"TIMER_DELAY_SEC": -1},
        {"TIMER_OUT_MS": 9, "TIMER_DELAY_SEC": 1},
    ],
)
def test_what_is_past_or_has_waited_goes_where_it_is_bound(broker, asked):
    assert record(send(broker, **asked)).topic == b"T"


@pytest.mark.parametrize(
    "asked",
    [
        {"TIMER_DELAY_SEC": 259_201},
        {"TIMER_DELIVER_MS": NOW_MS + 3 * DAY_MS + 1},
        {"TIMER_DELAY_MS": "soon"},
        {"TIMER_DELIVER_MS": NOW_MS, "TIMER_DEL_UNIQKEY": "T+U"},
    ],
)
def test_a_moment_that_cannot_be_is_refused(broker, asked):
    assert refusal(send, broker, **asked) == ILLEGAL


def test_years_are_no_delay_too_long_where_they_are_allowed(tmp_path):
    broker = make(tmp_path, timer_delay_ms_max=5 * 365 * DAY_MS)
    made = record(send(broker, TIMER_DELAY_MS=4 * 365 * DAY_MS))
    assert properties.parse(made.properties)["TIMER_OUT_MS"] == str(NOW_MS + 4 * 365 * DAY_MS - 1000)


def test_without_timers_a_moment_is_refused(tmp_path):
    broker = make(tmp_path, timer_wheel_enable=False)
    assert refusal(send, broker, TIMER_DELAY_SEC=1) == (
        ResponseCode.SYSTEM_ERROR,
        "accurate timer message is not enabled, timerWheelEnable is false",
    )


def test_a_batch_can_have_no_moment(broker):
    body = join_batch([BatchEntry(0, b"Hello", b"")])
    fields = send_fields(m="true", i=properties_text(TIMER_DELAY_SEC="1"))
    code, _ = refusal(broker.call, handle_send, RequestCode.SEND_BATCH_MESSAGE, fields, body)
    assert code == ResponseCode.MESSAGE_ILLEGAL


def handle_of(broker, **asked):
    return replied(broker.commit(send(broker, **asked))).fields["recallHandle"]


def recall(broker, handle, topic="T"):
    fields = {"topic": topic, "recallHandle": handle, "producerGroup": "PG"}
    return broker.call(handle_recall, RequestCode.RECALL_MESSAGE, fields)


def test_a_recall_is_a_message_to_the_same_slot_that_names_the_other(broker):
    handle = handle_of(broker, TIMER_DELAY_MS=5500)
    outcome = recall(broker, handle)
    made = record(outcome)
    assert (made.topic, made.body) == (b"rmq_sys_wheel_timer", b"0")
    assert properties.parse(made.properties) == {
        "TIMER_DEL_UNIQKEY": "T+U",
        "UNIQ_KEY": "U",
        "TIMER_DELIVER_MS": str(NOW_MS + 5001),
        "BORN_TIMESTAMP": str(NOW_MS),
        "TAGS": "_RECALL_TAG_",
        "TIMER_OUT_MS": str(NOW_MS + 5000),
        "REAL_TOPIC": "T",
        "REAL_QID": "0",
        "PGROUP": "PG",
    }
    answer = replied(broker.commit(outcome))
    assert answer.fields == {"msgId": "U", "MSG_REGION": "DefaultRegion"}


def test_a_recall_that_is_stored_too_late_is_refused(broker):
    outcome = recall(broker, handle_of(broker, TIMER_DELAY_MS=5500))
    late = Appended(PutStatus.PUT_OK, 0, (0,), NOW_MS + 5021)
    assert refusal(outcome.then, late) == (ResponseCode.ILLEGAL_OPERATION, "recall failed, timestamp invalid")
    assert outcome.then(late._replace(store_timestamp_ms=NOW_MS + 5020)) is not None


def test_a_recall_that_is_not_stored_is_an_error(broker):
    outcome = recall(broker, handle_of(broker, TIMER_DELAY_MS=5500))
    refused = Appended(PutStatus.SYSTEM_BUSY, 0, (), 0)
    assert refusal(outcome.then, refused) == (ResponseCode.SYSTEM_ERROR, "recall failed, execute error")


def text_handle(*words):
    return base64.urlsafe_b64encode(" ".join(map(str, words)).encode()).decode()


@pytest.mark.parametrize(
    ("handle", "code", "remark"),
    [
        ("", 604, "recall handle is invalid"),
        ("%%%", 604, "recall handle is invalid"),
        (text_handle("v2", "T", "b", NOW_MS + 5001, "U"), 604, "recall handle is invalid"),
        (text_handle("v1", "T", "b", NOW_MS + 5001), 604, "recall handle is invalid"),
        (text_handle("v1", "other", "b", NOW_MS + 5001, "U"), 604, "recall failed, topic not match"),
        (text_handle("v1", "T", "c", NOW_MS + 5001, "U"), 604, "recall failed, broker service not available"),
        (text_handle("v1", "T", "b", NOW_MS, "U"), 604, "recall failed, timestamp invalid"),
        (text_handle("v1", "T", "b", "soon", "U"), 604, "recall failed, timestamp invalid"),
        (text_handle("v1", "T", "b", NOW_MS + 3 * DAY_MS, "U"), 604, "recall failed, timestamp invalid"),
    ],
)
def test_a_handle_that_cannot_be_heeded_is_refused(broker, handle, code, remark):
    assert refusal(recall, broker, handle) == (code, remark)


def test_a_recall_of_an_unknown_topic_is_refused(broker):
    assert refusal(recall, broker, "x", topic="none")[0] == ResponseCode.TOPIC_NOT_EXIST


def test_recalls_are_refused_unless_they_are_allowed(tmp_path):
    broker = make(tmp_path)
    assert refusal(recall, broker, "x") == (
        ResponseCode.NO_PERMISSION,
        "recall failed, operation is forbidden",
    )


def test_a_message_to_be_tried_again_has_no_handle(broker):
    fields = send_fields("%RETRY%G", i=properties_text(UNIQ_KEY="U", TIMER_DELAY_SEC="5"))
    outcome = broker.call(handle_send, SEND, fields, b"Hello")
    if not isinstance(outcome, Append):
        outcome = outcome.then(Answered(ResponseCode.SYSTEM_ERROR, ""))  # the group holds no locks
    assert "recallHandle" not in replied(broker.commit(outcome)).fields


def test_a_handle_is_read_with_its_padding_and_without():
    handle = text_handle("v1", "T", "b", "5", "U1")
    assert read_handle(handle.rstrip("=")) == read_handle(handle)
