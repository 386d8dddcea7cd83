"""The dispatcher: follows the log up to `confirmed`, gives each record its place in its queue, wakes readers.

A round takes a bounded part of the log. The queue files it wrote are synced by a thread of this process,
which alone moves `queues_ms`: the store time up to which the checkpoint may vouch for them. Killed, a
successor begins at `dispatched`; whatever lies there already is written again, the same bytes in the same
place.
"""

import os
import queue
import threading
import time
from pathlib import Path
from typing import Final

import numpy as np

from shmq import logs
from shmq.config.settings import Config
from shmq.errors import StoreError
from shmq.memory.block import address_of
from shmq.memory.syscalls import nap
from shmq.ring import doorbell, waiting
from shmq.shared import plan
from shmq.shared.broker_memory import BrokerMemory
from shmq.shared.listeners import Listeners
from shmq.store.dispatch import Dispatch
from shmq.store.log import LogReader
from shmq.store.queue_files import QueueFiles, sync_files
from shmq.store.store_files import StorePaths
from shmq.store.watermarks import DISPATCHED, QUEUES_MS
from shmq.workers.runner import row_alive

STEP_BYTES: Final = 4 * 1024 * 1024
SHORT_SLEEP_NS: Final = 30_000
NAP_NS: Final = 50_000


class Dispatcher:
    """The dispatcher's role (see `workers/role.py`)."""

    def __init__(self, config: Config, memory: BrokerMemory, paths: StorePaths) -> None:
        self._config = config
        self._memory = memory
        self._log = logs.get("dispatcher")
        strategy = waiting.STRATEGIES[config.dispatcher_wait_strategy]
        self._clock = np.zeros(2, dtype=np.int64)
        self._waiting = waiting.Waiting(
            memory.bell(plan.BELL_DISPATCHER), strategy, waiting.spins_before_sleep(), address_of(self._clock)
        )
        self._may_nap = strategy == waiting.FUTEX
        self._is_napping = False
        self._napped_at = 0
        self._readers = Listeners(memory)
        self._files = QueueFiles(paths.consumequeue, config.consume_queue_file_bytes, config.queue_slots_max)
        self._dispatch = Dispatch(
            memory.topic_names,
            memory.queues,
            LogReader(paths.commitlog, config.commit_log_file_bytes),
            self._files,
            config.delay_levels_ms,
        )
        self._store_ms = 0
        self._problem = ""
        self._sync_at_ns = 0
        self._sync_failure = ""
        self._work: queue.SimpleQueue[tuple[list[Path], int] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._sync_queues, name="queue-sync", daemon=True)

    def start(self) -> None:
        """Begin at `dispatched`."""
        self._store_ms = self._memory.watermarks.queues_ms
        self._thread.start()

    @property
    def is_ready(self) -> bool:
        """Always, once started."""
        return True

    def do_work(self, now_ns: int) -> int:
        """Dispatch a part of the log."""
        if self._sync_failure:
            raise StoreError(self._sync_failure)
        if now_ns >= self._sync_at_ns and self._work.empty():
            self._sync_at_ns = now_ns + self._config.consume_queue_flush_interval_ms * 1_000_000
            self._hand_over()
        marks = self._memory.watermarks
        begin, confirmed = marks.dispatched, marks.confirmed
        if begin >= confirmed:
            return 0
        try:
            result = self._dispatch.step(begin, confirmed, STEP_BYTES)
        except StoreError as error:  # a full disk: what is acknowledged is in the log, and waits
            self._complain(str(error))
            return 0
        if result.records:
            self._store_ms = result.store_ms
        if result.reached > begin:
            marks.move(DISPATCHED, result.reached)
            self._readers.wake(doorbell.DISPATCHED)
        if result.blanks:
            self._log.warning("queue offsets without a message were left blank", count=result.blanks)
        if result.problem:
            raise StoreError(result.problem)
        self._problem = ""
        return result.records

    def rest(self, timeout_ns: int) -> None:
        """Sleep until the log grows.

        Who is woken right after he has gone to sleep will be again: to wake him costs the writer more than a batch
        does. So the next rests are naps from which nobody has to wake him, until one has brought nothing.
        """
        marks = self._memory.watermarks
        dispatched = marks.dispatched
        if self._problem:
            doorbell.will_sleep(self._waiting.bell)
            doorbell.sleep(self._waiting.bell, timeout_ns)
        elif self._is_napping and dispatched > self._napped_at:
            self._napped_at = dispatched
            nap(NAP_NS, self._waiting.clock)
        else:
            begin_ns = time.monotonic_ns()
            waiting.wait_beyond(self._waiting, marks.confirmed_address, dispatched, timeout_ns)
            self._is_napping = self._may_nap and time.monotonic_ns() - begin_ns < SHORT_SLEEP_NS
            self._napped_at = dispatched

    def stop(self) -> None:
        """End once the writer is gone and everything of its is dispatched."""

    @property
    def is_done(self) -> bool:
        """Whether nothing more can come."""
        if row_alive(self._memory.roster[plan.WRITER]):  # first: what it does before its end is seen below
            return False
        marks = self._memory.watermarks
        return marks.dispatched >= marks.confirmed or bool(self._problem)

    def close(self) -> None:
        """Sync every queue file."""
        self._files.close()
        self._hand_over()
        self._work.put(None)
        self._thread.join()

    def _complain(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            self._log.error("cannot dispatch", reason=problem)

    def _hand_over(self) -> None:
        """Give the thread what was written, and how far in time that goes."""
        paths = self._files.take_dirty()
        if paths or self._store_ms > self._memory.watermarks.queues_ms:
            self._work.put((paths, self._store_ms))

    def _sync_queues(self) -> None:
        """The thread: sync what it is given, then let the checkpoint vouch for it."""
        if self._memory.roster[plan.DISPATCHER]["epoch"] > 1:
            os.sync()  # a dead predecessor wrote to files that nobody remembers
        while (work := self._work.get()) is not None:
            paths, store_ms = work
            try:
                sync_files(paths)
            except OSError as error:
                # What was not written may be lost: the checkpoint stays, and recovery builds the queues again.
                self._sync_failure = f"queue files could not be synced: {error}"
                return
            if store_ms > self._memory.watermarks.queues_ms:
                self._memory.watermarks.move(QUEUES_MS, store_ms)
