"""Offsets: the table of committed offsets, restored from its document at start and saved to it now and then.

Between the two the conductor only adds rows: network workers commit by themselves, into shared memory. The
document knows a row as `topic@group` and a queue id; names and queues that it mentions get their places in the
tables, so that nothing which another broker saved here is lost. Its keys of any other form are kept as they are.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from shmq.broker.documents import reading
from shmq.broker.effects import DocumentName
from shmq.store.name_table import NameTable
from shmq.store.offset_table import OffsetTable
from shmq.store.position import NONE
from shmq.store.queue_table import QueueTable
from shmq.wire.bodies import DataVersion, data_version_of
from shmq.wire.members import as_integer, as_object, object_of

SEPARATOR: Final = "@"


class Tables(NamedTuple):
    """The conductor's tables in shared memory.

    Attributes:
        topics: names of topics.
        groups: names of groups.
        queues: queues of topics.
        offsets: committed offsets of groups in queues.
    """

    topics: NameTable
    groups: NameTable
    queues: QueueTable
    offsets: OffsetTable


class CommittedOffset(NamedTuple):
    """How far a group has consumed a queue."""

    group: str
    topic: str
    queue_id: int
    offset: int


class Offsets:
    """All committed offsets.

    Attributes:
        version: noted in `consumerOffset.json`; moves when the offsets have moved since it was last rendered.
    """

    def __init__(self, tables: Tables, now_ms: int) -> None:
        self.version = DataVersion(timestamp_ms=now_ms)
        self._tables = tables
        self._foreign: dict[str, Any] = {}
        self._rendered: dict[str, Any] | None = None

    def load(self, document: Any) -> None:
        """Take what `consumerOffset.json` holds; an offset that the table has already is newer and stays.

        Raises:
            StoreError: the tables are too small, or the document is not what it must be.
        """
        if document is None:
            return
        with reading(DocumentName.CONSUMER_OFFSETS):
            read = as_object(document, "the document")
            self.version = data_version_of(read, "dataVersion")
            for key, queues in object_of(read, "offsetTable").items():
                self._restore(key, as_object(queues, key))
        self._rendered = self._render()

    def commit(self, group: str, slot: int, offset: int) -> None:
        """Commit an offset, the first or a later one.

        Raises:
            StoreError: the table is full.
        """
        tables = self._tables
        tables.offsets.add(tables.groups.add(group.encode()), slot, offset)

    def reset(self, group: str, slot: int, offset: int) -> None:
        """Have a group begin anew at an offset of a queue: its members are told at their next pull.

        Raises:
            StoreError: the table is full.
        """
        (row,) = self.make_rows(group, (slot,))
        self._tables.offsets.reset(row, offset)

    def end_reset(self, group: str, slot: int) -> None:
        """Have a reset of a group's offset be pending no longer: its members pop, and begin anew there already."""
        row = self._tables.offsets.row(self._tables.groups.find(group.encode()), slot)
        if row != NONE:
            self._tables.offsets.take_reset(row)

    def make_rows(self, group: str, slots: tuple[int, ...]) -> list[int]:
        """Have a row for a group in each of these queues, without an offset where it is new; return the rows.

        Raises:
            StoreError: the table is full.
        """
        tables = self._tables
        group_id = tables.groups.add(group.encode())
        found = ((slot, tables.offsets.row(group_id, slot)) for slot in slots)
        return [tables.offsets.add(group_id, slot, NONE) if row == NONE else row for slot, row in found]

    def query(self, group: str, topic: str, queue_id: int) -> int:
        """Return a committed offset, or NONE."""
        group_id = self._tables.groups.find(group.encode())
        topic_id = self._tables.topics.find(topic.encode())
        if NONE in (group_id, topic_id):
            return NONE
        slot = self._tables.queues.find(topic_id, queue_id)
        row = NONE if slot == NONE else self._tables.offsets.row(group_id, slot)
        return NONE if row == NONE else self._tables.offsets.load(row)

    def forget_topic(self, topic: str) -> None:
        """Forget the offsets of every group in a topic."""
        topic_id = self._tables.topics.find(topic.encode())
        for group_id, slot, _ in self._tables.offsets:
            if self._tables.queues.topic_and_queue(slot)[0] == topic_id:
                self._forget(group_id, slot)

    def forget_group(self, group: str) -> None:
        """Forget the offsets of a group in every topic."""
        wanted = self._tables.groups.find(group.encode())
        for group_id, slot, _ in self._tables.offsets:
            if group_id == wanted:
                self._forget(group_id, slot)

    def groups_of(self, topic: str) -> set[str]:
        """Return the groups that have committed an offset in a topic."""
        return {each.group for each in self if each.topic == topic}

    def topics_of(self, group: str) -> set[str]:
        """Return the topics in which a group has committed an offset."""
        return {each.topic for each in self if each.group == group}

    def __iter__(self) -> Iterator[CommittedOffset]:
        """Every committed offset."""
        tables = self._tables
        topics: dict[int, str] = {}
        groups: dict[int, str] = {}
        for group_id, slot, offset in tables.offsets:
            if offset == NONE:
                continue
            topic_id, queue_id = tables.queues.topic_and_queue(slot)
            if topic_id not in topics:
                topics[topic_id] = tables.topics.name(topic_id).decode()
            if group_id not in groups:
                groups[group_id] = tables.groups.name(group_id).decode()
            yield CommittedOffset(groups[group_id], topics[topic_id], queue_id, offset)

    def to_json(self, now_ms: int) -> dict[str, Any]:
        """Return the content of `consumerOffset.json`."""
        table = self._render()
        if table != self._rendered:
            self.version = self.version.next(now_ms)
            self._rendered = table
        topics_by_group: dict[str, list[str]] = {}
        for key in table:
            topic, separator, group = key.partition(SEPARATOR)
            if separator and SEPARATOR not in group:
                topics_by_group.setdefault(group, []).append(topic)
        return {
            "dataVersion": self.version.to_json(),
            "groupTopicMap": topics_by_group,
            "offsetTable": table,
        }

    def _render(self) -> dict[str, Any]:
        table = dict(self._foreign)
        for each in self:
            queues = table.setdefault(f"{each.topic}{SEPARATOR}{each.group}", {})
            queues[str(each.queue_id)] = each.offset
        return table

    def _restore(self, key: str, queues: dict[str, Any]) -> None:
        parts = key.split(SEPARATOR)
        if len(parts) != 2 or not all(parts):
            self._foreign[key] = queues
            return
        tables = self._tables
        topic_id = tables.topics.add(parts[0].encode())
        group_id = tables.groups.add(parts[1].encode())
        for queue_id, offset in queues.items():
            slot = tables.queues.add(topic_id, int(queue_id))
            row = tables.offsets.row(group_id, slot)
            if row == NONE or tables.offsets.load(row) == NONE:
                tables.offsets.add(group_id, slot, as_integer(offset, key))

    def _forget(self, group_id: int, slot: int) -> None:
        self._tables.offsets.forget(self._tables.offsets.row(group_id, slot))
