"""What files a store has, and whether anybody could begin with them. Nothing is changed here.

Whoever opens a store looks first: what no broker can use is refused before anything is written, and the message says
which path it is about and what to do. What can be put right is left to recovery.
"""

from contextlib import closing
from dataclasses import dataclass

from shmq.errors import StoreError
from shmq.store.log import LogDirectory
from shmq.store.log_scan import verify_at
from shmq.store.queue_directory import list_queues, queue_path
from shmq.store.record import BLANK
from shmq.store.segment import Sequence, list_sequence
from shmq.store.store_files import StorePaths, StoreSizes


@dataclass(frozen=True, slots=True)
class Survey:
    """What there is.

    Attributes:
        log: the files of the log.
        queues: the files of each queue, by topic and queue id.
    """

    log: Sequence
    queues: dict[tuple[bytes, int], Sequence]


def survey(paths: StorePaths, sizes: StoreSizes) -> Survey:
    """Look at all of a store's files.

    Raises:
        StoreError: a file is foreign, missing or of another size, is not to be read, or the log has no beginning.
    """
    log = LogDirectory(paths.commitlog, sizes.commit_log_file_bytes)
    files = log.sequence()
    root = paths.consumequeue
    queues = {
        queue: list_sequence(queue_path(root, *queue), sizes.consume_queue_file_bytes)
        for queue in list_queues(root)
    }
    _refuse_a_log_without_beginning(log, files.starts)
    return Survey(files, queues)


def refuse_more_than(topics_max: int, queues_max: int, found: Survey) -> None:
    """Refuse a store with more topics or queues than the broker's tables have room for.

    Raises:
        StoreError: it has; the message says which setting to raise.
    """
    topics = len({topic for topic, _ in found.queues})
    if topics > topics_max:
        raise StoreError(f"the store has {topics} topics where {topics_max} have room: raise topics_max")
    if len(found.queues) > queues_max:
        raise StoreError(
            f"the store has {len(found.queues)} queues where {queues_max} have room: raise queue_slots_max"
        )


def _refuse_a_log_without_beginning(log: LogDirectory, starts: list[int]) -> None:
    """A walk would end in its first file, and everything behind would be given up."""
    if len(starts) > 1 and not _begins_with_record(log, starts[0]):
        later = next((start for start in starts[1:] if _begins_with_record(log, start)), None)
        if later is not None:
            raise StoreError(
                f"{log.file(starts[0])} does not begin with a record, though {log.file(later)} does: put it back from "
                "a copy, or move away all files before the latter, which gives up what they hold"
            )


def _begins_with_record(log: LogDirectory, start: int) -> bool:
    """Whether a file begins with the head of a record of its own; the body may be spoiled."""
    with closing(log.open(start, writable=False)) as segment:
        size = verify_at(segment.address, segment.size_bytes, start, check_crc=False)
    return size > 0 or size == BLANK
