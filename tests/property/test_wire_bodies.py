import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shmq.errors import PeerError, RequestError
from shmq.wire import fastjson
from shmq.wire.batch import BatchEntry, join_batch, split_batch
from shmq.wire.bodies import LockBatchRequest, MessageQueue
from shmq.wire.fields import parse_int64
from shmq.wire.heartbeat_bodies import ConsumerData, HeartbeatData, SubscriptionData
from shmq.wire.message import decode_messages, parse_properties, write_properties
from shmq.wire.pop_bodies import BatchAckBody
from shmq.wire.route_bodies import BrokerData, BrokerMemberGroup, ClusterInfo, QueueData, TopicRouteData
from shmq.wire.stats_bodies import TopicOffset, TopicStatsTable
from shmq.wire.topic_bodies import (
    RegisterBrokerBody,
    SubscriptionGroupWrapper,
    TopicConfig,
    TopicConfigSerializeWrapper,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
QUEUE = MessageQueue("T", "b", 1)
SAMPLES = [
    LockBatchRequest("G", "c", (QUEUE,)),
    HeartbeatData(
        "c", ("PG",), (ConsumerData("G", subscriptions=(SubscriptionData.from_tags("T", "a || b", 7),)),)
    ),
    TopicRouteData((QueueData("b", 1, 1, 6),), (BrokerData("c", "b", {0: "h:1"}),)),
    ClusterInfo({"b": BrokerData("c", "b", {0: "h:1"})}, {"c": ("b",)}),
    BrokerMemberGroup("c", "b", {0: "h:1", 1: "h:2"}),
    TopicStatsTable({QUEUE: TopicOffset(1, 2, 3)}, 0.5),
    RegisterBrokerBody(TopicConfigSerializeWrapper({"T": TopicConfig("T", attributes={"a": "b"})}), ("h:1",)),
    SubscriptionGroupWrapper.from_bytes(
        b'{"subscriptionGroupTable":{"G":{"subscriptionDataSet":[{"topic":"T"}]}}}'
    ),
    BatchAckBody.from_bytes(b'{"acks":[{"b":"CQI=","c":"G","so":10,"t":"T"}],"brokerName":"b"}'),
]


@settings(max_examples=200, deadline=None)
@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 1]))
def test_the_tolerant_reader_reads_standard_json_as_json_does(document, ascii_only, indent):
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
    assert fastjson.read_tolerantly(text) == json.loads(text)


@settings(max_examples=200, deadline=None)
@given(DOCUMENTS)
def test_what_is_written_is_read_the_same_by_both_readers(document):
    written = fastjson.dumps(document)
    assert fastjson.read_tolerantly(written.decode()) == json.loads(written)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.integers(-(2**63), 2**63 - 1), TEXTS, max_size=5))
def test_number_keys_come_back_as_their_digits(entries):
    read = fastjson.loads(fastjson.dumps(fastjson.number_keyed(entries)))
    assert {parse_int64(key): value for key, value in read.items()} == entries


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='{}[]":,0123456789-.eE\\ufnltras$ref\n ', max_size=60))
def test_text_that_looks_like_json_is_read_or_refused(text):
    try:
        read = fastjson.loads(text.encode())
    except RequestError as error:
        assert error.remark  # noqa: PT017 - either ending is right; this one must say why
    else:
        fastjson.dumps(read)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_body_with_bytes_changed_is_read_or_refused(sample, data):
    body = bytearray(sample.to_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = type(sample).from_bytes(bytes(body))
    except RequestError as error:
        assert error.remark  # noqa: PT017 - either ending is right; this one must say why
    else:
        assert type(sample).from_bytes(read.to_bytes()) == read


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-(2**31), 2**31 - 1), st.binary(max_size=30), st.binary(max_size=30)),
        min_size=1,
        max_size=4,
    ),
    st.data(),
)
def test_a_batch_is_split_as_it_was_joined_or_refused_once_changed(given_entries, data):
    entries = [BatchEntry(*entry) for entry in given_entries]
    body = bytearray(join_batch(entries))
    assert split_batch(bytes(body)) == entries
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert len(split_batch(bytes(body))) >= 1
    except RequestError as error:
        assert error.remark  # noqa: PT017 - either ending is right; this one must say why


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_message_with_bytes_changed_is_read_or_is_the_peers_fault(message_dump, data):
    dump = bytearray(message_dump * 2)
    for _ in range(data.draw(st.integers(1, 3))):
        dump[data.draw(st.integers(0, len(dump) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert sum(message.size_bytes for message in decode_messages(bytes(dump))) == len(dump)
    except PeerError as error:
        assert str(error)  # noqa: PT017 - either ending is right; this one must say why


@pytest.fixture(scope="module")
def message_dump() -> bytes:
    golden = Path(__file__).parents[1] / "golden" / "wire.json"
    return bytes.fromhex(json.loads(golden.read_text())["message"])


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        *[
            st.text(
                st.characters(exclude_categories=["Cs"], exclude_characters="\x01\x02"),
                min_size=1,
                max_size=8,
            )
        ]
        * 2
    )
)
def test_properties_survive_their_text(properties):
    assert parse_properties(write_properties(properties)) == properties
