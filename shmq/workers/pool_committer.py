"""PoolCommitter: the thread that writes what lies in the transient pool to the log's files, and moves `appended`.

A thread of the writer's process, asleep in a kernel (`shared/pool_commit.py`) nearly always. The pool outlives both:
a successor goes on at `appended`. Where the disk refuses, the log is closed (`shared/gates.py`); what was answered stays
in the pool, is tried again every second, and once it is written the log is open again.
"""

import os
import threading
from collections.abc import Callable
from typing import Final

import numpy as np

from shmq import logs
from shmq.config.settings import Config
from shmq.memory.block import address_of, zero
from shmq.memory.words import load_word, store_word
from shmq.ring import doorbell
from shmq.shared import gates, plan, pool_commit
from shmq.shared.broker_memory import BrokerMemory
from shmq.store.log import LogDirectory
from shmq.store.segment import Segment
from shmq.store.transient_pool import TransientPool
from shmq.store.watermarks import WROTE
from shmq.workers.flusher import PAGE_BYTES
from shmq.workers.tended_thread import TendedThread

RETRY_S: Final = 1.0
SLEEP_NS: Final = 60_000_000_000


class PoolCommitter:
    """A `LogEnd` (see `log_end.py`), owned by the writer, which calls everything but `_run`."""

    def __init__(
        self,
        config: Config,
        memory: BrokerMemory,
        directory: LogDirectory,
        pool: TransientPool,
        follower_bell: int,
        on_news: Callable[[], None],
    ) -> None:
        """Prepare for a log.

        Args:
            config: the settings.
            memory: of the broker.
            directory: the log's files.
            pool: where the writer writes.
            follower_bell: of who waits for `appended`.
            on_news: has the writer look again: a buffer is free, or the disk refuses.
        """
        self.word = memory.place("watermarks") + WROTE
        self._stuck_at = memory.place("gates") + gates.POOL_STUCK
        self._marks = memory.watermarks
        self._directory = directory
        self._pool = pool
        self._on_news = on_news
        self._log = logs.get("pool")
        is_sync = config.flush_disk_type == "SYNC_FLUSH"
        self._bell_memory = np.zeros(doorbell.SIZE // 8, dtype=np.int64)
        self.bell = address_of(self._bell_memory)
        doorbell.initialise(self.bell)
        self._duty = np.zeros((), dtype=pool_commit.LAYOUT)
        self._duty_at = int(self._duty.ctypes.data)
        self._duty["watermarks"] = memory.place("watermarks")
        self._duty["bell"] = self.bell
        self._duty["follower_bell"] = follower_bell
        self._duty["flusher_bell"] = memory.bell(plan.BELL_FLUSHER)
        self._duty["least_bytes"] = 0 if is_sync else config.commit_least_pages * PAGE_BYTES
        self._duty["interval_ns"] = config.commit_interval_ms * 1_000_000
        self._stopping = threading.Event()
        self._thread = TendedThread("pool", self._run, on_news)

    @property
    def is_stuck(self) -> bool:
        """Whether the disk refuses what lies in the pool."""
        return load_word(self._stuck_at) != 0

    @property
    def is_running(self) -> bool:
        """Whether the thread is there; it ends only when told to, or by an error that nobody foresaw."""
        return self._thread.is_running

    def start(self) -> None:
        """Begin at `appended`."""
        self._thread.start()

    def address_of(self, position: int, segment: Segment) -> int:  # noqa: ARG002 - as of every LogEnd
        """In the pool."""
        return self._pool.address_of(position)

    def is_free_for(self, start: int) -> bool:
        """Whether the buffer of the file that begins here is through with the file that had it before."""
        return self._pool.is_free_for(start, self._marks.appended)

    def begin_blank(self, position: int, size_bytes: int) -> None:
        """What another file has left in the buffer must not come behind the blank."""
        zero(self._pool.address_of(position), size_bytes)

    def stop(self) -> None:
        """Write what is left, if the disk takes it, and end."""
        self._stopping.set()
        pool_commit.want_python(self._duty_at)
        self._thread.join()

    def _run(self) -> None:
        while True:
            store_word(self._duty_at + pool_commit.WANTED, 0)  # before anything is looked at
            if self._stopping.is_set():
                break
            if self._await_file():
                self._write(pool_commit.commit_rest if self.is_stuck else pool_commit.commit_pool)
        while self._marks.appended < self._marks.wrote and not self.is_stuck:
            self._write(pool_commit.commit_rest)

    def _await_file(self) -> bool:
        """Sleep while nothing of the next file has been placed: until then it may not be there."""
        end = self._marks.appended
        if end % self._directory.file_bytes != 0 or self._marks.wrote > end:
            return True
        doorbell.will_sleep(self.bell)
        if self._marks.wrote > end or self._stopping.is_set():
            doorbell.is_awake(self.bell)
        else:
            doorbell.sleep(self.bell, SLEEP_NS)
        return False

    def _write(self, kernel: Callable[[int], None]) -> None:
        """Let a kernel write to the file in which `appended` lies."""
        duty, file_bytes = self._duty, self._directory.file_bytes
        start = self._marks.appended // file_bytes * file_bytes
        duty["begin"], duty["end"] = start, start + file_bytes
        duty["buffer"] = self._pool.address_of(start)
        duty["error"] = 0
        duty["descriptor"] = os.open(self._directory.file(start), os.O_WRONLY | os.O_CLOEXEC)
        try:
            kernel(self._duty_at)
        finally:
            os.close(int(duty["descriptor"]))
        if duty["error"]:
            self._fail(f"cannot write {self._directory.file(start)}: {os.strerror(int(duty['error']))}")
        elif self.is_stuck:
            store_word(self._stuck_at, 0)
            self._log.warning("what lay in the pool is in the log: messages are taken again")
        self._on_news()  # a buffer may be free, or this failure is over

    def _fail(self, reason: str) -> None:
        if not self.is_stuck:
            store_word(self._stuck_at, 1)
            self._log.error("the disk refuses: no message is taken", reason=reason)
        self._on_news()
        self._stopping.wait(RETRY_S)
