"""The commit writer: the one process that appends to the log.

One kernel (`shared/rounds.py`) waits for submissions, goes round the senders' rings while there is anything in them,
and wakes whom that concerns: those senders, and the dispatcher or, under SYNC_FLUSH, the flush thread, which runs in this process. When a
file is full, the next one has been made ready by the flush thread, and is waited for if it has not; where the disk
has no room for it, or a gate is closed (`shared/gates.py`: a sync failed, a disk is nearly full), submissions are refused with SERVICE_NOT_AVAILABLE and nothing is appended.

Producers in other processes come and go (`shared/local_sessions.py`): which of their rings are polled is looked
up again when one word says so. Of one that is gone all that it published is committed; nobody waits for one.

Killed anywhere, its successor first answers the batch that may have been committed and not answered, clears
what lies behind `appended`, and derives each queue's next offset again from the dispatched queues and the
part of the log behind `dispatched`.
"""

from contextlib import closing
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shmq import logs
from shmq.config.settings import Config
from shmq.errors import StoreError
from shmq.memory.block import zero
from shmq.memory.words import load_word
from shmq.ring import doorbell, spsc, waiting
from shmq.shared import commit, plan, rounds, senders
from shmq.shared.broker_memory import BrokerMemory
from shmq.shared.gates import closed
from shmq.shared.local_sessions import ATTACHED, LEAVING, Polled
from shmq.store.log import LogDirectory
from shmq.store.next_offsets import raise_next
from shmq.store.segment import Segment
from shmq.store.store_files import StorePaths
from shmq.store.transient_pool import TransientPool
from shmq.workers.flusher import Flusher
from shmq.workers.log_end import LogEnd, MappedEnd
from shmq.workers.pool_committer import PoolCommitter
from shmq.workers.runner import row_alive, wall_ms

BATCH_BYTES_MAX: Final = 512 * 1024
TURN_NS: Final = 50_000_000
"""So long a call may go round before Python looks after itself: signals, the heartbeat."""
RETRY_MS: Final = 500
STUCK_NS: Final = 1_000_000
SERVICE_NOT_AVAILABLE: Final = 2
"""PutStatus.SERVICE_NOT_AVAILABLE, as it crosses the completion ring."""


class CommitWriter:
    """The writer's role (see `workers/role.py`)."""

    def __init__(
        self, config: Config, memory: BrokerMemory, paths: StorePaths, pool: TransientPool | None = None
    ) -> None:
        """Prepare for a store; with a pool, records are placed there and come to the log behind the writer."""
        self._config = config
        self._memory = memory
        self._log = logs.get("writer")
        self._directory = LogDirectory(paths.commitlog, config.commit_log_file_bytes)
        self._flusher = Flusher(config, memory, paths, self._directory, pool)
        self._end = self._make_end(pool)
        self._bell = memory.bell(plan.BELL_WRITER)
        self._rows = sender_rows(memory)
        self._polled_rows = self._rows[:0]
        self._duty = np.zeros((), dtype=rounds.LAYOUT)
        self._duty_at = int(self._duty.ctypes.data)
        self._inner_senders = memory.plan.inner_senders
        self._sessions = Polled(memory.sessions)
        self._leaving: frozenset[int] = frozenset()
        self._committed = 0
        self._reported: set[int] = set()
        self._is_waiting = False
        self._refusing = ""
        self._retry_at_ms = 0
        self._is_stopping = False
        self._gates = memory.place("gates")
        self._closed = 0

    def start(self) -> None:
        """Open the log where it ends, and finish what a dead predecessor began."""
        end = load_word(self._end.word)
        self._prepare_duty()
        self._take_up(self._segment_for(end))
        self._resume()
        self._clear_behind(end)
        self._derive_next(end)
        self._flusher.start(self._segment)
        self._end.start()
        self._wake_everybody()

    @property
    def is_ready(self) -> bool:
        """Always, once started."""
        return True

    def do_work(self, now_ns: int) -> int:
        """Commit what there is, for a bounded time."""
        self._flusher.heed()
        if not self._flusher.is_running:
            raise StoreError("the flush thread is gone")
        if not self._end.is_running:
            raise StoreError("the transient pool's thread is gone")
        if self._sessions.has_changed:
            self._heed_sessions()
        self._closed = self._duty["closed_seen"] = closed(self._gates)
        now_ms = wall_ms()
        self._committed = 0
        if self._closed or (self._refusing and now_ms < self._retry_at_ms):
            refused = self._refuse_all()
            if not refused and (self._is_stopping or self._leaving):
                self._forget_the_dead()
            return refused
        self._duty["until_ns"] = now_ns + TURN_NS
        while True:
            outcome = rounds.go_round(self._duty_at)
            self._committed += int(self._duty["committed"])
            if outcome != commit.NEEDS_FILE or not self._roll(now_ms):
                break
        if self._refusing:
            return self._refuse_all()  # at once: nobody waits for the next try
        self._flusher.look_ahead()
        if outcome == commit.IDLE and (self._is_stopping or self._leaving):
            self._forget_the_dead()
        if self._polled_rows["is_broken"].any():
            self._report_broken()
        return self._committed

    def rest(self, timeout_ns: int) -> None:
        """Sleep until somebody submits; where nothing else is to be done, commit it and sleep again."""
        if self._is_waiting or self._refusing:  # for a file: its bell is rung when there is one, or none
            doorbell.will_sleep(self._bell)
            if self._flusher.has_news or self._sessions.has_changed:
                doorbell.is_awake(self._bell)
            else:
                doorbell.sleep(self._bell, min(timeout_ns, RETRY_MS * 1_000_000))
        elif self._polled_rows["is_stuck"].any():  # for room for answers: nobody rings when there is some
            rounds.rest(self._duty_at, min(timeout_ns, STUCK_NS))
        elif self._is_stopping or self._leaving or self._closed:
            rounds.rest(self._duty_at, timeout_ns)
        else:
            rounds.serve(self._duty_at, timeout_ns)

    def wake(self) -> None:
        """Ring one's own bell."""
        doorbell.ring_bell(self._bell)

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
        if not _are_empty(self._rows[: self._inner_senders]):
            return False
        return self._committed == 0 or _are_empty(self._polled_rows)

    @property
    def waits_for_file(self) -> bool:
        """Whether submissions wait because the next file is not ready yet."""
        return self._is_waiting

    def close(self) -> None:
        """Flush everything, and give back a file made ready that was not needed."""
        self._end.stop()
        self._flusher.stop()
        self._segment.close()

    def _make_end(self, pool: TransientPool | None) -> LogEnd:
        config, memory = self._config, self._memory
        is_sync = config.flush_disk_type == "SYNC_FLUSH"
        follower_bell = memory.bell(plan.BELL_FLUSHER if is_sync else plan.BELL_DISPATCHER)
        if pool is None:
            return MappedEnd(memory, follower_bell)
        return PoolCommitter(config, memory, self._directory, pool, follower_bell, self._flusher.tell_writer)

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
            end_word=self._end.word,
            topics=memory.topic_names.address,
            queues=memory.queues.address,
            segment=self._end.address_of(segment.start, segment),
            segment_start=segment.start,
            segment_bytes=segment.size_bytes,
        )
        self._duty["places"] = self._places

    def _roll(self, now_ms: int) -> bool:
        """Go on in the next file; False where there can be none now."""
        try:
            is_free = self._end.is_free_for(self._segment.end)
            following = self._flusher.take_next(self._segment.end) if is_free else None
            self._is_waiting = following is None
            if following is None:
                return False
        except StoreError as error:
            if not self._refusing:
                self._log.error("refusing messages", reason=str(error))
            self._refusing = str(error)
            self._retry_at_ms = now_ms + RETRY_MS
            return False
        if self._refusing:
            self._log.warning("taking messages again")
            self._refusing = ""
        end = load_word(self._end.word)
        self._end.begin_blank(end, self._segment.end - end)
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

    def _prepare_duty(self) -> None:
        memory, duty = self._memory, self._duty
        duty["news"] = self._flusher.news
        duty["changes"] = memory.sessions.changes_address
        duty["batch_bytes_max"] = BATCH_BYTES_MAX
        duty["bell"] = self._bell
        duty["follower_bell"] = self._end.bell
        duty["gates"] = self._gates
        duty["flusher_bell"] = memory.bell(plan.BELL_FLUSHER)
        duty["strategy"] = waiting.STRATEGIES[self._config.writer_wait_strategy]
        duty["spins"] = waiting.spins_before_sleep()
        duty["ahead_at"] = self._flusher.ahead_at
        self._heed_sessions()

    def _heed_sessions(self) -> None:
        """Poll the rings of those sessions that are attached now, and say so: the others may lose their memory."""
        self._sessions.refresh()
        first = self._inner_senders
        polled = [*range(first), *(first + session for session in self._sessions.sessions)]
        self._polled_rows = self._rows[polled]  # a copy: the kernel goes through it from end to end
        self._reported.intersection_update(polled)
        self._duty["senders"] = self._polled_rows.ctypes.data
        self._duty["sender_count"] = len(polled)
        self._duty["changes_seen"] = self._sessions.changes
        leaving = self._memory.sessions.in_state((LEAVING,))
        self._leaving = frozenset(first + session for session in leaving)
        self._memory.sessions.heed(self._sessions.changes)

    def _forget_the_dead(self) -> None:
        """Make room for answers to senders that are gone, where they have none."""
        for row in self._polled_rows[self._polled_rows["is_stuck"] != 0]:
            sender = int(row["index"])
            if self._is_stopping or sender in self._leaving:
                self._drop_answers_to_the_dead(sender)

    def _report_broken(self) -> None:
        """Say, once a sender, that something was in its ring that no sender of ours puts there."""
        for row in self._polled_rows[self._polled_rows["is_broken"] != 0]:
            row["is_broken"] = 0
            sender = int(row["index"])
            if sender not in self._reported:
                self._reported.add(sender)
                self._log.error("a sender's ring was broken: what was in it is refused", sender=sender)

    def _refuse_all(self) -> int:
        for address in self._row_addresses():
            refused = commit.refuse(self._places, address, SERVICE_NOT_AVAILABLE)
            if refused:
                rounds.wake_sender(address)
                self._committed += refused
        return self._committed

    def _row_addresses(self) -> range:
        begin = int(self._polled_rows.ctypes.data)
        return range(begin, begin + senders.SIZE * len(self._polled_rows), senders.SIZE)

    def _resume(self) -> None:
        sender = commit.unfinished_ring(self._places.page, self._places.end_word)
        if sender < 0:
            return
        self._log.warning("finishing the batch of a dead writer", sender=sender)
        address = int(self._rows[sender : sender + 1].ctypes.data)
        commit.resume(self._places.page, address)
        rounds.wake_sender(address)

    def _wake_everybody(self) -> None:
        """Ring for what a predecessor may have answered or placed, and died before it rang."""
        for address in self._row_addresses():
            rounds.wake_sender(address)
        doorbell.ring_bell(self._end.bell)

    def _clear_behind(self, end: int) -> None:
        """Zero what a dead writer had begun behind the log's end."""
        dirty_end = min(load_word(self._places.page + commit.DIRTY_END), self._segment.end)
        if dirty_end > end:
            self._log.warning("clearing what a dead writer had begun", begin=end, bytes=dirty_end - end)
            zero(self._end.address_of(end, self._segment), dirty_end - end)

    def _derive_next(self, end: int) -> None:
        """Set each queue's next offset behind its last record, dispatched or not."""
        marks, queues = self._memory.watermarks, self._memory.queues
        begin = marks.dispatched  # before `max` is read: what is below it is in `max`
        count = queues.count  # once: the conductor may be adding one, which begins at 0
        queues.next[:count] = queues.max[:count]
        while begin < end:
            start = begin - begin % self._directory.file_bytes
            stop = min(end, start + self._directory.file_bytes)
            if begin < marks.appended:
                with closing(self._directory.open(start, writable=False)) as segment:
                    begin = self._raise_next(
                        segment.address + begin - start, begin, min(stop, marks.appended)
                    )
            else:
                begin = self._raise_next(self._end.address_of(begin, self._segment), begin, stop)

    def _raise_next(self, address: int, begin: int, stop: int) -> int:
        """Walk a part of a file; return the position behind it."""
        memory = self._memory
        reached = raise_next(memory.topic_names.address, memory.queues.address, address, begin, stop)
        if reached < 0:
            raise StoreError(f"no record lies at position {-reached - 1} of the log, below its end")
        return reached


def sender_rows(memory: BrokerMemory) -> NDArray[np.void]:
    """The rows of all senders of a broker, by their numbers."""
    made = memory.plan
    rows = np.zeros(made.senders, dtype=senders.LAYOUT)
    for sender, row in enumerate(rows):
        row["index"] = sender
        row["ring"] = memory.place(f"submit/{sender}")
        row["ring_bytes"] = made.capacity_bytes(f"submit/{sender}")
        row["completions"] = memory.place(f"completions/{sender}")
        row["completions_bytes"] = made.capacity_bytes(f"completions/{sender}")
        session = sender - made.inner_senders
        row["is_stranger"] = session >= 0
        if session >= 0:
            row["bell"] = memory.sessions.bell(session)
        else:
            is_conductor = sender == made.conductor_sender
            row["bell"] = memory.bell(
                plan.BELL_CONDUCTOR if is_conductor else plan.BELL_FIRST_WORKER + sender
            )
    return rows


def _are_empty(rows: NDArray[np.void]) -> bool:
    return all(spsc.is_empty(int(ring)) for ring in rows["ring"])
