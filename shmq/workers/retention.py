"""The conductor's part in retention: it alone moves `trimmed`, corrects `min` of queues, and closes the gate of a full disk.

What waits for the disk is done by a thread of the conductor's process, one piece at a time: it looks, deletes one
file of the log, sweeps some queues, or deletes the files of one. What follows from a piece, the conductor does between
its other work, and chooses the next: a look is the most urgent, so a full disk is noticed while much is deleted.

    trimmed moves -> everybody is told -> files of the log go, the oldest first -> queues are swept, `min` moves
    -> everybody is told -> files of queues go

Killed anywhere it leaves a log that begins at `trimmed` with files before that, or queues with files and offsets of
messages that are gone. A successor finds both: it removes files below `trimmed` with its first look, and sweeps all
queues once. After a crash of the whole broker, recovery takes the log as its files have it.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

import numpy as np

from shmq.broker.effects import Cleaning
from shmq.config.settings import Config
from shmq.errors import StoreError
from shmq.memory.words import load_word, store_word
from shmq.ring import doorbell
from shmq.shared import gates, plan
from shmq.shared.broker_memory import BrokerMemory
from shmq.store.position import NONE
from shmq.store.queue_table import min_address
from shmq.store.retention import Disks, Rules, Situation, decide, needed_from
from shmq.store.store_files import StorePaths
from shmq.store.watermarks import TRIMMED
from shmq.workers.sweeping import Found, Queues, Swept, look_at, remove_log_file, remove_queue_files, sweep
from shmq.workers.tended_thread import TendedThread

MANUAL_LOOKS: Final = 20
"""So many looks an administrator's request lasts, as in RocketMQ."""
SWEEP_QUEUES: Final = 256
"""So many queues are swept in one piece."""

Then = Callable[[], None]
Job = Callable[[], Then]


class Retention:
    """Owned by the conductor, which calls everything but `_run`."""

    def __init__(
        self, config: Config, memory: BrokerMemory, paths: StorePaths, tell: Callable[[], None], log: Any
    ) -> None:
        """Prepare.

        Args:
            config: the settings.
            memory: the broker's.
            paths: where the store lies.
            tell: has network workers and the conductor let go of files that are gone.
            log: the conductor's.
        """
        self._rules = Rules.of(config)
        self._has_index = config.key_index
        self._file_bytes = config.commit_log_file_bytes
        self._log_pause_s = config.delete_log_interval_ms / 1000
        self._queue_pause_s = config.delete_queue_interval_ms / 1000
        self._memory = memory
        self._marks = memory.watermarks
        self._gates = memory.place("gates")
        self._paths = paths
        self._tell = tell
        self._log = log
        self._queues = Queues(
            memory.queues,
            memory.topic_names,
            paths.consumequeue,
            config.consume_queue_file_bytes,
            paths.extensions,
        )
        self._bell = memory.bell(plan.BELL_CONDUCTOR)
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Then] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = TendedThread("retention", self._run, partial(doorbell.ring_bell, self._bell))
        self._is_working = False
        self._is_look_due = False
        self._manual_looks = 0
        self._doomed: deque[int] = deque()
        self._swept = 0  # a position: queues show nothing below it
        self._sweeping_to = 0
        self._unswept: list[int] = []
        self._has_swept_all = False
        self._is_sweep_asked = False
        self._removable: deque[tuple[Any, ...]] = deque()
        self._problem = ""
        self._is_short = False
        self._seen_appended = 0
        self._needed_by_others: Callable[[], list[int]] = list

    def keep_for(self, needed: Callable[[], list[int]]) -> None:
        """Let no file go that others need: from which position on each of them does, NONE where it needs nothing."""
        self._needed_by_others = needed

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def has_news(self) -> bool:
        """Whether `poll` would find anything."""
        return not self._done.empty() or not (self._thread.is_running or self._stopping.is_set())

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is under way, and nothing is left to do."""
        return not self._is_working and self._done.empty()

    @property
    def is_eager(self) -> bool:
        """Whether to look again soon, whoever is there: the log grows, or an administrator has asked."""
        return self._manual_looks > 0 or self._marks.appended != self._seen_appended

    def look(self) -> None:
        """Look at the store, and do what follows, as soon as the thread is free."""
        self._is_look_due = True
        self._go_on()

    def poll(self) -> int:
        """Do what follows from what the thread has done; return how much that was."""
        assert self._thread.is_running or self._stopping.is_set(), "the retention thread has died"
        done = 0
        while not self._done.empty():
            self._is_working = False
            self._done.get()()
            done += 1
        self._go_on()
        return done

    def clean(self, what: Cleaning) -> None:
        """Do now what an administrator asks for."""
        match what:
            case Cleaning.EXPIRED:  # in the next looks, the first of them now
                self._manual_looks = MANUAL_LOOKS
                self.look()
            case Cleaning.QUEUES:
                self._is_sweep_asked = True
                self._go_on()
            case Cleaning.TOPICS:  # by the dispatcher, which has their files open
                self.tell_all()

    def tell_all(self) -> None:
        """Have everybody let go of files that are gone, or are about to go: their room is free only then."""
        at = self._gates + gates.CLEANUPS
        store_word(at, load_word(at) + 1)  # dispatcher and local sessions look at it
        for number in (plan.BELL_DISPATCHER, plan.BELL_INDEXER):
            doorbell.ring_bell(self._memory.bell(number))
        self._tell()

    def stop(self) -> None:
        """Begin nothing more, and end pauses."""
        self._stopping.set()
        self._jobs.put(None)

    def close(self) -> None:
        """End the thread."""
        self.stop()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        """The thread: do what it is given."""
        while (job := self._jobs.get()) is not None:
            try:
                then = job()
            except (OSError, StoreError) as error:
                then = partial(self._complain, str(error))
            self._done.put(then)
            doorbell.ring_bell(self._bell)

    def _go_on(self) -> None:
        """Give the thread its next piece of work, the most urgent first."""
        if self._is_working or self._stopping.is_set():
            return
        job = self._next_job()
        if job is not None:
            self._is_working = True
            self._jobs.put(job)

    def _next_job(self) -> Job | None:
        if self._is_look_due:
            self._is_look_due = False
            self._seen_appended = self._marks.appended
            return partial(self._look_job, self._rules.batch_max + len(self._doomed))
        if self._doomed:
            return partial(self._log_job, self._doomed.popleft())
        if not self._unswept and (self._marks.trimmed > self._swept or self._is_sweep_asked):
            self._begin_sweep()
        if self._unswept:
            slots, self._unswept = self._unswept[:SWEEP_QUEUES], self._unswept[SWEEP_QUEUES:]
            return partial(self._sweep_job, slots, self._sweeping_to)
        if self._removable:
            return partial(self._queue_job, self._removable.popleft())
        return None

    # The thread's pieces; each returns what the conductor does then.

    def _look_job(self, count_max: int) -> Then:
        return partial(self._act, look_at(self._paths, count_max))

    def _log_job(self, start: int) -> Then:
        remove_log_file(self._paths.commitlog, start)
        self._stopping.wait(self._log_pause_s)
        return _nothing

    def _sweep_job(self, slots: list[int], position: int) -> Then:
        return partial(self._correct, sweep(self._queues, slots, position))

    def _queue_job(self, paths: tuple[Any, ...]) -> Then:
        remove_queue_files(paths)
        self._stopping.wait(self._queue_pause_s)
        return _nothing

    # What the conductor does.

    def _act(self, found: Found) -> None:
        """Decide by what a look has found."""
        marks = self._marks
        indexed = marks.indexed if self._has_index else marks.dispatched
        is_asked = self._manual_looks > 0
        self._manual_looks -= is_asked
        now_s = time.time()
        situation = Situation(
            files=found.files,
            file_bytes=self._file_bytes,
            trimmed=marks.trimmed,
            needed=needed_from(marks.flushed, marks.dispatched, indexed, marks.appended),
            disks=found.disks,
            was_full=self._is_closed,
            now_ms=int(now_s * 1000),
            hour=time.localtime(now_s).tm_hour,
            is_asked=is_asked,
        )
        decision = decide(self._rules, situation)
        if decision.trim_to > marks.trimmed:  # only now: they have to look for it
            needed = [position for position in self._needed_by_others() if position != NONE]
            decision = decide(self._rules, replace(situation, needed=min([situation.needed, *needed])))
        self._close_gate(found.disks, is_full=decision.is_full)
        if decision.trim_to > marks.trimmed:
            self._log.info(
                "deleting the beginning of the log",
                position=decision.trim_to,
                because=decision.triggers,
                disk_percent=found.disks.fullest,
            )
            marks.move(TRIMMED, decision.trim_to)
            self.tell_all()
        self._doomed = deque(
            file.start for file in found.files if file.start + self._file_bytes <= marks.trimmed
        )
        is_short = "space" in decision.triggers and not self._doomed
        if is_short and not self._is_short:
            self._log.warning(
                "the disk fills up, and nothing may be deleted", disk_percent=found.disks.fullest
            )
        self._is_short = is_short

    def _correct(self, swept: Swept) -> None:
        """Move `min` of queues that were swept, and have their leading files removed once all are."""
        table = self._queues.table
        for slot, trim in swept.trims.items():
            if trim.min_offset > int(table.min[slot]):
                store_word(min_address(table.address, slot), trim.min_offset)
            if trim.removable:
                self._removable.append(trim.removable)
        self._removable.extend(swept.extensions)
        for problem in swept.problems:
            self._complain(problem)
        if not self._unswept:
            self._swept = self._sweeping_to
            self.tell_all()

    def _begin_sweep(self) -> None:
        """Choose the queues that may show what is gone: at first all, later those that show anything."""
        table = self._queues.table
        count = table.count
        self._sweeping_to = self._marks.trimmed
        shown = np.arange(count)
        if self._has_swept_all and not self._is_sweep_asked:
            shown = np.flatnonzero(table.max[:count] > table.min[:count])
        self._has_swept_all, self._is_sweep_asked = True, False
        self._unswept = shown[table.dropped[shown] == 0].tolist()
        if not self._unswept:
            self._swept = self._sweeping_to
            self.tell_all()

    @property
    def _is_closed(self) -> bool:
        return load_word(self._gates + gates.DISK_FULL) != 0

    def _close_gate(self, disks: Disks, *, is_full: bool) -> None:
        """Have messages refused, or taken again; said once a change."""
        if is_full == self._is_closed:
            return
        store_word(self._gates + gates.DISK_FULL, int(is_full))
        doorbell.ring_bell(self._memory.bell(plan.BELL_WRITER))
        if is_full:
            self._log.error("a disk is full: refusing messages", percent=disks.fullest)
        else:
            self._log.warning("the disks have room: taking messages again", percent=disks.fullest)

    def _complain(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            self._log.error("cannot clean up", reason=problem)


def _nothing() -> None:
    """What follows from a file that is gone."""
