"""The commit writer: the one process that appends to the log.

Each round takes a batch from each sender's ring, in turn, through one kernel, and wakes whom it concerns:
the dispatcher, that sender, and under SYNC_FLUSH the flush thread, which runs in this process. When a file
is full, the next one has been made ready by the flush thread; where the disk has no room for it, or a sync
failed, submissions are refused with SERVICE_NOT_AVAILABLE and nothing is appended.

Producers in other processes come and go (`shared/local_sessions.py`): which of their rings are polled is looked
up again when one word says so. Of one that is gone all that it published is committed; nobody waits for one.

Killed anywhere, its successor first answers the batch that may have been committed and not answered, clears
what lies behind `appended`, and derives each queue's next offset again from the dispatched queues and the
part of the log behind `dispatched`.
"""

from typing import Final

from shmq import logs
from shmq.config.settings import Config
from shmq.errors import StoreError
from shmq.jit import kernel
from shmq.memory.atomics import load_relaxed, store_relaxed
from shmq.memory.block import zero
from shmq.memory.endian import load_i32, load_i64
from shmq.memory.words import load_word
from shmq.ring import doorbell, spsc
from shmq.shared import commit, header, plan
from shmq.shared.broker_memory import BrokerMemory
from shmq.shared.local_sessions import ATTACHED, LEAVING, Polled
from shmq.store import record
from shmq.store.log import LogDirectory
from shmq.store.name_table import find_name
from shmq.store.queue_table import find_queue, next_address
from shmq.store.segment import Segment
from shmq.store.store_files import StorePaths
from shmq.workers.flusher import Flusher
from shmq.workers.runner import row_alive, wall_ms

BATCH_BYTES_MAX: Final = 4 * 1024 * 1024
RETRY_MS: Final = 500
SERVICE_NOT_AVAILABLE: Final = 2
"""PutStatus.SERVICE_NOT_AVAILABLE, as it crosses the completion ring."""


class CommitWriter:
    """The writer's role (see `workers/role.py`)."""

    def __init__(self, config: Config, memory: BrokerMemory, paths: StorePaths) -> None:
        self._config = config
        self._memory = memory
        self._log = logs.get("writer")
        self._directory = LogDirectory(paths.commitlog, config.commit_log_file_bytes)
        self._flusher = Flusher(config, memory, paths, self._directory)
        self._is_sync = config.flush_disk_type == "SYNC_FLUSH"
        self._bell = memory.bell(plan.BELL_WRITER)
        self._dispatcher_bell = memory.bell(plan.BELL_DISPATCHER)
        senders = range(memory.plan.senders)
        self._rings = [memory.place(f"submit/{sender}") for sender in senders]
        self._completions = [memory.place(f"completions/{sender}") for sender in senders]
        self._sender_bells = [
            memory.bell(plan.BELL_FIRST_WORKER + worker) for worker in range(memory.plan.workers)
        ] + [memory.bell(plan.BELL_CONDUCTOR)]
        self._inner_senders = memory.plan.inner_senders
        self._sessions = Polled(memory.sessions)
        self._polled = list(range(self._inner_senders))
        self._leaving: frozenset[int] = frozenset()
        self._committed = 0
        self._refusing = ""
        self._retry_at_ms = 0
        self._is_stopping = False

    def start(self) -> None:
        """Open the log where it ends, and finish what a dead predecessor began."""
        end = self._memory.watermarks.appended
        self._take_up(self._segment_for(end))
        self._resume()
        self._clear_behind(end)
        _derive_next(self._memory, self._directory)
        self._flusher.start(self._segment)

    @property
    def is_ready(self) -> bool:
        """Always, once started."""
        return True

    def do_work(self, now_ns: int) -> int:  # noqa: ARG002 - store times are wall clock
        """Commit a batch of each ring."""
        if not self._flusher.is_running:
            raise StoreError("the flush thread is gone")
        if self._sessions.has_changed:
            self._heed_sessions()
        now_ms = wall_ms()
        if self._flusher.failure or (self._refusing and now_ms < self._retry_at_ms):
            return self._refuse_all()
        committed = 0
        for sender in self._polled:
            ring = self._rings[sender]
            completions = self._completions[sender]
            outcome = commit.commit(self._places, sender, ring, completions, now_ms, BATCH_BYTES_MAX)
            if outcome == commit.IDLE:
                if (self._is_stopping or sender in self._leaving) and not spsc.is_empty(ring):
                    self._drop_answers_to_the_dead(sender)
                continue
            committed += 1
            self._ring(sender)
            if outcome == commit.NEEDS_FILE and not self._roll(now_ms):
                break
        if committed:
            doorbell.ring_bell(self._dispatcher_bell)
            if self._is_sync:
                self._flusher.wake()
        self._committed = committed
        return committed

    def rest(self, timeout_ns: int) -> None:
        """Sleep until somebody submits."""
        doorbell.will_sleep(self._bell)
        if self._sessions.has_changed:
            doorbell.is_awake(self._bell)
        elif all(spsc.is_empty(self._rings[sender]) for sender in self._polled):
            doorbell.sleep(self._bell, timeout_ns)
        else:
            # Something waits that cannot go on: room for answers, or for a file, is what it needs.
            doorbell.sleep(self._bell, min(timeout_ns, RETRY_MS * 1_000_000) if self._refusing else 1_000_000)

    def stop(self) -> None:
        """End once all senders of the broker are gone."""
        self._is_stopping = True

    @property
    def is_done(self) -> bool:
        """Whether nobody of the broker is left who could submit, and nothing is left to commit.

        Producers in other processes have seen that the broker stops. What they published before is taken, as far
        as they have room for the answers; nobody waits for them.
        """
        rows = self._memory.roster
        senders = [rows[plan.CONDUCTOR], *rows[plan.FIRST_WORKER :]]
        if any(map(row_alive, senders)):
            return False
        if not all(map(spsc.is_empty, self._rings[: self._inner_senders])):
            return False
        return self._committed == 0 or all(spsc.is_empty(self._rings[sender]) for sender in self._polled)

    def close(self) -> None:
        """Flush everything, and give back a file made ready that was not needed."""
        self._flusher.stop()
        self._segment.close()

    def _segment_for(self, position: int) -> Segment:
        """The file in which the log goes on from a position."""
        start = position - position % self._config.commit_log_file_bytes
        if self._directory.file(start).exists():
            return self._directory.open(start, writable=True)
        return self._directory.create(start)

    def _take_up(self, segment: Segment) -> None:
        self._segment = segment
        memory = self._memory
        self._places = commit.Places(
            page=memory.place("writer"),
            watermarks=memory.place("watermarks"),
            topics=memory.topic_names.address,
            queues=memory.queues.address,
            segment=segment.address,
            segment_start=segment.start,
            segment_bytes=segment.size_bytes,
        )

    def _roll(self, now_ms: int) -> bool:
        """Go on in the next file; False where there can be none now."""
        try:
            following = self._flusher.take_next(self._segment.end)
        except StoreError as error:
            if not self._refusing:
                self._log.error("refusing messages", reason=str(error))
            self._refusing = str(error)
            self._retry_at_ms = now_ms + RETRY_MS
            return False
        if self._refusing:
            self._log.warning("taking messages again")
            self._refusing = ""
        commit.close_file(self._places)
        self._flusher.retire(following)
        self._take_up(following)
        return True

    def _drop_answers_to_the_dead(self, sender: int) -> None:
        """Make room for answers that nobody will read: what their sender has submitted is stored all the same."""
        session = sender - self._inner_senders
        if session >= 0:
            sessions = self._memory.sessions
            if sessions.state(session) != ATTACHED or not sessions.is_owned(session):
                self._memory.renew_ring(f"completions/{sender}")
            return
        rows = self._memory.roster
        conductor = self._memory.plan.conductor_sender
        row = rows[plan.CONDUCTOR if sender == conductor else plan.FIRST_WORKER + sender]
        if not row_alive(row):
            self._memory.renew_ring(f"completions/{sender}")

    def _heed_sessions(self) -> None:
        """Poll the rings of those sessions that are attached now, and say so: the others may lose their memory."""
        self._sessions.refresh()
        first = self._inner_senders
        self._polled = [*range(first), *(first + session for session in self._sessions.sessions)]
        leaving = self._memory.sessions.in_state((LEAVING,))
        self._leaving = frozenset(first + session for session in leaving)
        self._memory.sessions.heed(self._sessions.changes)

    def _ring(self, sender: int) -> None:
        """Wake a sender, if it sleeps."""
        session = sender - self._inner_senders
        if session < 0:
            doorbell.ring_bell(self._sender_bells[sender])
        else:
            doorbell.ring_stranger(self._memory.sessions.bell(session))

    def _refuse_all(self) -> int:
        refused = 0
        for sender in self._polled:
            ring, completions = self._rings[sender], self._completions[sender]
            count = commit.refuse(self._places, sender, ring, completions, SERVICE_NOT_AVAILABLE)
            if count:
                self._ring(sender)
                refused += count
        self._committed = refused
        return refused

    def _resume(self) -> None:
        sender = commit.unfinished_ring(self._places.page, self._places.watermarks)
        if sender < 0:
            return
        self._log.warning("finishing the batch of a dead writer", sender=sender)
        before = load_word(self._places.page + commit.APPENDED_BEFORE)
        segment = self._segment_for(before)
        places = self._places._replace(
            segment=segment.address, segment_start=segment.start, segment_bytes=segment.size_bytes
        )
        while not commit.resume(places, self._rings[sender], self._completions[sender]):
            if self._memory.state == header.STOPPING or sender >= self._inner_senders:
                self._drop_answers_to_the_dead(sender)
            self._ring(sender)
            doorbell.will_sleep(self._bell)
            doorbell.sleep(self._bell, 1_000_000)
        self._ring(sender)
        if segment.start != self._segment.start:
            segment.close()

    def _clear_behind(self, end: int) -> None:
        """Zero what a dead writer had begun behind `appended`."""
        dirty_end = min(load_word(self._places.page + commit.DIRTY_END), self._segment.end)
        if dirty_end > end:
            self._log.warning("clearing what a dead writer had begun", begin=end, bytes=dirty_end - end)
            zero_range(self._segment.address + end - self._segment.start, dirty_end - end)


@kernel
def zero_range(address: int, size_bytes: int) -> None:
    """Set bytes of a mapped file to zero."""
    zero(address, size_bytes)


def _derive_next(memory: BrokerMemory, directory: LogDirectory) -> None:
    """Set each queue's next offset behind its last record in the log, dispatched or not."""
    begin = memory.watermarks.dispatched  # before `max` is read: what is below it is in `max`
    queues = memory.queues
    count = queues.count  # once: the conductor may be adding one, which begins at 0
    queues.next[:count] = queues.max[:count]
    end = memory.watermarks.appended
    while begin < end:
        start = begin - begin % directory.file_bytes
        segment = directory.open(start, writable=False)
        stop = min(end, segment.end)
        begin = raise_next(
            memory.topic_names.address, queues.address, segment.address + begin - start, begin, stop
        )
        if begin < 0:
            raise StoreError(f"no record lies at position {-begin - 1} of the log, below its end")
        segment.close()


@kernel
def raise_next(topics: int, queues: int, address: int, begin: int, end: int) -> int:
    """Walk the records of a part of a file; return the position behind it, or -1 - where it broke off."""
    position = begin
    while position < end:
        at = address + position - begin
        size = record.verify(at, end - position, False)
        if size == record.BLANK:
            return position + load_i32(at)
        if size < 0:
            return -1 - position
        topic, topic_bytes = record.topic_at(at)
        topic_id = find_name(topics, at + topic, topic_bytes)
        slot = find_queue(queues, topic_id, load_i32(at + record.QUEUE_ID))
        if slot < 0:
            return -1 - position
        if record.is_dispatched(load_i32(at + record.SYS_FLAG)):
            word = next_address(queues, slot)
            behind = load_i64(at + record.QUEUE_OFFSET) + 1
            if behind > load_relaxed(word):
                store_relaxed(word, behind)
        position += size
    return position
