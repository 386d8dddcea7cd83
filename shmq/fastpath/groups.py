"""Layout and kernels: what pulls need of each group, and what each group wants of each topic.

    offset  size  field           meaning
    ------  ----  --------------  --------------------------------------------------------------
         0     8  flags           EXISTS, READS
         8     8  group_sys_flag
        16

A row a group, by the group's id. Beside them a key table from (group id, topic id) to what the group's online members
want of the topic: the version of their subscription and the hashes of its tags, sorted.

Private to a network worker, whose Python rewrites them when the conductor tells it of a change; kernels only look.
Python decides then whether a group or a subscription is plain. What is not has no flag, and is left to Python.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np

from shmq.broker.filters import TagFilter, is_tag_type, subscription_filter
from shmq.broker.updates import GroupUpdate, SubscriptionUpdate, TopicUpdate, Update
from shmq.fastpath import desk
from shmq.fastpath.tags import ALL, TAGS_MAX, UNREADABLE
from shmq.jit import Bytes, Words, kernel
from shmq.memory.block import address_of
from shmq.memory.endian import load_native_i64, store_native_i64
from shmq.memory.layout import layout, offset_of
from shmq.store.key_table import KeyTable, column_address, find_key, format_key_table, key_of, key_table_bytes
from shmq.store.name_table import NameTable, find_name
from shmq.store.position import NONE
from shmq.wire.heartbeat_bodies import MessageModel, SubscriptionData

LAYOUT: Final = layout(16, flags=(0, "<i8"), group_sys_flag=(8, "<i8"))
SIZE: Final = LAYOUT.itemsize
FLAGS: Final = offset_of(LAYOUT, "flags")
GROUP_SYS_FLAG: Final = offset_of(LAYOUT, "group_sys_flag")

EXISTS: Final = 1
READS: Final = 2
"""The group may consume."""

# Columns of the subscriptions.
IS_PLAIN: Final = 1
VERSION: Final = 2
TAGS: Final = 3
TAG_COUNT: Final = 4
COLUMNS: Final = 4

_SUBSCRIPTIONS_MIN: Final = 256


@kernel
def find_group(at_desk: int, name: int, name_bytes: int) -> int:
    """The id of a group that there is, or NONE."""
    group_id = find_name(load_native_i64(at_desk + desk.GROUP_NAMES), name, name_bytes)
    if group_id == NONE or load_native_i64(group_at(at_desk, group_id) + FLAGS) & EXISTS == 0:
        return NONE
    return group_id


@kernel
def group_at(at_desk: int, group_id: int) -> int:
    """Where the row of a group lies."""
    return load_native_i64(at_desk + desk.GROUPS) + SIZE * group_id


@kernel
def find_subscription(at_desk: int, group_id: int, topic_id: int, version: int) -> tuple[int, int]:
    """Address and number of the tags that a group wants of a topic; the number is UNREADABLE where Python must say.

    Args:
        at_desk: the worker's desk.
        group_id: a group's.
        topic_id: a topic's.
        version: the subscription must not be older.
    """
    table = load_native_i64(at_desk + desk.SUBSCRIPTIONS)
    row = find_key(table, key_of(group_id, topic_id))
    if (
        row == NONE
        or load_native_i64(column_address(table, IS_PLAIN, row)) == 0
        or load_native_i64(column_address(table, VERSION, row)) < version
    ):
        return NONE, UNREADABLE
    tags = load_native_i64(column_address(table, TAGS, row))
    return tags, load_native_i64(column_address(table, TAG_COUNT, row))


class FastGroups:
    """The tables as Python keeps them; they must outlive every use of the desk."""

    def __init__(self, at_desk: int, group_names: NameTable, topic_names: NameTable) -> None:
        """Make empty tables, and note them on the desk."""
        self._desk = at_desk
        self._topic_names = topic_names
        self._rows: Words = np.zeros((group_names.capacity, SIZE // 8), dtype=np.int64)
        self._groups: dict[str, GroupUpdate] = {}
        self._members: dict[str, SubscriptionUpdate] = {}
        self._rows_of: dict[int, set[int]] = {}
        self._early: dict[str, set[str]] = {}  # groups that wait for a topic that has no id yet, by topic
        self._tags: dict[int, Words] = {}
        self._make_table(_SUBSCRIPTIONS_MIN)
        store_native_i64(at_desk + desk.GROUPS, address_of(self._rows))

    def apply(self, update: Update) -> None:
        """Take over what the conductor says."""
        match update:
            case GroupUpdate(name, group_id, config):
                if config is None:
                    self._groups.pop(name, None)
                    self._rows[group_id, FLAGS // 8] = 0
                    self._forget(group_id)
                else:
                    self._groups[name] = update
                    flags = EXISTS | READS if config.consume_enable else EXISTS
                    self._rows[group_id] = flags, config.group_sys_flag
                    self._refresh(name)
            case SubscriptionUpdate(name, _, _, subscriptions):
                if subscriptions is None:
                    self._members.pop(name, None)
                else:
                    self._members[name] = update
                self._refresh(name)
            case TopicUpdate(topic, _, _, _):
                for name in self._early.pop(topic, ()):
                    self._refresh(name)

    def _refresh(self, name: str) -> None:
        """Write a group's subscriptions anew."""
        group = self._groups.get(name)
        if group is None:
            return
        self._forget(group.group_id)
        members = self._members.get(name)
        if members is None or members.subscriptions is None or group.config is None:
            return
        is_broadcasting = members.message_model == MessageModel.BROADCASTING
        if is_broadcasting and not group.config.consume_broadcast_enable:
            return
        for subscription in {each.topic: each for each in members.subscriptions}.values():
            if subscription.topic not in group.forbidden:
                self._put(group, subscription)

    def _put(self, group: GroupUpdate, subscription: SubscriptionData) -> None:
        topic_id = self._topic_names.find(subscription.topic.encode())
        if topic_id == NONE:
            self._early.setdefault(subscription.topic, set()).add(group.name)
            return
        wanted = subscription_filter(subscription)
        if not is_tag_type(subscription.expression_type) or (wanted is not None and len(wanted) > TAGS_MAX):
            return
        if self._table.count >= self._table.capacity:
            self._make_room()
        row = self._table.add(group.group_id, topic_id, {IS_PLAIN: 0})
        self._set(row, VERSION, subscription.version)
        self._set_tags(row, wanted)
        self._set(row, IS_PLAIN, 1)
        self._rows_of.setdefault(group.group_id, set()).add(row)

    def _set_tags(self, row: int, wanted: TagFilter) -> None:
        tags = np.array(sorted(wanted or ()), dtype=np.int64)
        self._tags[row] = tags
        self._set(row, TAGS, address_of(tags))
        self._set(row, TAG_COUNT, ALL if wanted is None else len(tags))

    def _forget(self, group_id: int) -> None:
        for row in self._rows_of.pop(group_id, ()):
            self._set(row, IS_PLAIN, 0)
            self._tags.pop(row, None)

    def _make_room(self) -> None:
        """Make the table anew without the rows that mean nothing any more, larger where it is full of others."""
        live = {
            group_id: [self._table.ids(row)[1] for row in rows] for group_id, rows in self._rows_of.items()
        }
        moved = [(group_id, topic_id) for group_id, topics in live.items() for topic_id in topics]
        previous, tags = self._table, self._tags
        self._make_table(max(_SUBSCRIPTIONS_MIN, 2 * len(moved)))
        self._move(previous, tags, moved)

    def _move(self, previous: KeyTable, tags: dict[int, Words], moved: Iterable[tuple[int, int]]) -> None:
        self._rows_of, self._tags = {}, {}
        for group_id, topic_id in moved:
            old = previous.find(group_id, topic_id)
            columns = {
                column: load_native_i64(column_address(previous.address, column, old))
                for column in range(1, COLUMNS + 1)
            }
            row = self._table.add(group_id, topic_id, columns)
            self._tags[row] = tags[old]
            self._rows_of.setdefault(group_id, set()).add(row)

    def _make_table(self, capacity: int) -> None:
        memory: Bytes = np.zeros(key_table_bytes(capacity, COLUMNS), dtype=np.uint8)
        format_key_table(memory, capacity, COLUMNS)
        self._table = KeyTable(memory, COLUMNS, "subscription")
        store_native_i64(self._desk + desk.SUBSCRIPTIONS, self._table.address)

    def _set(self, row: int, column: int, value: int) -> None:
        store_native_i64(column_address(self._table.address, column, row), value)
