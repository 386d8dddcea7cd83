"""Queries of bounds, of offsets by time, of a message by position, of messages by key."""

from base64 import b64encode

import pytest

from shmq.broker.bloom import BloomFilter, bloom_of
from shmq.broker.querying import (
    ENTRIES_MAX,
    handle_consume_queue,
    handle_earliest_store_time,
    handle_max_offset,
    handle_min_offset,
    handle_query_message,
    handle_search_offset,
    handle_view_message,
)
from shmq.broker.sql.compiling import compile_sql
from shmq.broker.updates import FilterUpdate
from shmq.errors import RequestError
from shmq.store.bit_marks import ExtensionReader
from shmq.store.extending import Expression
from shmq.store.extension_files import ExtensionFiles
from shmq.store.position import NONE
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import encode_head
from shmq.wire.frame import FRAME_BYTES_MAX
from shmq.wire.heartbeat_bodies import SubscriptionData
from shmq.wire.message import decode_messages
from shmq.wire.stats_bodies import ConsumeQueueBody, ConsumeQueueEntry
from tests.support.key_index_model import KeyIndexModel
from tests.support.small_broker import SmallBroker, replied

UNKNOWN = [{"topic": "X"}, {"queueId": 9}, {"queueId": -1}]


@pytest.fixture
def broker(tmp_path):
    made = SmallBroker(tmp_path)
    made.add_topic("T")
    for stored_ms in (1000, 2000, 2000, 3000):
        made.append("T", 1, store_ms=stored_ms, body=str(stored_ms).encode())
    return made


def ask(broker, handler, code, **changes):
    return replied(broker.call(handler, code, {"topic": "T", "queueId": 1} | changes)).fields


def test_bounds_are_those_that_consumers_see(broker):
    broker.store.queues.min[broker.store.slot(b"T", 1)] = 2
    assert ask(broker, handle_max_offset, RequestCode.GET_MAX_OFFSET) == {"offset": "4"}
    assert ask(broker, handle_min_offset, RequestCode.GET_MIN_OFFSET) == {"offset": "2"}


@pytest.mark.parametrize("changes", UNKNOWN)
def test_a_queue_that_nobody_knows_is_empty(broker, changes):
    assert ask(broker, handle_max_offset, RequestCode.GET_MAX_OFFSET, **changes) == {"offset": "0"}
    assert ask(broker, handle_min_offset, RequestCode.GET_MIN_OFFSET, **changes) == {"offset": "0"}
    search = {"timestamp": 5} | changes
    assert ask(broker, handle_search_offset, RequestCode.SEARCH_OFFSET_BY_TIMESTAMP, **search) == {
        "offset": "0"
    }
    earliest = ask(broker, handle_earliest_store_time, RequestCode.GET_EARLIEST_MSG_STORETIME, **changes)
    assert earliest == {"timestamp": "-1"}


@pytest.mark.parametrize(
    ("timestamp", "edge", "offset"),
    [
        (500, None, 0),
        (2000, None, 1),
        (2000, "LOWER", 1),
        (2000, "UPPER", 2),
        (2500, "LOWER", 3),
        (2500, "upper", 2),
        (9000, "LOWER", 4),
        (9000, "UPPER", 3),
    ],
)
def test_a_point_in_time_has_an_offset(broker, timestamp, edge, offset):
    changes = {"timestamp": timestamp, "boundaryType": edge}
    found = ask(broker, handle_search_offset, RequestCode.SEARCH_OFFSET_BY_TIMESTAMP, **changes)
    assert found == {"offset": str(offset)}


def test_the_earliest_time_is_that_of_the_first_message_still_there(broker):
    code = RequestCode.GET_EARLIEST_MSG_STORETIME
    assert ask(broker, handle_earliest_store_time, code) == {"timestamp": "1000"}
    broker.store.queues.min[broker.store.slot(b"T", 1)] = 3
    assert ask(broker, handle_earliest_store_time, code) == {"timestamp": "3000"}


def test_a_message_is_found_where_it_lies(broker):
    position = broker.store.records[1][0]
    outcome = broker.call(handle_view_message, RequestCode.VIEW_MESSAGE_BY_ID, {"offset": position})
    assert replied(outcome).code == ResponseCode.SUCCESS
    (message,) = decode_messages(b"".join(outcome.pieces))
    assert (message.body, message.position, message.queue_offset) == (b"2000", position, 1)


@pytest.mark.parametrize("position", [-1, 1, 1 << 40])
def test_where_no_message_begins_none_is_found(broker, position):
    with pytest.raises(RequestError) as caught:
        broker.call(handle_view_message, RequestCode.VIEW_MESSAGE_BY_ID, {"offset": position})
    expected = (ResponseCode.SYSTEM_ERROR, f"can not find message by the offset, {position}")
    assert (caught.value.code, caught.value.remark) == expected


def test_what_is_not_yet_confirmed_is_not_found(broker):
    position = broker.store.records[1][0]
    broker.mark_appended(position)
    with pytest.raises(RequestError):
        broker.call(handle_view_message, RequestCode.VIEW_MESSAGE_BY_ID, {"offset": position})


SLOTS, ENTRIES = 5, 200
EVERYTHING = {"topic": "T", "key": "k", "maxNum": 64, "beginTimestamp": 0, "endTimestamp": (1 << 63) - 1}
NOT_FOUND = (ResponseCode.QUERY_NOT_FOUND, "can not find message, maybe time range not correct")


def keyed_broker(root, count, body_bytes=1, **settings):
    """A broker of some messages with one key, whose bodies begin with their numbers."""
    made = SmallBroker(root, key_index_slots=SLOTS, key_index_entries=ENTRIES, **settings)
    made.add_topic("T")
    index = KeyIndexModel(SLOTS, ENTRIES)
    for number in range(count):
        body = str(number).encode().ljust(body_bytes)
        made.append(
            "T", body=body, properties=b"UNIQ_KEY\x01u\x02KEYS\x01k other\x02", store_ms=1000 + number
        )
        index.put_message("T", "u", "k other", made.store.records[-1][0], 1000 + number)
    index.write(root / "index")
    return made


def query(broker, **changes):
    return broker.call(handle_query_message, RequestCode.QUERY_MESSAGE, EVERYTHING | changes)


def numbers(outcome):
    """The numbers of the messages that an answer holds."""
    assert replied(outcome).code == ResponseCode.SUCCESS
    return [int(bytes(message.body)) for message in decode_messages(b"".join(outcome.pieces))]


def refusal(broker, **changes):
    with pytest.raises(RequestError) as caught:
        query(broker, **changes)
    return caught.value


def test_a_key_finds_its_newest_messages_in_order(tmp_path):
    broker = keyed_broker(tmp_path, 5)
    assert numbers(query(broker)) == [0, 1, 2, 3, 4]
    assert numbers(query(broker, maxNum=2)) == [3, 4]
    assert numbers(query(broker, beginTimestamp=1001, endTimestamp=1003)) == [1, 2, 3]


def test_the_answer_says_how_far_the_index_has_come(tmp_path):
    broker = keyed_broker(tmp_path, 5)
    expected = {
        "indexLastUpdateTimestamp": "1004",
        "indexLastUpdatePhyoffset": str(broker.store.records[-1][0]),
    }
    assert replied(query(broker, endTimestamp=1000)).fields == expected


def test_no_more_than_64_are_answered_and_32_by_a_unique_id(tmp_path):
    broker = keyed_broker(tmp_path, 66)
    assert numbers(query(broker, maxNum=1000)) == list(range(2, 66))
    assert numbers(query(broker, key="u", maxNum=1000)) == list(range(2, 66))
    unique = {"_UNIQUE_KEY_QUERY": "true"}
    assert numbers(query(broker, key="u", maxNum=1, **unique)) == list(range(34, 66))
    assert numbers(query(broker, maxNum=1, _UNIQUE_KEY_QUERY="True")) == [65]


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "x"},
        {"key": ""},
        {"topic": "X"},
        {"maxNum": 0},
        {"maxNum": -1},
        {"beginTimestamp": 1005},
        {"endTimestamp": 999},
        {"endTimestamp": -(1 << 63)},
        {"beginTimestamp": 1003, "endTimestamp": 1001},
    ],
)
def test_where_nothing_is_found_the_header_is_there_all_the_same(tmp_path, changes):
    error = refusal(keyed_broker(tmp_path, 5), **changes)
    assert (error.code, error.remark) == NOT_FOUND
    assert error.fields == {"indexLastUpdateTimestamp": "0", "indexLastUpdatePhyoffset": "0"}


def test_without_an_index_nothing_is_found(tmp_path):
    broker = SmallBroker(tmp_path)
    broker.add_topic("T")
    error = refusal(broker)
    assert (error.code, error.remark) == NOT_FOUND


def test_old_messages_are_found_while_the_index_is_off(tmp_path):
    assert numbers(query(keyed_broker(tmp_path, 2, key_index=False))) == [0, 1]


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_query_states_every_field(tmp_path, name):
    assert refusal(keyed_broker(tmp_path, 1), **{name: None}).code == ResponseCode.INVALID_PARAMETER


def test_keyed_messages_are_seen_once_confirmed_and_until_trimmed(tmp_path):
    broker = keyed_broker(tmp_path, 5)
    positions = [each[0] for each in broker.store.records]
    broker.mark_appended(positions[4])
    broker.mark_trimmed(positions[1])
    assert numbers(query(broker)) == [1, 2, 3]


@pytest.mark.parametrize(("output_bytes", "body_bytes"), [(64 << 10, 3000), (64 << 20, 650_000)])
def test_an_answer_fits_a_frame_and_what_may_wait_for_a_reader(tmp_path, output_bytes, body_bytes):
    settings = {"log_file_bytes": 1 << 26, "output_bytes_max": output_bytes}
    broker = keyed_broker(tmp_path, 40, body_bytes, **settings)
    outcome = query(broker)
    size = sum(len(piece) for piece in outcome.pieces)
    one = size // len(outcome.pieces)
    most = min(output_bytes, FRAME_BYTES_MAX)
    assert most - 2 * one < len(encode_head(outcome.command, size)) + size <= most
    assert numbers(outcome)[-1] == 39


def dump(broker, **fields):
    """What a dump of a queue answers: the remark, and the body."""
    given = {"topic": "T", "queueId": 1, "index": 0, "count": 10} | fields
    reply = replied(broker.call(handle_consume_queue, RequestCode.QUERY_CONSUME_QUEUE, given))
    assert reply.code == ResponseCode.SUCCESS
    return reply.remark, ConsumeQueueBody.from_bytes(reply.body)


def stored(broker):
    return [ConsumeQueueEntry(*entry) for entry in broker.store.entries(b"T", 1)]


@pytest.mark.parametrize(
    ("index", "count", "expected"),
    [
        (0, 10, slice(0, 4)),
        (0, 2, slice(0, 2)),
        (3, 10, slice(3, 4)),
        (1, 0, slice(0, 0)),
        (1, -5, slice(0, 0)),
    ],
)
def test_a_queue_is_dumped_as_it_is(broker, index, count, expected):
    remark, body = dump(broker, index=index, count=count)
    assert remark is None
    assert body == ConsumeQueueBody(0, 4, stored(broker)[expected])


@pytest.mark.parametrize("index", [-1, 1, 4, 5, 1 << 62])
def test_a_dump_from_an_offset_that_is_not_there_tells_the_bounds_all_the_same(broker, index):
    broker.store.queues.min[broker.store.slot(b"T", 1)] = 2
    remark, body = dump(broker, index=index)
    assert remark == f"Index {index} of 1@T is not exist!"
    assert body == ConsumeQueueBody(2, 4)


def test_a_dump_ends_with_the_file_as_a_pull_does(broker):
    for number in range(20):
        broker.append("T", 1, store_ms=4000 + number, body=b"x")
    for index, count in ((0, 10), (7, 3), (10, 10), (20, 4)):
        _, body = dump(broker, index=index, count=100)
        assert list(body.entries) == stored(broker)[index : index + count]


def test_a_dump_tells_tags_as_their_hashes_and_what_cannot_be_one(broker):
    store = broker.store
    broker.append("T", 1, store_ms=5000, body=b"x", properties=b"TAGS\x01TagA\x02")
    path = store.consumequeue / "T" / "1" / f"{0:020d}"
    content = bytearray(path.read_bytes())
    content[12:20] = (-(1 << 63) + 5).to_bytes(8, "big", signed=True)
    content[32:40] = (-(1 << 31)).to_bytes(8, "big", signed=True)
    with path.open("r+b") as file:
        file.write(content)
    _, body = dump(broker)
    assert body.entries[0].message == f"Cq extend not exist!addr: {-(1 << 63) + 5}"
    assert body.entries[1].message is None
    assert body.entries[4].tag_hash == 2598919


def test_a_dump_tells_what_a_group_wants(broker):
    _, body = dump(broker, consumerGroup="G")
    assert (body.subscription, body.filter_data) == (None, "G@T is not online!")
    wanted = SubscriptionData.from_tags("T", "TagA || TagB", 5)
    broker.subscribe("G", wanted)
    _, body = dump(broker, consumerGroup="G")
    assert (body.subscription, body.filter_data) == (wanted, "null")
    assert len(body.entries) == 4
    _, body = dump(broker, consumerGroup="H")
    assert body.filter_data == "H@T is not online!"


def test_a_dump_is_of_limited_size(broker, monkeypatch):
    monkeypatch.setattr("shmq.broker.querying.ENTRIES_MAX", 3)
    _, body = dump(broker, count=1 << 30)
    assert len(body.entries) == 3
    assert ENTRIES_MAX * 150 < FRAME_BYTES_MAX


@pytest.mark.parametrize("changes", UNKNOWN)
def test_a_dump_of_a_queue_that_nobody_knows_is_an_error(broker, changes):
    given = {"topic": "T", "queueId": 1} | changes
    with pytest.raises(RequestError) as raised:
        broker.call(handle_consume_queue, RequestCode.QUERY_CONSUME_QUEUE, given)
    assert raised.value.code == ResponseCode.SYSTEM_ERROR
    assert raised.value.remark == f"{given['queueId']}@{given['topic']} is not exist!"


def test_a_dump_is_fastjson_as_java_writes_it(broker):
    reply = replied(
        broker.call(
            handle_consume_queue, RequestCode.QUERY_CONSUME_QUEUE, {"topic": "T", "queueId": 1, "count": 1}
        )
    )
    size = broker.store.records[0][1]
    assert bytes(reply.body) == (
        b'{"maxQueueIndex":4,"minQueueIndex":0,"queueData":[{"eval":false,"physicOffset":0,"physicSize":%d,'
        b'"tagsCode":0}]}' % size
    )


def test_a_dump_tells_what_an_extension_says(broker, tmp_path):
    files = ExtensionFiles(tmp_path / "ext", 4096, broker.store.consumequeue)
    broker.store.dispatch.keep_extensions(files).source = Everything()
    broker.replica.reader.extensions = ExtensionReader(tmp_path / "ext", 4096, int)
    broker.append("T", 1, store_ms=5000, body=b"x", properties=b"TAGS\x01TagA\x02")
    bits = bloom_of(broker.replica.config).bits_of("G", "T")
    _, body = dump(broker, index=4)
    (entry,) = body.entries
    assert (entry.tag_hash, entry.message, entry.is_wanted) == (2598919, None, False)
    assert entry.extension == (
        f'{{"filterBitMap":"{base64_of(bits)}","msgStoreTime":5000,"size":34,"tagsCode":2598919}}'
    )
    lines = entry.bit_map.split("\n")
    assert [len(line) for line in lines] == [48, 64, 0]
    assert {111 - at for at, bit in enumerate("".join(lines)) if bit == "1"} == set(bits.positions)
    for expression, kind, live_from, is_wanted in (
        ("TagA", "TAG", NONE, True),
        ("TagB", "TAG", NONE, False),
        ("a = 1", "SQL92", NONE, True),
        ("a = 1", "SQL92", 0, True),
    ):
        broker.subscribe(
            "G", SubscriptionData.from_tags("T", expression, 1) if kind == "TAG" else sql(expression)
        )
        broker.replica.apply(FilterUpdate("T", "G", "a = 1", 1, live_from, 1))
        _, body = dump(broker, index=4, consumerGroup="G")
        assert body.entries[0].is_wanted is is_wanted
    broker.subscribe("H", sql("a = 1"))
    broker.replica.apply(FilterUpdate("T", "H", "a = 1", 1, 0, 1))
    _, body = dump(broker, index=4, consumerGroup="H")
    assert body.entries[0].is_wanted is False


def sql(expression):
    return SubscriptionData("T", expression, version=1, expression_type="SQL92")


class Everything:
    """One expression, of the group G, that matches every message."""

    bit_map_bytes = 14

    def expressions(self, topic):
        bits = BloomFilter.of(20, 32).bits_of("G", topic.decode())
        return [Expression(compile_sql("TAGS IS NOT NULL"), bits.positions)]


def base64_of(bits):
    mask = sum(1 << at for at in set(bits.positions))
    return b64encode(mask.to_bytes(14, "little")).decode()
