"""LocalConsumer: reads a topic of a broker of this host straight from its mapped files.

    with LocalConsumer("broker-a", "billing", "orders") as consumer:
        batch = consumer.poll(1000, timeout=1.0)
        for body in batch.bodies():
            ...
        consumer.commit()

No process of the broker takes part in a read. The committed offsets are the group's: network consumers of the
group go on where `commit` left off, and the reverse. A local consumer takes the queues it is told to; it does
not share them out with other members of the group as network consumers do.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, Self

import numpy as np

from shmq.broker.filters import parse_tags
from shmq.broker.questions import ask_group_view, ask_topic_view
from shmq.errors import RefusedError
from shmq.jit import Words, compile_now
from shmq.local.batch import Batch
from shmq.local.gather import ROW, TAG_WORDS, Part, first_file, gather
from shmq.local.session import Session
from shmq.local.waiting import Wait
from shmq.memory.block import address_of
from shmq.memory.words import load_word
from shmq.ring import doorbell
from shmq.shared import gates
from shmq.store.log import LogReader
from shmq.store.position import NONE
from shmq.store.read import QueueReader
from shmq.store.store_files import StorePaths, StoreSizes
from shmq.wire.codes import ResponseCode
from shmq.wire.flags import PERM_READ
from shmq.wire.heartbeat_bodies import tag_hash

From = Literal["committed", "earliest", "latest"]

_ALL_TAGS: Final = "*"


class LocalConsumer:
    """Reads queues of one topic for one group.

    Attributes:
        session: the session that it waits by.
        queues: the ids of its queues.
    """

    def __init__(  # noqa: PLR0913 - what a consumer may be told
        self,
        broker: str | Session,
        group: str,
        topic: str,
        *,
        queues: Sequence[int] | None = None,
        tags: str = _ALL_TAGS,
        from_: From = "committed",
        wait: str = Wait.FUTEX,
        reattach: bool = True,
    ) -> None:
        """Attach, and have a place for the group's offsets.

        Args:
            broker: its name, or a session of this thread to share.
            group: the consumer group, made if the broker makes groups by itself.
            topic: what to read; it must exist.
            queues: the ids of the queues; None: all.
            tags: `*`, or tags such as `A || B`.
            from_: where to begin: at the group's committed offset, and where it has none at the earliest message;
                at the earliest message; or behind the latest.
            wait: how to wait: spin, yield, sleep or futex.
            reattach: whether to go on by itself when the broker was restarted.
        """
        self.queues: Sequence[int] = ()
        self._group = group
        self._topic = topic
        self._wanted = queues
        self._tags, self._kept_tags = _tag_words(tags)
        self._offsets: dict[int, int] = {}
        self._first = 0
        self._owns_session = not isinstance(broker, Session)
        if isinstance(broker, Session):
            self.session = broker
        else:
            self.session = Session(broker, wait=wait, reattach=reattach, what=f"consumer of {topic}")
        self._life = 0
        self._reader: QueueReader
        try:
            compile_now(gather, first_file)
            self._attach()
            self._begin_at(from_)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def poll(self, max_messages: int = 1024, timeout: float | None = 0.0) -> Batch:
        """The next messages, waiting for the first of them; an empty batch where the time is over.

        Args:
            max_messages: how many at most.
            timeout: seconds; None: for ever.
        """
        session = self.session
        session.ready()
        if self._life != session.lives:
            self._attach()
        batch = self._read(max_messages)
        if len(batch) == 0 and timeout != 0:
            found = [batch]

            def look() -> bool:
                if not self._has_news():
                    return False
                found[0] = self._read(max_messages)
                return len(found[0]) > 0

            session.wait(look, timeout, doorbell.DISPATCHED)
            batch = found[0]
        return batch

    def position(self, queue_id: int) -> int:
        """The queue offset that is read next."""
        return self._offsets[queue_id]

    def seek(self, queue_id: int, queue_offset: int) -> None:
        """Read on from another place; one beyond the queue's ends is moved to the nearer of them."""
        self._offsets[queue_id] = queue_offset

    def committed(self, queue_id: int) -> int | None:
        """How far the group has consumed a queue; None where it never said."""
        offset = self.session.attachment.memory.offsets.load(self._rows[queue_id])
        return None if offset == NONE else offset

    def commit(self) -> None:
        """Let the group go on behind everything that was polled.

        Where an administrator has reset the group's offset meanwhile, that goes first: the queue is read from there.
        """
        self.session.ready()
        if self._life != self.session.lives:
            self._attach()
        offsets = self.session.attachment.memory.offsets
        for queue_id in self.queues:
            reset = offsets.take_reset(self._rows[queue_id])
            if reset == NONE:
                offsets.store(self._rows[queue_id], self._offsets[queue_id])
            else:
                self._offsets[queue_id] = reset

    def close(self) -> None:
        """Let go of the files, and of a session of its own; nothing is committed by it. Twice is once."""
        if self._life:
            self._reader.close()
            self._life = 0
        if self._owns_session:
            self.session.close()

    def _attach(self) -> None:
        """Learn what this life of the broker calls things, and where its files are."""
        session = self.session
        view, _ = session.ask(ask_topic_view(self._topic, 0, make=False))
        if not view["permission"] & PERM_READ:
            raise RefusedError(ResponseCode.NO_PERMISSION, f"the topic {self._topic!r} may not be read")
        self.queues = tuple(range(view["read"])) if self._wanted is None else self._wanted
        if any(not 0 <= each < view["read"] for each in self.queues):
            raise RefusedError(
                ResponseCode.INVALID_PARAMETER, f"the topic {self._topic!r} has {view['read']} queues to read"
            )
        self._slots: list[int] = view["slots"]
        answer, _ = session.ask(ask_group_view(self._group, self._topic))
        self._rows: list[int] = answer["rows"]
        terms = session.attachment.terms
        if self._life:
            self._reader.close()
        paths = StorePaths(Path(terms.store_root), Path(terms.commit_log_directory))
        sizes = StoreSizes(terms.commit_log_file_bytes, terms.consume_queue_file_bytes)
        log = LogReader(paths.commitlog, terms.commit_log_file_bytes)
        self._reader = QueueReader(paths.consumequeue, sizes, session.attachment.memory.queues, log)
        self._file_bytes = terms.commit_log_file_bytes
        self._cleanups_at = session.attachment.memory.place("gates") + gates.CLEANUPS
        self._cleanups = load_word(self._cleanups_at)
        self._life = session.lives

    def _begin_at(self, from_: From) -> None:
        for queue_id in self.queues:
            self._offsets[queue_id] = self._begin(queue_id, from_)

    def _begin(self, queue_id: int, from_: From) -> int:
        min_offset, max_offset = self._reader.bounds(self._slots[queue_id])
        if from_ == "committed":
            self.session.attachment.memory.offsets.take_reset(self._rows[queue_id])
            committed = self.committed(queue_id)
            if committed is not None:
                return committed
        return max_offset if from_ == "latest" else min_offset

    def _has_news(self) -> bool:
        bounds, slots = self._reader.bounds, self._slots
        return any(bounds(slots[each])[1] != self._offsets[each] for each in self.queues)

    def _read(self, max_messages: int) -> Batch:
        """Gather from each queue in turn what there is, up to a number."""
        rows = np.empty(max_messages, dtype=ROW)
        files: dict[int, memoryview] = {}
        made = 0
        count = len(self.queues)
        for turn in range(count):
            if made == max_messages:
                break
            queue_id = self.queues[(self._first + turn) % count]
            made += self._read_queue(queue_id, rows[made:], files)
        self._first = (self._first + 1) % max(count, 1)
        return Batch(self._topic, rows[:made], files, self._file_bytes)

    def _read_queue(self, queue_id: int, rows: Any, files: dict[int, memoryview]) -> int:
        """Gather from one queue; return how many rows were made."""
        slot = self._slots[queue_id]
        min_offset, max_offset = self._reader.bounds(slot)
        self._let_go()  # behind the bounds: what they show is not in a file that was removed
        offset = min(max(self._offsets[queue_id], min_offset), max_offset)
        made = 0
        while offset < max_offset and made < len(rows):
            entries = self._reader.entries_at(slot, (self._topic.encode(), queue_id), offset)
            count = self._reader.entries_until(offset, max_offset)
            if entries == NONE:  # the file is gone: retention took it
                offset += count
                continue
            taken, found = self._gather(entries, offset, count, rows[made:], files)
            offset += taken
            made += found
        self._offsets[queue_id] = offset
        return made

    def _let_go(self) -> None:
        """Unmap what retention has removed since the last look."""
        cleanups = load_word(self._cleanups_at)
        if cleanups != self._cleanups:
            self._cleanups = cleanups
            self._reader.forget_below(self.session.attachment.memory.watermarks.trimmed)

    def _gather(
        self, entries: int, offset: int, count: int, rows: Any, files: dict[int, memoryview]
    ) -> tuple[int, int]:
        """Rows of one stretch of entries whose records lie in one file of the log: (entries taken, rows made)."""
        start = first_file(entries, count, self._file_bytes)
        if start == NONE:
            return count, 0
        if start not in files:
            whole = self._reader.log.slice(start, self._file_bytes)
            if whole is None:
                return 1, 0  # the message is gone
            files[start] = whole
        log_address, _ = self._reader.log.address_of(start)
        if log_address == NONE:
            return 1, 0  # it went with retention since another queue was looked at
        part = Part(
            entries=entries,
            offset=offset,
            entry_count=count,
            rows=address_of(rows),
            rows_max=len(rows),
            log_start=start,
            log_address=log_address,
            log_bytes=self._file_bytes,
            tags=address_of(self._tags),
            tag_count=len(self._tags) // TAG_WORDS,
        )
        return gather(part)


def _tag_words(tags: str) -> tuple[Words, Any]:
    """The tags that an expression means as the kernel wants them, and what keeps their texts alive."""
    if parse_tags(tags) is None:
        return np.zeros(0, dtype=np.int64), None
    names = [name for each in tags.split("||") if (name := each.strip())]
    texts = [np.frombuffer(name.encode(), dtype=np.uint8) for name in names]
    pairs = zip(names, texts, strict=True)
    words = [word for name, text in pairs for word in (tag_hash(name), address_of(text), len(text))]
    return np.array(words, dtype=np.int64), texts
