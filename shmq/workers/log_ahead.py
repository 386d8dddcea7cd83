"""What the writer is about to need: pages of its file in memory, and the next file whole.

A thread of the writer's process, which sleeps until the writer has come near the end of what is ready; as long as
the log grows fast it looks by itself. How far it goes ahead follows from how fast that is. A sync of the log takes
long, so it is another thread's. Killed with the writer, it leaves a file of zeros, or none.
"""

import queue
import threading
from collections.abc import Callable
from typing import Final

import numpy as np

from shmq.errors import StoreError
from shmq.memory.block import address_of
from shmq.memory.words import store_word
from shmq.store.log import LogDirectory
from shmq.store.segment import Segment
from shmq.store.watermarks import Watermarks

FIRST_BYTES: Final = 4 * 1024 * 1024
STEP_BYTES: Final = 4 * 1024 * 1024
AHEAD_BYTES_MIN: Final = 16 * 1024 * 1024
AHEAD_BYTES_MAX: Final = 256 * 1024 * 1024
LOOK_SECONDS: Final = 0.002


class LogAhead:
    """Owned by the writer, which calls everything but `_run`.

    Attributes:
        wanted_at: address of a word: when the log's end has passed it, `wake` is due.
    """

    def __init__(self, directory: LogDirectory, marks: Watermarks, on_ready: Callable[[], None]) -> None:
        self._directory = directory
        self._marks = marks
        self._on_ready = on_ready
        self._prepared: queue.SimpleQueue[Segment | StoreError] = queue.SimpleQueue()
        self._event = threading.Event()
        self._segment: Segment | None = None
        self._next_start = 0
        self._is_asked = False
        self._is_awaited = False
        self._populated = 0  # a position
        self._stopping = False
        self._wanted_at = np.zeros(1, dtype=np.int64)
        self.wanted_at = address_of(self._wanted_at)
        self._thread = threading.Thread(target=self._run, name="log-ahead", daemon=True)

    def start(self, segment: Segment) -> None:
        """Begin, with the file that the writer appends to."""
        self.go_on(segment)
        self._thread.start()

    def go_on(self, segment: Segment) -> None:
        """The writer goes on in this file; have the one behind it made."""
        self._segment = segment
        self._ask(segment.end)

    @property
    def is_running(self) -> bool:
        """Whether the thread is there."""
        return self._thread.is_alive()

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
        reached = self._marks.appended
        while not self._stopping:
            self._event.clear()
            if self._is_asked:
                self._prepare()
            before, reached = reached, self._marks.appended
            grown_bytes = reached - before
            self._populate(reached, grown_bytes)
            if not (self._is_asked or self._stopping):
                self._event.wait(LOOK_SECONDS if grown_bytes else None)

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
            made.populate(0, FIRST_BYTES)
            self._prepared.put(made)
        if self._is_awaited:
            self._on_ready()

    def _populate(self, reached: int, grown_bytes: int) -> None:
        """Have the pages in memory that the writer will come to while we sleep some times."""
        segment = self._segment
        assert segment is not None
        ahead_bytes = min(max(8 * grown_bytes, AHEAD_BYTES_MIN), AHEAD_BYTES_MAX)
        begin = max(self._populated, reached, segment.start)
        end = min(max(reached, segment.start) + ahead_bytes, segment.end)
        while begin < end and not self._is_asked:
            step_bytes = min(STEP_BYTES, end - begin)
            segment.populate(begin - segment.start, step_bytes)
            begin += step_bytes
            self._populated = begin
        is_whole = self._populated >= segment.end
        store_word(self.wanted_at, segment.end if is_whole else self._populated - AHEAD_BYTES_MIN // 2)
