"""Whatever is sent is consumed, once and in order, by whoever asks for its tag."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from shmq.broker.outcome import Park
from shmq.broker.pulling import handle_pull
from shmq.broker.sending import handle_send
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.message import decode_messages, parse_properties
from tests.support.small_broker import NOW_MS, SEND, SmallBroker, properties_text, replied, send_fields

SUBSCRIPTION, SUSPEND = 4, 2
TAGS = ("a", "b", "c", "")

names = st.text(
    st.characters(exclude_characters="\x01\x02", exclude_categories=("Cs",)), min_size=1, max_size=8
)
reserved = frozenset(
    ("DELAY", "TRAN_MSG", "INNER_NUM", "POP_CK", "MSG_REGION", "TRACE_ON", "CLUSTER", "UNIQ_KEY")
)


class Consumer:
    """A client that pulls as Java's does: where it is told to go on it goes on."""

    def __init__(self, broker, wanted, count_max):
        self.broker, self.wanted, self.count_max = broker, wanted, count_max
        self.offset = 0
        self.got = []
        self.park = None

    def pull(self):
        fields = {
            "consumerGroup": "G", "topic": "T", "queueId": 0, "queueOffset": self.offset, "maxMsgNums": self.count_max,
            "sysFlag": SUBSCRIPTION | SUSPEND, "commitOffset": 0, "suspendTimeoutMillis": 100, "subVersion": 0,
            "subscription": "||".join(self.wanted),
        }  # fmt: skip
        return self.broker.call(handle_pull, RequestCode.PULL_MESSAGE, fields)

    def run(self, *, is_last):
        """Pull until there is nothing more to be had at once."""
        outcome = self.pull() if self.park is None else self.park.again(NOW_MS, is_last)
        newest = self.broker.store.queues.max[self.broker.store.slot(b"T")]
        while not (isinstance(outcome, Park) and outcome.past_offset >= newest):
            if isinstance(outcome, Park):
                outcome = outcome.again(NOW_MS, False)
                continue
            command = replied(outcome)
            assert command.code in {
                ResponseCode.SUCCESS,
                ResponseCode.PULL_RETRY_IMMEDIATELY,
                ResponseCode.PULL_NOT_FOUND,
            }
            self.got += [message.body for message in decode_messages(b"".join(outcome.pieces))]
            following = int(command.fields["nextBeginOffset"])
            assert following >= self.offset
            self.offset = following
            outcome = self.pull()
        self.park = outcome


@settings(max_examples=60, deadline=None)
@given(
    bursts=st.lists(st.tuples(st.lists(st.sampled_from(TAGS), max_size=15), st.booleans()), max_size=6),
    wanted=st.lists(st.sampled_from(TAGS[:3]), min_size=1, max_size=2),
    count_max=st.integers(1, 5),
    scan_bytes=st.sampled_from((20, 60, 16000)),
)
def test_a_consumer_gets_every_message_of_its_tags_in_order(bursts, wanted, count_max, scan_bytes):
    with tempfile.TemporaryDirectory() as root:
        broker = SmallBroker(Path(root), filter_scan_bytes_max=scan_bytes)
        broker.add_topic("T", 1)
        broker.add_group("G")
        consumer = Consumer(broker, wanted, count_max)
        expected = []
        for burst, is_last in bursts:
            for tag in burst:
                body = f"{tag}{len(broker.store.records)}".encode()
                broker.append("T", tag=tag, body=body)
                expected += [body] if tag in wanted else []
            consumer.run(is_last=is_last)
            assert consumer.got == expected
        broker.replica.reader.close()


@settings(max_examples=60, deadline=None)
@given(
    body=st.binary(min_size=1, max_size=200),
    given_properties=st.dictionaries(names, names, max_size=5),
    flag=st.integers(-(1 << 31), (1 << 31) - 1),
    queue_id=st.integers(0, 3),
)
def test_a_message_is_consumed_as_it_was_sent(body, given_properties, flag, queue_id):
    wanted = {name: value for name, value in given_properties.items() if name not in reserved}
    with tempfile.TemporaryDirectory() as root:
        broker = SmallBroker(Path(root))
        broker.add_topic("T")
        broker.add_group("G")
        sent = properties_text(**wanted)
        answer = replied(
            broker.commit(broker.call(handle_send, SEND, send_fields(e=queue_id, h=flag, i=sent), body))
        )
        fields = {
            "consumerGroup": "G", "topic": "T", "queueId": queue_id, "queueOffset": 0, "maxMsgNums": 32,
            "sysFlag": SUBSCRIPTION, "commitOffset": 0, "suspendTimeoutMillis": 0, "subVersion": 0,
        }  # fmt: skip
        outcome = broker.call(handle_pull, RequestCode.PULL_MESSAGE, fields)
        (message,) = decode_messages(b"".join(outcome.pieces))
        assert (message.body, message.flag, message.queue_id) == (body, flag, queue_id)
        assert message.offset_message_id == answer.fields["msgId"]
        assert message.properties["UNIQ_KEY"] == answer.fields["transactionId"]
        assert parse_properties(sent).items() <= message.properties.items()
        broker.replica.reader.close()
