"""What the writer is about to need: pages of its file in memory, and the next file whole.

With a transient pool it writes to no pages of files: then it is the next file's buffer that must be in memory.

A thread of the writer's process, which sleeps until the writer has come through half of what is ready. How far it
goes ahead follows from how fast that was. A sync of the log takes long, so it is another thread's. Killed with the
writer, it leaves a file of zeros, or none.
"""

import queue
import threading
import time
from collections.abc import Callable
from typing import Final

import numpy as np

from shmq import logs
from shmq.errors import StoreError
from shmq.memory.block import address_of
from shmq.memory.words import store_word
from shmq.store.log import LogDirectory
from shmq.store.segment import Segment
from shmq.store.transient_pool import TransientPool
from shmq.store.watermarks import Watermarks
from shmq.workers.tended_thread import TendedThread

FIRST_BYTES: Final = 4 * 1024 * 1024
STEP_BYTES_MIN: Final = 256 * 1024
STEP_BYTES_MAX: Final = 4 * 1024 * 1024
PAUSE_SECONDS: Final = 0.002
AHEAD_BYTES_MIN: Final = 16 * 1024 * 1024
AHEAD_BYTES_MAX: Final = 256 * 1024 * 1024
TOGETHER_BYTES_PER_S: Final = 32_000_000
"""A log that grows faster fills pages that come together before they are synced."""
NEVER: Final = (1 << 63) - 1
AHEAD_SECONDS: Final = 0.2
"""For so long what is made ready should last; half of it later it is looked at again."""


class LogAhead:
    """Owned by the writer, which calls everything but `_run`.

    Attributes:
        wanted_at: address of a word: when the log's end has passed it, `wake` is due.
    """

    def __init__(
        self,
        directory: LogDirectory,
        marks: Watermarks,
        on_ready: Callable[[], None],
        *,
        is_sync: bool,
        pool: TransientPool | None = None,
    ) -> None:
        """Prepare for a log.

        Args:
            directory: its files.
            marks: say how far it has come.
            on_ready: called when a file that was waited for is there, or cannot be.
            is_sync: whether somebody waits for each sync.
            pool: where the writer writes instead of the files, if it does.
        """
        self._pool = pool
        self._directory = directory
        self._marks = marks
        self._on_ready = on_ready
        self._prepared: queue.SimpleQueue[Segment | StoreError] = queue.SimpleQueue()
        self._event = threading.Event()
        self._current: tuple[Segment, memoryview] | None = None
        self._next_start = 0
        self._is_asked = False
        self._is_awaited = False
        self._populated = 0  # a position
        self._is_single = True
        self._stopping = False
        self._is_sync = is_sync
        self._log = logs.get("log-ahead")
        self._was_told = False
        self._wanted_at = np.zeros(1, dtype=np.int64)
        self.wanted_at = address_of(self._wanted_at)
        # Whoever waits for a file must not do so for ever where nobody makes it any more.
        self._thread = TendedThread("log-ahead", self._run, on_ready)

    def start(self, segment: Segment) -> None:
        """Begin, with the file that the writer appends to."""
        self.go_on(segment)
        self._thread.start()

    def go_on(self, segment: Segment) -> None:
        """The writer goes on in this file; have the one behind it made."""
        # The slice keeps the file mapped when it is full and closed.
        self._current = (segment, segment.view[:])
        self._ask(segment.end)

    @property
    def is_running(self) -> bool:
        """Whether the thread is there."""
        return self._thread.is_running

    def wake(self) -> None:
        """Have it look at the log's end now."""
        self._event.set()

    def take_next(self, start: int) -> Segment | None:
        """The file that begins where the current one ends; None while it is being made.

        Raises:
            StoreError: it cannot be made; asked again, it is tried again.
        """
        assert start == self._next_start
        self._is_awaited = True  # before the look: what comes after it is told of
        try:
            prepared = self._prepared.get_nowait()
        except queue.Empty:
            return None
        self._is_awaited = False
        if isinstance(prepared, StoreError):
            self._ask(start)
            raise prepared
        return prepared

    def stop(self) -> None:
        """End the thread, and remove a file made ready: after a clean stop nothing lies behind the log's end."""
        self._stopping = True
        self.wake()
        self._thread.join()
        while not self._prepared.empty():
            prepared = self._prepared.get()
            if isinstance(prepared, Segment):
                prepared.close()
                prepared.path.unlink(missing_ok=True)

    def _ask(self, start: int) -> None:
        self._next_start = start
        self._is_asked = True
        self.wake()

    def _run(self) -> None:
        assert self._current is not None
        self._lock_buffer(self._current[0])
        reached, looked_at = self._marks.appended, time.monotonic()
        while not self._stopping:
            self._event.clear()
            if self._is_asked:
                self._prepare()
            before, reached = reached, self._marks.appended
            looked_before, looked_at = looked_at, time.monotonic()
            elapsed = max(looked_at - looked_before, PAUSE_SECONDS)
            self._populate(reached, (reached - before) / elapsed)
            if not (self._is_asked or self._stopping):
                self._event.wait()

    def _prepare(self) -> None:
        self._is_asked = False
        start = self._next_start
        path = self._directory.file(start)
        try:
            made = (
                self._directory.open(start, writable=True) if path.exists() else self._directory.create(start)
            )
        except StoreError as error:
            self._prepared.put(error)
        else:
            if self._pool is None:
                made.populate(0, FIRST_BYTES, is_single=self._is_single)
            self._lock_buffer(made)
            self._prepared.put(made)
        if self._is_awaited:
            self._on_ready()

    def _lock_buffer(self, segment: Segment) -> None:
        if self._pool is not None and not self._pool.lock(segment.start) and not self._was_told:
            self._was_told = True
            self._log.warning("the transient pool may be swapped out: this process may lock no more memory")

    def _populate(self, reached: int, bytes_per_second: float) -> None:
        """Have the pages in memory that the writer will come to.

        Twice as fast as it comes there: who spins beside us on one of two CPUs is held up for as long as a step takes.

        Args:
            reached: the log's end.
            bytes_per_second: how fast it has grown of late.
        """
        if self._pool is not None:
            store_word(self.wanted_at, NEVER)
            return
        assert self._current is not None
        segment, _slice = self._current  # another may be put in its place while we are at this one
        ahead_bytes = min(max(int(AHEAD_SECONDS * bytes_per_second), AHEAD_BYTES_MIN), AHEAD_BYTES_MAX)
        begin = max(self._populated, reached, segment.start)
        end = min(max(reached, segment.start) + ahead_bytes, segment.end)
        self._is_single = self._is_sync or bytes_per_second < TOGETHER_BYTES_PER_S
        step_bytes = 2 * int(PAUSE_SECONDS * bytes_per_second)
        step_bytes = min(max(step_bytes, STEP_BYTES_MIN), STEP_BYTES_MAX)
        store_word(self.wanted_at, end)  # until then we are at it
        while begin < end and not self._is_asked:
            size_bytes = min(step_bytes, end - begin)
            done_at = time.monotonic() + PAUSE_SECONDS
            segment.populate(begin - segment.start, size_bytes, is_single=self._is_single)
            begin += size_bytes
            self._populated = begin
            pause_seconds = done_at - time.monotonic()
            if pause_seconds > 0 and begin - self._marks.appended > ahead_bytes // 4:
                self._event.wait(pause_seconds)
        is_whole = self._populated >= segment.end
        store_word(self.wanted_at, segment.end if is_whole else self._populated - ahead_bytes // 2)
