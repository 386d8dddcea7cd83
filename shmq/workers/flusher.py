"""The flush thread: makes the log durable, the next file ready, and the checkpoint true.

It alone moves `flushed`. Under ASYNC_FLUSH it syncs when enough pages are dirty or long enough has passed;
under SYNC_FLUSH whenever the writer wakes it, once for all that wait: that is the group commit. The
checkpoint vouches only for what has been synced before it was written. A sync that fails is final: the
system may have thrown the pages away, so from then on the writer refuses everything.

It is a thread of the writer's process, asleep in a system call or in the kernel nearly always. Killed with
the writer, the successor's thread takes `flushed` up where it stands: whatever is above is synced again.
"""

import queue
import threading
import time
from dataclasses import replace
from typing import Final

import numpy as np

from shmq import logs
from shmq.config.settings import Config
from shmq.errors import StoreError
from shmq.memory.block import address_of
from shmq.memory.words import load_word, store_word
from shmq.ring import doorbell
from shmq.shared import plan
from shmq.shared.broker_memory import BrokerMemory
from shmq.shared.commit import STORE_MS
from shmq.shared.local_sessions import Polled
from shmq.store.checkpoint import CheckpointFile
from shmq.store.flush import flush_range
from shmq.store.log import LogDirectory
from shmq.store.segment import Segment
from shmq.store.store_files import StorePaths
from shmq.store.watermarks import FLUSHED

PAGE_BYTES: Final = 4096
CHECKPOINT_NS: Final = 1_000_000_000
POPULATE_BYTES: Final = 4 * 1024 * 1024
POPULATE_AHEAD_BYTES: Final = 16 * 1024 * 1024


class Flusher:
    """Owned by the writer, which calls everything but `_run`.

    Attributes:
        failure: why no message can be promised any more; empty while all is well.
        news: address of a word, not 0 where the writer should look at this object again.
    """

    def __init__(
        self, config: Config, memory: BrokerMemory, paths: StorePaths, directory: LogDirectory
    ) -> None:
        self.failure = ""
        self._config = config
        self._memory = memory
        self._log = logs.get("flush")
        self._directory = directory
        self._checkpoint = CheckpointFile(paths.checkpoint)
        self._bell = memory.bell(plan.BELL_FLUSHER)
        workers = range(memory.plan.workers)
        self._listeners = [memory.bell(plan.BELL_FIRST_WORKER + worker) for worker in workers]
        self._listeners.append(memory.bell(plan.BELL_CONDUCTOR))
        self._sessions = Polled(memory.sessions)
        self._dispatcher_bell = memory.bell(plan.BELL_DISPATCHER)
        self._is_sync = config.flush_disk_type == "SYNC_FLUSH"
        self._segments: list[Segment] = []
        self._changes: queue.SimpleQueue[Segment] = queue.SimpleQueue()
        self._prepared: queue.SimpleQueue[Segment | StoreError] = queue.SimpleQueue()
        self._news = np.zeros(1, dtype=np.int64)
        self.news = address_of(self._news)
        self._writer_bell = memory.bell(plan.BELL_WRITER)
        self._next_start = 0
        self._is_preparing = False
        self._is_awaited = False
        self._populated_bytes = 0
        self._flushed_ms = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="flush", daemon=True)

    def start(self, segment: Segment) -> None:
        """Begin, with the file that the writer appends to; what lies before it unflushed is opened too."""
        file_bytes = self._directory.file_bytes
        flushed = self._memory.watermarks.flushed
        for start in range(flushed - flushed % file_bytes, segment.start, file_bytes):
            self._segments.append(self._directory.open(start, writable=False))
        self._segments.append(segment)
        self._request_next(segment.end)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether the thread is there; it ends only when told to, or by an error that nobody foresaw."""
        return self._thread.is_alive()

    def wake(self) -> None:
        """Have it look at `appended` now."""
        doorbell.ring_bell(self._bell)

    @property
    def has_news(self) -> bool:
        """Whether something has happened since `heed` that the writer should know: a file, a failure."""
        return load_word(self.news) != 0

    def heed(self) -> None:
        """Take note of the news; the writer looks at everything after it."""
        store_word(self.news, 0)

    def take_next(self, start: int) -> Segment | None:
        """The file that begins where the current one ends; None while it is being made.

        Raises:
            StoreError: it cannot be made; asked again, it is tried again.
        """
        assert start == self._next_start
        self._is_awaited = True  # before the look: what comes after it rings the writer's bell
        try:
            prepared = self._prepared.get_nowait()
        except queue.Empty:
            return None
        self._is_awaited = False
        if isinstance(prepared, StoreError):
            self._request_next(start)
            raise prepared
        return prepared

    def retire(self, following: Segment) -> None:
        """The writer goes on in the next file; the full one is let go when it is flushed."""
        self._changes.put(following)
        self._request_next(following.end)

    def stop(self) -> None:
        """Flush all that is appended, write the checkpoint, end the thread, remove an unneeded file."""
        self._stopping = True
        self.wake()
        self._thread.join()
        self._checkpoint.close()

    def _request_next(self, start: int) -> None:
        self._next_start = start
        self._is_preparing = True
        self.wake()

    def _run(self) -> None:
        interval_ns = self._config.flush_interval_ms * 1_000_000
        thorough_ns = self._config.flush_thorough_interval_ms * 1_000_000
        thorough_at = checkpoint_at = time.monotonic_ns()
        while not self._stopping:
            doorbell.will_sleep(self._bell)
            if not (self._is_preparing or self._has_work() or self._stopping):
                doorbell.sleep(self._bell, min(interval_ns, CHECKPOINT_NS))
            now = time.monotonic_ns()
            least_pages = 0 if self._is_sync or now >= thorough_at else self._config.flush_least_pages
            if not least_pages:
                thorough_at = now + thorough_ns
            self._flush(least_pages)
            if self._is_preparing:
                self._prepare()
            self._populate()
            if now >= checkpoint_at:
                checkpoint_at = now + CHECKPOINT_NS
                self._write_checkpoint()
        self._flush(0)
        self._write_checkpoint()
        self._discard_prepared()
        for segment in self._segments[:-1]:
            segment.close()

    def _has_work(self) -> bool:
        return (
            self._is_sync
            and not self.failure
            and self._memory.watermarks.appended > self._memory.watermarks.flushed
        )

    def _flush(self, least_pages: int) -> None:
        while not self._changes.empty():
            self._segments.append(self._changes.get())
            self._populated_bytes = 0
        marks = self._memory.watermarks
        store_ms = load_word(self._memory.place("writer") + STORE_MS)
        appended, flushed = marks.appended, marks.flushed
        if self.failure or appended == flushed:
            return
        if appended // PAGE_BYTES - flushed // PAGE_BYTES < least_pages:
            return
        appended = min(appended, self._segments[-1].end)  # the writer has just moved on: the rest comes next
        try:
            flush_range(self._segments, flushed, appended)
        except StoreError as error:
            self.failure = str(error)
            self._log.error("the disk failed: no message is taken any more", reason=self.failure)
            self._tell_writer()
            return
        marks.move(FLUSHED, appended)
        self._flushed_ms = store_ms
        while self._segments[0].end <= appended and len(self._segments) > 1:
            self._segments.pop(0).close()
        for bell in self._listeners:
            doorbell.ring_for(bell, doorbell.FLUSHED)
        self._sessions.refresh()
        for session in self._sessions.sessions:
            doorbell.ring_stranger_for(self._memory.sessions.bell(session), doorbell.FLUSHED)
        if self._is_sync:
            doorbell.ring_bell(self._dispatcher_bell)

    def _write_checkpoint(self) -> None:
        if self.failure or not self._flushed_ms:
            return
        marks = self._memory.watermarks
        try:
            self._checkpoint.write(
                replace(
                    self._checkpoint.read(),
                    log_timestamp_ms=self._flushed_ms,
                    queues_timestamp_ms=marks.queues_ms,
                    confirmed_position=marks.flushed,
                )
            )
        except StoreError as error:
            self._log.error("the checkpoint stays as it was", reason=str(error))

    def _prepare(self) -> None:
        """Make the next file, so that the writer need not wait for it."""
        self._is_preparing = False
        start = self._next_start
        try:
            path = self._directory.file(start)
            made = (
                self._directory.open(start, writable=True) if path.exists() else self._directory.create(start)
            )
        except StoreError as error:
            self._prepared.put(error)
        else:
            made.populate(0, min(POPULATE_BYTES, made.size_bytes))
            self._prepared.put(made)
        if self._is_awaited:
            self._tell_writer()

    def _tell_writer(self) -> None:
        store_word(self.news, 1)
        doorbell.ring_bell(self._writer_bell)

    def _populate(self) -> None:
        """Keep pages ahead of the writer in memory, so that it never waits for one."""
        segment = self._segments[-1]
        reached = max(self._memory.watermarks.appended - segment.start, 0)
        wanted = min(reached + POPULATE_AHEAD_BYTES, segment.size_bytes)
        begin = max(self._populated_bytes, reached)
        if reached + POPULATE_AHEAD_BYTES // 2 > self._populated_bytes and begin < wanted:
            wanted = min(wanted, begin + POPULATE_BYTES)
            segment.populate(begin, wanted - begin)
            self._populated_bytes = wanted

    def _discard_prepared(self) -> None:
        """Remove the file made ready: after a clean stop nothing lies behind the log's end."""
        while not self._prepared.empty():
            prepared = self._prepared.get()
            if isinstance(prepared, Segment):
                prepared.close()
                prepared.path.unlink(missing_ok=True)
