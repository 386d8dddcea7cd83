"""Replica: one network worker's view of the broker, which all data requests are answered from.

Names, permissions and subscriptions come from the conductor as updates and are kept here as dictionaries; offsets
are read from the tables in shared memory, messages through mappings of the worker's own. Nothing here is written by
a handler but a committed offset. After a crash of its worker a replica is made anew from the conductor's snapshot.
"""

import os
import random
from dataclasses import dataclass, replace

from shmq.broker.bloom import bloom_of
from shmq.broker.filters import MessageFilter
from shmq.broker.limits import append_bytes_max
from shmq.broker.message_ids import UniqueIds
from shmq.broker.pop.desk import PopDesk
from shmq.broker.sql.compiling import compile_sql
from shmq.broker.updates import FilterUpdate, GroupUpdate, SubscriptionUpdate, TopicUpdate, Update
from shmq.config.addresses import split_address
from shmq.config.settings import Config
from shmq.store.bit_marks import MarkedFilter
from shmq.store.entry_scan import ReadLimits
from shmq.store.key_query import KeyIndexReader
from shmq.store.offset_table import OffsetTable
from shmq.store.position import NONE
from shmq.store.read import QueueReader, ReadResult
from shmq.store.search import Queue, position_at
from shmq.store.watermarks import Watermarks
from shmq.wire.heartbeat_bodies import ConsumeType, MessageModel, SubscriptionData
from shmq.wire.topic_bodies import SubscriptionGroupConfig, TopicConfig


@dataclass(frozen=True, slots=True)
class TopicView:
    """A topic as a worker knows it.

    Attributes:
        name: the topic.
        name_bytes: its name as records hold it.
        config: its queues, permission and flags.
        slots: the slot of each queue, by queue id.
    """

    name: str
    name_bytes: bytes
    config: TopicConfig
    slots: tuple[int, ...]

    @property
    def queue_count(self) -> int:
        """How many queues there are: those that can be read or written."""
        return max(self.config.read_queue_count, self.config.write_queue_count)


@dataclass(frozen=True, slots=True)
class GroupView:
    """A consumer group as a worker knows it."""

    name: str
    group_id: int
    config: SubscriptionGroupConfig
    forbidden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MembersView:
    """What the online members of a group have subscribed to, by topic."""

    message_model: MessageModel
    consume_type: ConsumeType
    subscriptions: dict[str, SubscriptionData]


class Replica:
    """What a data handler may use.

    Attributes:
        config: the broker's settings.
        offsets: the table of committed offsets, in shared memory.
        reader: the queues and their messages.
        keys: finds messages by their keys.
        watermarks: how far the log has come.
        topics: by name.
        groups: by name.
        members: of groups that are online, by the group's name.
        filters: the SQL92 expressions of groups, by group and topic.
        filters_generation: the count of changes of these that was told last.
        random: chooses where the client leaves the choice.
        unique_ids: for messages whose producer gave none.
        broker_host: the host that clients are told to dial, for remarks.
        delay_level_count: how many delay levels there are.
        append_bytes_max: the longest run of records that one append can take.
        pops: what the worker remembers of pops.
    """

    def __init__(
        self,
        config: Config,
        offsets: OffsetTable,
        reader: QueueReader,
        keys: KeyIndexReader,
        watermarks: Watermarks,
        source: random.Random,
    ) -> None:
        self.config = config
        self.offsets = offsets
        self.reader = reader
        self.keys = keys
        self.watermarks = watermarks
        self.random = source
        self.topics: dict[str, TopicView] = {}
        self.groups: dict[str, GroupView] = {}
        self.members: dict[str, MembersView] = {}
        self.filters: dict[str, dict[str, FilterUpdate]] = {}
        self.filters_generation = 0
        self._bloom = bloom_of(config)
        self.unique_ids = UniqueIds(source)
        self.broker_host = split_address(config.effective_advertised_address())[0]
        self.delay_level_count = len(config.delay_levels_ms)
        self._near_distance_bytes = read_limits(config).near_distance_bytes
        self.append_bytes_max = append_bytes_max(config)
        self.pops = PopDesk()

    def apply(self, update: Update) -> None:
        """Take over what the conductor says."""
        match update:
            case TopicUpdate(name, _, config, slots):
                if config is None:
                    self.topics.pop(name, None)
                else:
                    self.topics[name] = TopicView(name, name.encode(), config, slots)
            case GroupUpdate(name, group_id, group, forbidden):
                if group is None:
                    self.groups.pop(name, None)
                else:
                    self.groups[name] = GroupView(name, group_id, group, forbidden)
            case SubscriptionUpdate(name, model, consume_type, subscriptions):
                if subscriptions is None:
                    self.members.pop(name, None)
                else:
                    by_topic = {each.topic: each for each in subscriptions}
                    self.members[name] = MembersView(model, consume_type, by_topic)

            case FilterUpdate(topic, group_name, expression):
                of_group = self.filters.setdefault(group_name, {})
                of_group.pop(topic, None)
                if expression is not None:
                    of_group[topic] = update
                self.filters_generation = update.generation

    def distrust_bit_maps(self) -> None:
        """Believe no bit map of what was told until it is told again: a new conductor may not know it any more."""
        for of_group in self.filters.values():
            for topic, update in of_group.items():
                of_group[topic] = replace(update, live_from=NONE)

    def registered_filter(self, update: FilterUpdate) -> MessageFilter:
        """The filter of a group's expression, with its bits in bit maps where these know it.

        Raises:
            SqlError: there is none any more, or it makes no sense.
        """
        wanted = compile_sql(update.expression or "")
        if update.live_from == NONE:
            return wanted
        bits = self._bloom.bits_of(update.group, update.topic)
        return MarkedFilter(
            wanted, bits.positions, bits.bit_count // 8, update.live_from, self.filters_generation
        )

    def queue(self, topic: str, queue_id: int) -> Queue:
        """A queue as searches want it; its slot is NONE where there is no such queue."""
        view = self.topics.get(topic)
        if view is None or not 0 <= queue_id < len(view.slots):
            return Queue(NONE, (b"", NONE))
        return Queue(view.slots[queue_id], (view.name_bytes, queue_id))

    def read(
        self, topic: TopicView, queue_id: int, offset: int, count_max: int, wanted: MessageFilter
    ) -> ReadResult:
        """The messages of one answer to a pull; see `QueueReader.read`."""
        queue = topic.name_bytes, queue_id
        return self.reader.read(
            topic.slots[queue_id], queue, offset, count_max, self.watermarks.appended, wanted
        )

    def is_in_memory(self, queue: Queue, offset: int) -> bool:
        """Whether consumers can see a message that is near enough to the log's end to be in memory."""
        position = position_at(self.reader, queue, offset)
        if position == NONE or self.reader.log.address_of(position)[0] == NONE:
            return False
        return self.watermarks.appended - position <= self._near_distance_bytes

    def committed_offset(self, group: str, slot: int) -> int:
        """How far a group has consumed a queue, or NONE."""
        view = self.groups.get(group)
        if view is None or slot == NONE:
            return NONE
        row = self.offsets.row(view.group_id, slot)
        return NONE if row == NONE else self.offsets.load(row)

    def is_reset(self, group_id: int, slot: int) -> bool:
        """Whether a reset of a group's offset waits to be told to it."""
        row = self.offsets.row(group_id, slot)
        return row != NONE and self.offsets.pending_reset(row) != NONE

    def take_reset(self, group_id: int, slot: int) -> int:
        """Take the pending reset of a group's offset, which is to be told to it; NONE without."""
        row = self.offsets.row(group_id, slot)
        return NONE if row == NONE else self.offsets.take_reset(row)

    def commit_offset(self, group_id: int, slot: int, offset: int) -> bool:
        """Commit an offset; False where the conductor must first make a row for it."""
        row = self.offsets.row(group_id, slot)
        if row == NONE:
            return False
        self.offsets.store(row, offset)
        return True


def read_limits(config: Config) -> ReadLimits:
    """Return how much one pull may take, as the settings have it."""
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return ReadLimits(
        near_count=config.transfer_count_in_memory_max,
        near_bytes=config.transfer_bytes_in_memory_max,
        far_count=config.transfer_count_on_disk_max,
        far_bytes=config.transfer_bytes_on_disk_max,
        near_distance_bytes=memory_bytes * config.in_memory_ratio_percent // 100,
        filter_bytes=config.filter_scan_bytes_max,
    )
