"""Messages in and out of a running broker, as clients send and pull them."""

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from shmq.config.settings import Config
from shmq.wire.batch import BatchEntry, join_batch
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import FLAG_ONEWAY, Command, Encoding, encode
from shmq.wire.fields import write_header
from shmq.wire.message import ReceivedMessage, decode_messages
from shmq.wire.send_headers import SendHeader
from tests.support.live_watermarks import LiveWatermarks
from tests.support.member import Member
from tests.support.ports import free_broker_port
from tests.support.remote import Remote, pull_request, send_request
from tests.support.shmq_process import ShmqBroker
from tests.support.waiting import eventually

BODY_BYTES_MAX: Final = 4 << 20
LEVEL_1_MS: Final = 1000
SUSPEND_MS: Final = 15_000

encodings = pytest.mark.parametrize("encoding", list(Encoding))


@pytest.fixture
def remote(shared_broker: ShmqBroker) -> Iterator[Remote]:
    with Remote(shared_broker.address) as connected:
        yield connected


def wait_message(remote: Remote, topic: str, offset: int = 0, expression: str = "*") -> ReceivedMessage:
    """Wait for the first message from an offset on that matches, as a consumer does: pull by pull.

    The offset is that of a message that was dispatched, or the one behind.
    """
    while True:
        answer = remote.pull(topic, 0, offset, expression=expression, suspend_ms=SUSPEND_MS)
        if answer.code != ResponseCode.PULL_RETRY_IMMEDIATELY:
            break
        offset = int(answer.fields["nextBeginOffset"])
    assert answer.code == ResponseCode.SUCCESS, answer
    return decode_messages(answer.body)[0]


@encodings
def test_what_is_sent_is_pulled(shared_broker: ShmqBroker, encoding: Encoding) -> None:
    topic = f"sent-{encoding.name}"
    properties = "KEYS\x01order-1\x02color\x01blue\x02"
    with Remote(shared_broker.address, encoding=encoding) as remote:
        for number in range(3):
            sent = remote.send(topic, b"body %d" % number, properties=properties)
            assert (sent.code, sent.encoding) == (ResponseCode.SUCCESS, encoding)
            assert sent.fields["queueOffset"] == str(number)
        messages = remote.read_queue(topic, 0, 3)
    assert [bytes(each.body) for each in messages] == [b"body 0", b"body 1", b"body 2"]
    assert all(each.properties | {"KEYS": "order-1", "color": "blue"} == each.properties for each in messages)


@encodings
def test_sends_of_both_forms_on_one_connection_are_stored_in_their_order(
    shared_broker: ShmqBroker, encoding: Encoding
) -> None:
    """The second form is served by kernels, the first by Python."""
    topic = f"mixed-{encoding.name}"
    count = 400
    forms = random.Random(encoding.name)
    with Remote(shared_broker.address, encoding=encoding) as remote:
        assert remote.send(topic, b"0").code == ResponseCode.SUCCESS
        pipelined = bytearray()
        for number in range(1, count):
            command = send_request(topic, b"%d" % number)
            if forms.random() < 0.3:
                command = first_form_of(topic, b"%d" % number)
            command.opaque, command.encoding = 1000 + number, encoding
            pipelined += encode(command)
        remote.socket.sendall(pipelined)
        answers = {answer.opaque: answer for answer in (remote.receive() for _ in range(1, count))}
        offsets = [int(answers[1000 + number].fields["queueOffset"]) for number in range(1, count)]
        stored = [bytes(each.body) for each in remote.read_queue(topic, 0, count)]
    assert offsets == list(range(1, count))
    assert stored == [b"%d" % number for number in range(count)]


def first_form_of(topic: str, body: bytes) -> Command:
    header = SendHeader(
        producer_group="PG",
        topic=topic,
        default_topic="TBW102",
        default_topic_queue_count=4,
        queue_id=0,
        sys_flag=0,
        born_timestamp_ms=1,
        flag=0,
    )
    return Command(RequestCode.SEND_MESSAGE, fields=write_header(header), body=body)


@encodings
def test_the_first_form_of_a_send_is_taken_too(shared_broker: ShmqBroker, encoding: Encoding) -> None:
    topic = f"first-form-{encoding.name}"
    with Remote(shared_broker.address, encoding=encoding) as remote:
        assert remote.call(first_form_of(topic, b"V1")).code == 0
        assert bytes(wait_message(remote, topic).body) == b"V1"


def test_a_oneway_send_is_stored_and_not_answered(remote: Remote) -> None:
    remote.send("oneway", b"first")
    remote.read_queue("oneway", 0, 1)
    remote.post(send_request("oneway", b"second", flag=FLAG_ONEWAY))
    asked = remote.post(pull_request("oneway", 0, 1, suspend_ms=SUSPEND_MS))
    answer = remote.receive()
    assert answer.opaque == asked
    assert bytes(decode_messages(answer.body)[0].body) == b"second"


def test_a_batch_is_stored_in_order(remote: Remote) -> None:
    request = send_request("batch", join_batch(BatchEntry(0, b"entry %d" % n, b"") for n in range(5)))
    request.code = RequestCode.SEND_BATCH_MESSAGE
    request.fields["m"] = "true"
    sent = remote.call(request)
    assert (sent.code, sent.fields["queueOffset"]) == (ResponseCode.SUCCESS, "0")
    messages = remote.read_queue("batch", 0, 5)
    assert [bytes(each.body) for each in messages] == [b"entry %d" % n for n in range(5)]
    assert sent.fields["msgId"].split(",") == [each.offset_message_id for each in messages]


def test_a_waiting_pull_is_woken_by_a_message_of_its_tag_alone(
    shared_broker: ShmqBroker, remote: Remote
) -> None:
    remote.send("tags", b"before", properties="TAGS\x01red\x02")
    remote.read_queue("tags", 0, 1)
    with Remote(shared_broker.address) as waiting:
        asked = waiting.post(pull_request("tags", 0, 1, expression="red || green", suspend_ms=SUSPEND_MS))
        for tag in ("blue", "yellow", "green"):
            remote.send("tags", tag.encode(), properties=f"TAGS\x01{tag}\x02")
        answer = waiting.answer_to(asked)
        if answer.code == ResponseCode.SUCCESS:
            message = decode_messages(answer.body)[0]
        else:  # a message came before the pull was there to wait: it is told how far nothing matched
            assert answer.code == ResponseCode.PULL_RETRY_IMMEDIATELY, answer
            begin = int(answer.fields["nextBeginOffset"])
            message = wait_message(waiting, "tags", begin, "red || green")
    assert (bytes(message.body), message.queue_offset) == (b"green", 3)


def test_the_vip_port_takes_sends_and_bars_pulls(shared_broker: ShmqBroker, remote: Remote) -> None:
    with Remote(shared_broker.vip_address) as vip:
        assert vip.send("vip", b"by the side door").code == ResponseCode.SUCCESS
        barred = vip.pull("vip", 0, 0)
        assert (barred.code, barred.remark) == (3, " request type 11 not supported")
    assert bytes(wait_message(remote, "vip").body) == b"by the side door"


def test_a_message_is_found_by_its_id_which_names_the_broker(
    shared_broker: ShmqBroker, remote: Remote
) -> None:
    message_id = remote.send("ids", b"find me").fields["msgId"]
    assert message_id[:16] == f"7F000001{shared_broker.port:08X}"
    position = str(int(message_id[16:], 16))
    found = remote.call(Command(RequestCode.VIEW_MESSAGE_BY_ID, fields={"offset": position}))
    assert bytes(decode_messages(found.body)[0].body) == b"find me"


def test_a_topic_made_by_a_send_is_in_the_route(shared_broker: ShmqBroker, remote: Remote) -> None:
    with Remote(shared_broker.namesrv_address) as name_server:
        assert name_server.route("made-by-a-send") is None
        assert remote.send("made-by-a-send", b"first").code == ResponseCode.SUCCESS
        eventually(lambda: name_server.route("made-by-a-send"))
        route = name_server.route("made-by-a-send")
    assert route is not None
    assert [(each.broker_name, each.write_queue_count) for each in route.queues] == [
        (shared_broker.broker_name, 4)
    ]
    assert [each.addresses for each in route.brokers] == [{0: shared_broker.address}]


def test_a_negative_queue_leaves_the_choice_to_the_broker(remote: Remote) -> None:
    chosen = {int(remote.send("any-queue", b"x", queue_id=-1).fields["queueId"]) for _ in range(64)}
    assert len(chosen) > 1
    assert chosen <= set(range(4))


@pytest.mark.parametrize(
    ("body_bytes", "properties", "code"),
    [
        (BODY_BYTES_MAX, "", ResponseCode.SUCCESS),
        (BODY_BYTES_MAX + 1, "", ResponseCode.MESSAGE_ILLEGAL),
        (0, "", ResponseCode.MESSAGE_ILLEGAL),
        (1, "long\x01" + "x" * 33_000, ResponseCode.MESSAGE_ILLEGAL),
    ],
)
def test_limits_of_a_message(remote: Remote, body_bytes: int, properties: str, code: ResponseCode) -> None:
    assert remote.send("limits", bytes(body_bytes), properties=properties).code == code


def test_a_queue_that_is_not_there_is_refused(remote: Remote) -> None:
    remote.send("four-queues", b"x")
    assert remote.send("four-queues", b"x", queue_id=4).code != ResponseCode.SUCCESS


def test_a_delayed_message_comes_when_its_time_is_over(remote: Remote) -> None:
    remote.send("delayed", b"now")
    remote.read_queue("delayed", 0, 1)
    before_ms = time.time_ns() // 1_000_000
    assert remote.send("delayed", b"later", properties="DELAY\x011\x02").code == ResponseCode.SUCCESS
    message = wait_message(remote, "delayed", 1)
    assert bytes(message.body) == b"later"
    assert message.store_timestamp_ms >= before_ms + LEVEL_1_MS
    assert message.properties["REAL_TOPIC"] == message.topic == "delayed"
    assert message.properties["DELAY"] == "1", "RocketMQ leaves it, too"


def test_a_message_sent_back_comes_again_through_the_retry_topic(shared_broker: ShmqBroker) -> None:
    with Member(shared_broker.address, "failing") as member:
        member.join("failing-group", "sent-back")
        sent = member.send("sent-back", b"try again", properties="KEYS\x01k\x02")
        fields = {
            "offset": str(int(sent.fields["msgId"][16:], 16)),
            "group": "failing-group",
            "delayLevel": "1",
            "originMsgId": sent.fields["msgId"],
            "originTopic": "sent-back",
            "unitMode": "false",
            "maxReconsumeTimes": "16",
        }
        back = member.call(Command(RequestCode.CONSUMER_SEND_MSG_BACK, fields=fields))
        assert back.code == ResponseCode.SUCCESS, back.remark
        message = wait_message(member, "%RETRY%failing-group")
    assert bytes(message.body) == b"try again"
    assert message.reconsume_times == 1
    assert message.properties["RETRY_TOPIC"] == "sent-back"
    assert message.properties["ORIGIN_MESSAGE_ID"] == sent.fields["msgId"]
    assert message.properties["KEYS"] == "k"


def test_a_send_under_sync_flush_is_answered_when_it_is_on_disk(tmp_path: Path) -> None:
    settings = {"flush_disk_type": "SYNC_FLUSH", "network_workers": 1}
    broker = ShmqBroker(tmp_path, settings=settings | {"commit_log_file_bytes": "1MiB"})
    try:
        config = Config(broker_name=broker.broker_name, flush_disk_type="SYNC_FLUSH", network_workers=1)
        marks = LiveWatermarks(config)
        with Remote(broker.address) as remote:
            for _ in range(30):
                sent = remote.send("flushed", b"x" * 100)
                assert sent.code == ResponseCode.SUCCESS, sent
                assert marks.flushed > int(sent.fields["msgId"][16:], 16)
            impatient = remote.send("flushed", b"need not wait", properties="WAIT\x01false\x02")
            assert impatient.code == ResponseCode.SUCCESS
            eventually(lambda: marks.flushed > int(impatient.fields["msgId"][16:], 16))
            assert len(remote.read_queue("flushed", 0, 31)) == 31
        broker.stop()
    finally:
        broker.discard()


def test_clients_are_told_the_address_of_the_interface_they_came_in_on(tmp_path: Path) -> None:
    port = free_broker_port()
    broker = ShmqBroker(
        tmp_path,
        listen_host="0.0.0.0",
        port=port,
        settings={"advertised_address": "127.0.0.1", "advertised_listeners": f"127.0.0.2:{port}"},
    )
    try:
        for host, as_hex in (("127.0.0.1", "7F000001"), ("127.0.0.2", "7F000002")):
            with Remote(f"{host}:{port}") as remote, Remote(f"{host}:{broker.namesrv_port}") as name_server:
                assert remote.send("advertised", b"x").fields["msgId"].startswith(f"{as_hex}{port:08X}")
                eventually(lambda asked=name_server: asked.route("advertised"))
                route = name_server.route("advertised")
                assert route is not None
                assert [each.addresses for each in route.brokers] == [{0: f"{host}:{port}"}]
        broker.stop()
    finally:
        broker.discard()
