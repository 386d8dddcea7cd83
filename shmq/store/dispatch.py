"""Kernel: walk new records of the log, and give each its entry in its queue.

Records go strictly in the order of the log. One gets an entry unless it is prepared or rolled back, or its queue
has it already: the record ends at or before the queue's `end_position`, or its queue offset lies below the
queue's `max`. So any range may be dispatched again, after a crash for instance. An offset beyond `max` leaves a
gap, which is filled with blanks: an entry is never written to another's place.

For each record: the entry, then `max` (released), then `end_position`. Where a queue, its file or a reserved
block is missing the kernel comes back, Python provides it, and the kernel goes on with that very record.

Where queues have extensions (`extending.py`) the kernel reads some records ahead, Python writes their units, and the
kernel makes their entries of that: slower, and as RocketMQ does it.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np

from shmq.jit import Words
from shmq.memory.block import address_of, view
from shmq.memory.endian import load_i32
from shmq.memory.words import load_word, store_word
from shmq.store import record
from shmq.store.dispatch_walk import (
    AHEAD,
    AHEAD_EXTENDED,
    DONE,
    END_OF_FILE,
    FOUND,
    FOUND_LAYOUT,
    INVALID,
    KEYED_END,
    MOVED,
    NEEDS_QUEUE,
    NEEDS_WINDOW,
    NOTE_WORDS,
    REACHED,
    RECORDS,
    SCHEDULED,
    SLOT,
    STORE_MS,
    TAG_HASH,
    Places,
    begin_step,
    enter_found,
    is_cut_off,
    read_ahead,
    walk,
)
from shmq.store.extending import Extending
from shmq.store.extension_files import ExtensionFiles
from shmq.store.log import LogReader
from shmq.store.name_table import NameTable
from shmq.store.position import NONE
from shmq.store.queue_directory import queue_path
from shmq.store.queue_entry import QueueEntry
from shmq.store.queue_files import QueueFiles
from shmq.store.queue_table import QueueTable, max_address, min_address

SCHEDULE_TOPIC: Final = b"SCHEDULE_TOPIC_XXXX"
"""Its entries hold the time of delivery where others hold the tag's hash."""

TIMER_TOPIC: Final = b"rmq_sys_wheel_timer"
"""Its messages wait too, in the timer wheel; their entries are as others are."""


class DispatchResult(NamedTuple):
    """What one step did.

    Attributes:
        reached: where the next step begins.
        records: how many records were walked.
        store_ms: the store time of the last of them; NONE without one.
        moved: the slots of queues that have new entries.
        blanks: how many offsets were found never to have had a message.
        is_scheduled: whether any of the records waits for the time of its delivery.
        problem: why the step cannot go on, if it cannot; such a log was not written by our writer.
    """

    reached: int
    records: int
    store_ms: int
    moved: list[int]
    blanks: int
    is_scheduled: bool
    problem: str


class Dispatch:
    """The dispatcher's work without its waiting.

    Attributes:
        extending: writes the extensions of queues, where they have any.
    """

    def __init__(
        self,
        topics: NameTable,
        queues: QueueTable,
        log: LogReader,
        files: QueueFiles,
        delay_levels_ms: Sequence[int],
        add_queue: Callable[[bytes, int], int] | None = None,
    ) -> None:
        """Take up the queues as the tables have them.

        Args:
            topics: the names.
            queues: the queues; `max` and `end_position` are written here.
            log: where records are read.
            files: where entries are written.
            delay_levels_ms: the delay of level 1 and so on.
            add_queue: makes the slot of a queue that the log names and the tables do not know; without it that
                is a problem.
        """
        self._topics = topics
        self._queues = queues
        self._log = log
        self._files = files
        self._add_queue = add_queue
        self._note: Words = np.zeros(NOTE_WORDS, dtype=np.int64)
        self._found: Words = np.zeros(AHEAD * FOUND_LAYOUT.itemsize // 8, dtype=np.int64)
        self._moved: Words = np.zeros(queues.capacity, dtype=np.int64)
        self._delays: Words = np.array(delay_levels_ms, dtype=np.int64)
        self._blanks = 0
        self.extending: Extending | None = None
        self._fixed = Places(
            topics=topics.address,
            queues=queues.address,
            windows=address_of(files.windows),
            moved=address_of(self._moved),
            found=address_of(self._found),
            delays=address_of(self._delays),
            delay_count=len(self._delays),
            schedule_topic=NONE,
            timer_topic=NONE,
            note=address_of(self._note),
        )

    def step(self, begin: int, confirmed: int, bytes_max: int) -> DispatchResult:
        """Dispatch records from a position on, none that is not confirmed, and begin none after so many bytes.

        Raises:
            StoreError: a queue file cannot be written, or a topic can be no directory.
        """
        self._blanks = 0
        places = self.places()
        begin_step(places.note, begin)
        problem = ""
        position = begin
        end = min(begin + bytes_max, confirmed)
        while position < end and not problem:
            address, file_left_bytes = self._log.address_of(position)
            if address == NONE:
                problem = f"the log has no file for position {position}"
                break
            readable_bytes = min(file_left_bytes, confirmed - position)
            status = self._walk(places, address, position, readable_bytes, end - position)
            walked_bytes = int(self._note[REACHED // 8]) - position
            position += walked_bytes
            file_left_bytes -= walked_bytes
            if status == END_OF_FILE:
                if position + file_left_bytes > confirmed:
                    break
                position += file_left_bytes
            elif status == INVALID:
                if is_cut_off(address + walked_bytes, readable_bytes - walked_bytes, file_left_bytes):
                    break  # more of it will be confirmed
                problem = f"what lies at position {position} of the log is no record"
            elif status == NEEDS_QUEUE:
                problem = self._make_queue(address + walked_bytes, position)
                places = self.places()
            elif status == NEEDS_WINDOW:
                self._open_window(position)
        return self._result(position, problem)

    def keep_extensions(self, files: ExtensionFiles) -> Extending:
        """Have each record that gets an entry get a unit of an extension too."""
        self._found = np.zeros(AHEAD_EXTENDED * FOUND_LAYOUT.itemsize // 8, dtype=np.int64)
        self._fixed = self._fixed._replace(found=address_of(self._found))
        found = self._found.view(FOUND_LAYOUT)
        self.extending = Extending(found, self._queues, self._topics, self._log, files)
        return self.extending

    @property
    def keyed_end(self) -> int:
        """Behind the last record with keys, of those that were walked; whoever follows reads its watermark first."""
        return load_word(self._fixed.note + KEYED_END)

    def begin_keyed(self, position: int) -> None:
        """Take everything below a position, which others have walked, for what may have keys."""
        store_word(self._fixed.note + KEYED_END, position)

    def places(self) -> Places:
        """Where everything lies; nothing of it moves, but the topics of what waits may yet be made."""
        if self._fixed.schedule_topic == NONE:
            self._fixed = self._fixed._replace(schedule_topic=self._topics.find(SCHEDULE_TOPIC))
        if self._fixed.timer_topic == NONE:
            self._fixed = self._fixed._replace(timer_topic=self._topics.find(TIMER_TOPIC))
        return self._fixed

    def _walk(
        self, places: Places, address: int, position: int, readable_bytes: int, budget_bytes: int
    ) -> int:
        """As `walk`; with extensions only some records at a time."""
        if self.extending is None:
            return walk(places, address, position, readable_bytes, budget_bytes)
        status = read_ahead(places, address, readable_bytes, budget_bytes)
        self.extending.extend(int(self._note[FOUND // 8]), address, position)
        entered = enter_found(places, address, position)
        self.extending.entered(int(self._note[REACHED // 8]))
        return status if entered == DONE else entered

    def _result(self, reached: int, problem: str) -> DispatchResult:
        note = self._note
        moved = self._moved[: note[MOVED // 8]].tolist()
        return DispatchResult(
            reached,
            int(note[RECORDS // 8]),
            int(note[STORE_MS // 8]),
            moved,
            self._blanks,
            bool(note[SCHEDULED // 8]),
            problem,
        )

    def _make_queue(self, message: int, position: int) -> str:
        """Have the queue of an unknown one's record added; or say what is wrong with that."""
        topic_at, topic_bytes = record.topic_at(message)
        topic = view(message + topic_at, topic_bytes).tobytes()
        queue_id = load_i32(message + record.QUEUE_ID)
        if self._add_queue is None or queue_id < 0 or not topic:
            return f"the record at position {position} is for an unknown queue, {topic!r} {queue_id}"
        queue_path(self._files.root, topic, queue_id)
        slot = self._add_queue(topic, queue_id)
        assert slot == self._queues.find(self._topics.find(topic), queue_id), "the queue was not added"
        return ""

    def _open_window(self, position: int) -> None:
        """Make room for the entry that the kernel could not write, blanks before it included."""
        slot, offset, record_size, tag_hash = (
            int(word) for word in self._note[SLOT // 8 : TAG_HASH // 8 + 1]
        )
        topic_id, queue_id = self._queues.topic_and_queue(slot)
        queue = (self._topics.name(topic_id), queue_id)
        current = int(self._queues.max[slot])
        if offset > current:
            self._files.fill_gap(slot, queue, current, offset)
            self._blanks += offset - current
            store_word(max_address(self._queues.address, slot), offset)
        is_first_file = self._files.open(slot, queue, offset, QueueEntry(position, record_size, tag_hash))
        if is_first_file and offset > 0:
            store_word(min_address(self._queues.address, slot), offset)
