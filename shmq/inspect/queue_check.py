"""Check the queues' files after the log was walked: what is in them beside the entries of the records that it has.

Of every queue the walk left where its first record is, and behind its last: the entries in between it has looked at.
Before them may be blanks, and entries of records that are gone; behind them nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from shmq.inspect.damage import Damage
from shmq.inspect.finding import Finding, FindingKind, Mending
from shmq.inspect.log_walk import first_used
from shmq.inspect.queue_walk import Excuses, count_strays, count_until_zeros, find_stray
from shmq.inspect.queues import Queues, open_segment
from shmq.inspect.sequences import SequenceFile, check_sequence, list_sequence
from shmq.memory.endian import load_i64
from shmq.store.position import NONE
from shmq.store.queue_directory import is_queue_id
from shmq.store.queue_entry import POSITION, SIZE, decode, is_message


@dataclass(frozen=True, slots=True)
class LogFacts:
    """What the queues are held against: where the log begins and ends, and where it cannot be read."""

    begin: int
    end: int
    damage: Damage


class QueueCheck:
    """The files of all queues."""

    def __init__(self, root: Path, file_bytes: int, queues: Queues, log: LogFacts, mending: Mending) -> None:
        self._root = root
        self._file_bytes = file_bytes
        self._queues = queues
        self._log = log
        self._mending = mending

    def run(self, progress: Callable[[int], None]) -> Iterator[Finding]:
        """Look at all queues.

        Args:
            progress: told how many bytes were looked at.
        """
        yield from self._check_folders()
        for slot in range(len(self._queues.names)):
            directory = self._queues.directory(slot)
            yield from check_sequence(
                directory, self._file_bytes, is_log=False, is_clean=self._mending.is_clean
            )
            files = list_sequence(directory, self._file_bytes)
            yield from self._check_queue(slot, files)
            progress(len(files) * self._file_bytes)

    def _check_folders(self) -> Iterator[Finding]:
        """What lies beside the queues' directories."""
        if not self._root.is_dir():
            return
        for topic in sorted(self._root.iterdir()):
            if not topic.is_dir():
                yield _foreign(topic, "only directories of topics lie here")
                continue
            for queue in sorted(topic.iterdir()):
                if not (queue.is_dir() and is_queue_id(queue.name)):
                    yield _foreign(queue, "only directories of queues lie here, named by their numbers")

    def _check_queue(self, slot: int, files: list[SequenceFile]) -> Iterator[Finding]:
        line = self._queues.lines[slot]
        begin, end = int(line["begin"]), int(line["next"])
        for number, file in enumerate(files):
            with closing(open_segment(file.path, file.start)) as segment:
                first = file.start // SIZE
                count = min(file.size_bytes, self._file_bytes) // SIZE
                used = count_until_zeros(segment.address, count)
                if used == 0 and number == len(files) - 1:
                    text = "it is the last of its queue and has no entry: RocketMQ would count one"
                    pending = not self._mending.is_clean
                    yield Finding(FindingKind.FILE_EMPTY, str(file.path), 0, NONE, text, pending)
                if number < len(files) - 1:
                    used = count
                if begin == NONE:
                    yield from self._check_part(slot, file, segment.address, 0, used)
                    continue
                yield from self._check_part(slot, file, segment.address, 0, min(begin - first, used))
                behind = max(end - first, 0)
                if behind < used:
                    behind += first_used(segment.address + behind * SIZE, (used - behind) * SIZE) // SIZE
                yield from self._check_part(slot, file, segment.address, behind, used)

    def _check_part(
        self, slot: int, file: SequenceFile, address: int, begin: int, end: int
    ) -> Iterator[Finding]:
        """Entries that the log has no record for, from one index up to another."""
        damage = self._log.damage
        line = self._queues.lines[slot]
        is_before = file.start // SIZE + begin < int(line["next"]) or int(line["next"]) == NONE
        excuses = Excuses(self._log.begin, damage.address, damage.count, int(is_before))
        found = find_stray(address, begin, end, excuses)
        if found == NONE:
            return
        count = count_strays(address, found, end, excuses)
        unit = address + found * SIZE
        entry = decode(unit)
        offset = file.start // SIZE + found
        name = f"queue offset {offset} of {self._queues.names[slot]}"
        more = f", and {count - 1} behind it" if count > 1 else ""
        if is_message(entry.record_size):
            position = load_i64(unit + POSITION)
            text = f"{name} is said to be at {position}, where the log has no record of it{more}"
            if position >= self._log.end:
                text = f"{name} is said to be at {position}, behind the log's end, {self._log.end}{more}"
        else:
            position = NONE
            text = f"{name} is no entry, and no blank{more}"
        is_pending = self._mends(position)
        yield Finding(FindingKind.ENTRY_STRAY, str(file.path), found * SIZE, position, text, is_pending)

    def _mends(self, position: int) -> bool:
        """Whether recovery drops an entry: behind what it takes for the log's end, or where it walks, it does."""
        return position != NONE and self._mending.mends(position)


def _foreign(path: Path, text: str) -> Finding:
    return Finding(FindingKind.FILE_FOREIGN, str(path), 0, NONE, text)
