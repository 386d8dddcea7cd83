"""A broker's data plane for tests: a replica over a small store, with the writer's and the conductor's parts in hand."""

import random
import struct

import numpy as np

from shmq.broker.outcome import Answered, Append, Appended, Ask, Peer, PutStatus, Reply
from shmq.broker.replica import Replica, read_limits
from shmq.broker.updates import GroupUpdate, SubscriptionUpdate, TopicUpdate
from shmq.config.settings import Config
from shmq.memory.block import address_of
from shmq.memory.words import store_word
from shmq.store import record, watermarks
from shmq.store.host import Host
from shmq.store.key_query import KeyIndexReader
from shmq.store.offset_table import OffsetTable, format_offset_table, offset_table_bytes
from shmq.store.read import QueueReader
from shmq.store.store_files import StoreSizes
from shmq.store.watermarks import Watermarks
from shmq.wire.codes import RequestCode
from shmq.wire.command import Command
from shmq.wire.heartbeat_bodies import ConsumeType, MessageModel
from shmq.wire.topic_bodies import SubscriptionGroupConfig, TopicConfig
from tests.support.small_store import SmallStore

PEER = Peer(Host(b"\x7f\x00\x00\x01", 50000), Host(b"\x7f\x00\x00\x01", 10911))
NOW_MS = 1_700_000_000_000
STORE_MS = NOW_MS + 1
OFFSETS = 256


class SmallBroker:
    """A replica, and what else a test of handlers needs.

    Attributes:
        store: the log, the queues and their tables.
        replica: what handlers get.
    """

    def __init__(self, root, *, log_file_bytes=1 << 16, queue_file_bytes=200, **settings):
        self.store = SmallStore(root, log_file_bytes, queue_file_bytes)
        self.config = Config(
            store_root=str(root),
            broker_name="b",
            commit_log_file_bytes=log_file_bytes,
            consume_queue_file_bytes=queue_file_bytes,
            **settings,
        )
        memory = np.zeros(offset_table_bytes(OFFSETS), dtype=np.uint8)
        format_offset_table(memory, OFFSETS)
        self.offsets = OffsetTable(memory)
        sizes, limits = StoreSizes.of(self.config), read_limits(self.config)
        reader = QueueReader(self.store.consumequeue, sizes, self.store.queues, self.store.log, limits)
        keys = KeyIndexReader(root / "index", sizes.key_index, self.store.log)
        self.words = np.zeros(watermarks.SIZE, dtype=np.uint8)
        marks = Watermarks(address_of(self.words), is_sync_flush=False)
        self.replica = Replica(self.config, self.offsets, reader, keys, marks, random.Random(7))
        self.groups = 0

    def add_topic(self, name, queues=4, *, slots=None, **config):
        given = {"read_queue_count": queues, "write_queue_count": queues} | config
        count = queues if slots is None else slots
        made = tuple(self.store.add_queue(name.encode(), queue_id) for queue_id in range(count))
        self.replica.apply(
            TopicUpdate(name, self.store.topics.find(name.encode()), TopicConfig(name, **given), made)
        )

    def add_group(self, name, **config):
        self.replica.apply(GroupUpdate(name, self.groups, SubscriptionGroupConfig(name, **config)))
        self.groups += 1

    def subscribe(self, group, *subscriptions, model=MessageModel.CLUSTERING):
        consume_type = ConsumeType.CONSUME_PASSIVELY
        self.replica.apply(SubscriptionUpdate(group, model, consume_type, subscriptions))

    def call(self, handler, code, fields, body=b"", **command):
        """What a handler makes of a request."""
        texts = {name: str(value) for name, value in fields.items() if value is not None}
        request = Command(code=code, opaque=7, fields=texts, body=body, **command)
        return handler(self.replica, request, PEER, NOW_MS)

    def commit(self, outcome, status=PutStatus.PUT_OK):
        """Do what an Append wants, as the commit writer and the dispatcher do; return the next outcome."""
        assert isinstance(outcome, Append)
        positions, offsets = [], []
        for new in outcome.records:
            position, offset = self.put(new)
            positions.append(position)
            offsets.append(offset)
        self.dispatch()
        return outcome.then(Appended(status, offsets[0], tuple(positions), STORE_MS))

    def put(self, new):
        """Write one record at the log's end; return its position and its offset in the queue."""
        store = self.store
        buffer = bytearray(record.size_of(new))
        record.encode_into(new, memoryview(buffer), 0)
        left = store.log_file_bytes - store.end % store.log_file_bytes
        if len(buffer) + record.BLANK_BYTES_MIN > left:
            store.write(store.end, struct.pack(">ii", left, record.BLANK_MAGIC))
            store.end += left
        offset = store.next.get((new.topic, new.queue_id), 0)
        store.next[new.topic, new.queue_id] = offset + 1
        struct.pack_into(">qq", buffer, record.QUEUE_OFFSET, offset, store.end)
        struct.pack_into(">q", buffer, record.STORE_TIMESTAMP, STORE_MS)
        store.write(store.end, bytes(buffer))
        position, store.end = store.end, store.end + len(buffer)
        return position, offset

    def append(self, topic, queue_id=0, **message):
        """Store a message of any content, seen by consumers at once."""
        self.store.append(topic.encode(), queue_id, **message)
        self.dispatch()

    def mark_appended(self, position):
        store_word(self.replica.watermarks.address + watermarks.APPENDED, position)

    def mark_trimmed(self, position):
        store_word(self.replica.watermarks.address + watermarks.TRIMMED, position)

    def dispatch(self):
        self.mark_appended(self.store.end)
        result = self.store.run()
        assert not result.problem


def answered(outcome, code=0, remark=""):
    """Answer an Ask as the conductor does."""
    assert isinstance(outcome, Ask)
    return outcome.then(Answered(code, remark))


def replied(outcome):
    """The command of a Reply."""
    assert isinstance(outcome, Reply)
    return outcome.command


def send_fields(topic="T", **changes):
    """The fields of SEND_MESSAGE_V2; give None to leave one out."""
    fields = {
        "a": "PG", "b": topic, "c": "TBW102", "d": 4, "e": 1, "f": 0, "g": NOW_MS, "h": 0, "i": None, "j": 0, "k": "false",
        "m": "false",
    }  # fmt: skip
    return fields | changes


def properties_text(**properties):
    return "".join(f"{name}\x01{value}\x02" for name, value in properties.items())


SEND = RequestCode.SEND_MESSAGE_V2
