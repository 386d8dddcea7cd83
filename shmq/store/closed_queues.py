"""What every queue is for the close mark, and whether all still are it, looking at no more than the end of each.

The files of a closed store may have been changed since: another broker went on with them, files were lost, put back
from a copy, or removed. So each queue must have its last entry where the mark says, none behind it, and no file beside
those that this takes; and no queue may be there that the mark does not know. Then each queue reaches as far as it did,
and what the log gained since lies behind the last record that any queue knows.
"""

import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from shmq.errors import StoreError
from shmq.store.close_mark import ClosedQueue, CloseMark
from shmq.store.name_table import NameTable
from shmq.store.position import NONE
from shmq.store.queue_directory import queue_path
from shmq.store.queue_entry import SIZE, is_message
from shmq.store.queue_table import QueueTable
from shmq.store.segment import file_name

FilesByQueue: TypeAlias = Mapping[tuple[bytes, int], Sequence[int]]
"""By topic and queue id, where the files of a queue begin; queues without a file may be left out."""

_ENTRY: Final = struct.Struct(">qiq")


def closed_queues(topics: NameTable, queues: QueueTable, root: Path) -> list[ClosedQueue]:
    """What every queue is that has entries below the directory of all queues, for the close mark."""
    names: dict[int, bytes] = {}
    found: list[ClosedQueue] = []
    for slot in queues.max[: queues.count].nonzero()[0]:
        topic_id, queue_id = queues.topic_and_queue(int(slot))
        if topic_id not in names:
            names[topic_id] = topics.name(topic_id)
        if not queue_path(root, names[topic_id], queue_id).exists():
            continue  # its topic was deleted
        numbers = (int(column[slot]) for column in (queues.max, queues.min, queues.end_position))
        found.append(ClosedQueue(names[topic_id], queue_id, *numbers))
    return found


def last_record(mark: CloseMark, files: FilesByQueue, root: Path, file_bytes: int) -> int:
    """The position of the last record that a queue knows, if all queues are as the mark says; else NONE.

    Args:
        mark: what they were.
        files: what is there.
        root: the directory of all queues.
        file_bytes: the size of their files.
    """
    there = {queue for queue, starts in files.items() if starts}
    if there != {(queue.topic, queue.queue_id) for queue in mark.queues}:
        return NONE
    last = NONE
    for queue in mark.queues:
        position = _last_record(queue, files[queue.topic, queue.queue_id], root, file_bytes)
        if position == NONE:
            return NONE
        last = max(last, position)
    return last


def falls_short(mark: CloseMark, topics: NameTable, queues: QueueTable) -> bool:
    """Whether any queue that was loaded reaches less far than the mark says."""
    for each in mark.queues:
        slot = queues.find(topics.find(each.topic), each.queue_id)
        if slot == NONE or queues.max[slot] < each.max_offset:
            return True
    return False


def _last_record(queue: ClosedQueue, starts: Sequence[int], root: Path, file_bytes: int) -> int:
    """Where the record of its last entry begins, if the queue is as it was; else NONE."""
    end_bytes = queue.max_offset * SIZE
    start = (end_bytes - SIZE) // file_bytes * file_bytes
    if queue.max_offset < 1 or starts[-1] != start or starts[0] > queue.min_offset * SIZE:
        return NONE
    path = f"{root}/{os.fsdecode(queue.topic)}/{queue.queue_id}/{file_name(start)}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            content = os.pread(descriptor, 2 * SIZE, end_bytes - SIZE - start)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    position, size_bytes, _ = _ENTRY.unpack_from(content)
    is_as_it_was = is_message(size_bytes) and position + size_bytes == queue.end_position
    return position if is_as_it_was and not any(content[SIZE:]) else NONE
