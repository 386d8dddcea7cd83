"""What a network worker's kernels need, as Python makes it and keeps it up to date.

Made once, when the worker starts, and noted on its desk; from then on Python rewrites a topic's row when the
conductor tells of a change, before the next frame is served. Whether a topic is plain is decided here, by what
`broker.sending` would check.
"""

from typing import Final

import numpy as np

from shmq.broker import message_properties as names
from shmq.broker.names import RETRY_PREFIX, TIMER_TOPIC, TOPICS_CLOSED_TO_CLIENTS, topic_problem
from shmq.broker.replica import Replica
from shmq.broker.sending import MULTI_TAG
from shmq.broker.updates import TopicUpdate, Update
from shmq.config.settings import Config
from shmq.fastpath import completing, desk, pending, request, topics
from shmq.fastpath.groups import FastGroups
from shmq.fastpath.parked_rows import ParkedRows
from shmq.fastpath.reading import Reading
from shmq.fastpath.refusals import Refusals
from shmq.fastpath.topics import EXISTS, SENDABLE
from shmq.jit import Bytes, Words
from shmq.memory.block import address_of
from shmq.memory.endian import load_native_i64, store_native_i64
from shmq.shared.broker_memory import BrokerMemory
from shmq.shared.plan import BELL_WRITER
from shmq.store import properties
from shmq.store.record import TOPIC_BYTES_V1_MAX
from shmq.wire.flags import MESSAGE_MULTI_TAGS, PERM_WRITE
from shmq.wire.send_headers import DEFAULT_REGION
from shmq.wire.topic_bodies import TopicConfig

PENDING_ROWS: Final = 1 << 15


class FastTables:
    """The tables of one worker; they must outlive every use of its desk."""

    def __init__(self, at_desk: int, memory: BrokerMemory, replica: Replica, sender: int, epoch: int) -> None:
        """Make empty tables, and note them on the desk, and where the shared ones lie.

        Args:
            at_desk: the worker's desk.
            memory: the broker's.
            replica: the worker's, for its settings.
            sender: the worker's number among the senders.
            epoch: of this life of the worker.
        """
        config = self._config = replica.config
        self._desk = at_desk
        self._topics: Words = np.zeros((memory.topic_names.capacity, topics.SIZE // 8), dtype=np.int64)
        self._request: Bytes = np.zeros(request.SIZE, dtype=np.uint8)
        self._pending: Bytes = np.zeros(pending.pending_bytes(PENDING_ROWS), dtype=np.uint8)
        self._foreign: Bytes = np.zeros(completing.FOREIGN_LIST_BYTES, dtype=np.uint8)
        self._suffix: Bytes = np.frombuffer(_suffix(config), dtype=np.uint8)
        self._refusals = Refusals(replica)
        pending.format_pending(address_of(self._pending), PENDING_ROWS)
        words = {
            desk.REQUEST: address_of(self._request),
            desk.SUBMIT: memory.place(f"submit/{sender}"),
            desk.COMPLETIONS: memory.place(f"completions/{sender}"),
            desk.WRITER_BELL: memory.bell(BELL_WRITER),
            desk.WATERMARKS: memory.place("watermarks"),
            desk.TOPIC_NAMES: memory.topic_names.address,
            desk.GROUP_NAMES: memory.group_names.address,
            desk.QUEUES: memory.queues.address,
            desk.OFFSETS: memory.offsets.address,
            desk.TOPICS: address_of(self._topics),
            desk.PENDING: address_of(self._pending),
            desk.EPOCH: epoch,
            desk.IS_SYNC_FLUSH: int(config.flush_disk_type == "SYNC_FLUSH"),
            desk.FLUSH_WAIT_MS: config.sync_flush_timeout_ms,
            desk.MESSAGE_BYTES_MAX: config.message_bytes_max,
            desk.FOREIGN: address_of(self._foreign),
            desk.SEND_SUFFIX: address_of(self._suffix),
            desk.SEND_SUFFIX_BYTES: len(self._suffix),
            desk.APPEND_BYTES_MAX: replica.append_bytes_max,
            desk.REFUSALS: self._refusals.address,
        }
        for word, value in words.items():
            store_native_i64(at_desk + word, value)
        self._reading = Reading(at_desk, config, replica.reader)
        self._groups = FastGroups(at_desk, memory.group_names, memory.topic_names)
        self._parked = ParkedRows(at_desk, memory.queues.capacity)

    @property
    def in_flight(self) -> int:
        """How many submissions of the fast path have no answer yet."""
        return load_native_i64(address_of(self._pending) + pending.COUNT)

    def apply(self, update: Update) -> None:
        """Take over what the conductor says."""
        self._groups.apply(update)
        if not isinstance(update, TopicUpdate) or update.topic_id < 0:
            return
        config = update.config
        if config is None:
            self._topics[update.topic_id] = 0
            return
        row = np.zeros(topics.SIZE // 8, dtype=np.int64)
        row[topics.FLAGS // 8] = EXISTS | (SENDABLE if self._is_sendable(config) else 0)
        row[topics.QUEUE_COUNT // 8] = min(
            max(config.read_queue_count, config.write_queue_count), len(update.slots)
        )
        row[topics.MESSAGE_FLAG // 8] = MESSAGE_MULTI_TAGS if config.topic_filter_type == MULTI_TAG else 0
        row[topics.READ_QUEUE_COUNT // 8] = config.read_queue_count
        row[topics.PERMISSION // 8] = config.permission
        row[topics.TOPIC_SYS_FLAG // 8] = config.topic_sys_flag
        self._topics[update.topic_id] = row

    def _is_sendable(self, config: TopicConfig) -> bool:
        """Whether nothing about a topic keeps a plain message from being stored in it as it is."""
        name = config.topic
        is_forbidden = config.order and not self._config.broker_permission & PERM_WRITE
        is_special = name.startswith(RETRY_PREFIX) or name == TIMER_TOPIC or name in TOPICS_CLOSED_TO_CLIENTS
        is_long = len(name.encode()) > TOPIC_BYTES_V1_MAX
        is_compacted = config.attributes.get("cleanup.policy") == "COMPACTION"
        return not (is_forbidden or is_special or is_long or is_compacted or topic_problem(name))


def _suffix(config: Config) -> bytes:
    """Return the properties that every single message gets behind its own."""
    added = {names.REGION: DEFAULT_REGION, names.TRACE: "true", names.CLUSTER: config.cluster_name}
    return properties.join(added)
