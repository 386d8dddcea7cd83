"""The flush thread: makes the log durable, and the checkpoint true.

It alone moves `flushed`. Under ASYNC_FLUSH it syncs when enough pages are dirty or long enough has passed;
under SYNC_FLUSH whenever the writer wakes it, once for all that wait, in a kernel (`shared/group_commit.py`). The
checkpoint vouches only for what has been synced before it was written.

A sync that fails is final: the system may have thrown the pages away, and would call the next one a success. So the log
is closed (`shared/gates.py`), for a successor as well, and a file says so to the next recovery, which then believes
the disk alone.

It is a thread of the writer's process, asleep in a system call or in the kernel nearly always. Killed with
the writer, the successor's thread takes `flushed` up where it stands: whatever is above is synced again.
"""

import os
import queue
import time
from dataclasses import replace
from typing import Final

import numpy as np

from shmq import logs
from shmq.config.settings import Config
from shmq.errors import StoreError
from shmq.memory.block import address_of
from shmq.memory.syscalls import set_timer_slack
from shmq.memory.words import load_word, store_word
from shmq.ring import doorbell
from shmq.shared import gates, group_commit, plan
from shmq.shared.broker_memory import BrokerMemory
from shmq.shared.commit import STORE_MS
from shmq.shared.listeners import Listeners
from shmq.store.checkpoint import CheckpointFile
from shmq.store.flush import flush_range
from shmq.store.log import LogDirectory
from shmq.store.segment import Segment
from shmq.store.store_files import StorePaths
from shmq.store.transient_pool import TransientPool
from shmq.store.watermarks import FLUSHED
from shmq.workers.log_ahead import LogAhead
from shmq.workers.tended_thread import TendedThread

PAGE_BYTES: Final = 4096
CHECKPOINT_NS: Final = 1_000_000_000
IDLE_NS: Final = 60_000_000_000
"""So long it sleeps when all is flushed and vouched for, unless the writer wakes it."""
TIMER_SLACK_NS: Final = 1000
"""So exact are the naps in which a group is waited for."""


class Flusher:
    """Owned by the writer, which calls everything but `_run`.

    Attributes:
        news: address of a word, not 0 where the writer should look at this object again.
        ahead_at: address of a word: when the log's end has passed it, `look_ahead` is due.
    """

    def __init__(
        self,
        config: Config,
        memory: BrokerMemory,
        paths: StorePaths,
        directory: LogDirectory,
        pool: TransientPool | None = None,
    ) -> None:
        self._failed_at = memory.place("gates") + gates.SYNC_FAILED
        self._sync_failed = paths.sync_failed
        self._config = config
        self._memory = memory
        self._log = logs.get("flush")
        self._directory = directory
        self._checkpoint = CheckpointFile(paths.checkpoint)
        self._bell = memory.bell(plan.BELL_FLUSHER)
        self._listeners = Listeners(memory)
        self._dispatcher_bell = memory.bell(plan.BELL_DISPATCHER)
        self._is_sync = config.flush_disk_type == "SYNC_FLUSH"
        self._segments: list[Segment] = []
        self._changes: queue.SimpleQueue[Segment] = queue.SimpleQueue()
        self._news = np.zeros(1, dtype=np.int64)
        self.news = address_of(self._news)
        self._writer_bell = memory.bell(plan.BELL_WRITER)
        self._ahead = LogAhead(
            directory, memory.watermarks, self.tell_writer, is_sync=self._is_sync, pool=pool
        )
        self.ahead_at = self._ahead.wanted_at
        self._duty = np.zeros((), dtype=group_commit.LAYOUT)
        self._duty_at = int(self._duty.ctypes.data)
        self._flushed_ms = 0
        self._vouched = (0, 0, 0)
        self._stopping = False
        self._thread = TendedThread("flush", self._run, self.tell_writer)

    def start(self, segment: Segment) -> None:
        """Begin, with the file that the writer appends to; what lies before it unflushed is opened too."""
        file_bytes = self._directory.file_bytes
        flushed = self._memory.watermarks.flushed
        for start in range(flushed - flushed % file_bytes, segment.start, file_bytes):
            self._segments.append(self._directory.open(start, writable=False))
        self._segments.append(segment)
        self._prepare_duty()
        self._tell_flushed()  # a predecessor may have died before it did
        self._ahead.start(segment)
        self._thread.start()

    @property
    def has_failed(self) -> bool:
        """Whether a sync failed, in this life of the process or an earlier one: no message can be promised any more."""
        return load_word(self._failed_at) != 0

    @property
    def is_running(self) -> bool:
        """Whether the threads are there; they end only when told to, or by an error that nobody foresaw."""
        return self._thread.is_running and self._ahead.is_running

    def wake(self) -> None:
        """Have it look at `appended` now."""
        doorbell.ring_bell(self._bell)

    def look_ahead(self) -> None:
        """Have pages made ready where the log has come near the end of those that are."""
        if self._memory.watermarks.appended > load_word(self.ahead_at):
            self._ahead.wake()

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
        return self._ahead.take_next(start)

    def retire(self, following: Segment) -> None:
        """The writer goes on in the next file; the full one is let go when it is flushed."""
        self._changes.put(following)
        self._ahead.go_on(following)
        group_commit.want_python(self._duty_at)

    def stop(self) -> None:
        """Flush all that is appended, write the checkpoint, end the threads, remove an unneeded file."""
        self._stopping = True
        group_commit.want_python(self._duty_at)
        self._thread.join()
        self._ahead.stop()
        self._checkpoint.close()

    def _run(self) -> None:
        set_timer_slack(TIMER_SLACK_NS)
        interval_ns = self._config.flush_interval_ms * 1_000_000
        thorough_ns = self._config.flush_thorough_interval_ms * 1_000_000
        checkpoint_at = time.monotonic_ns()
        thorough_at = checkpoint_at + thorough_ns
        while True:
            store_word(self._duty_at + group_commit.WANTED, 0)  # before anything is looked at
            if self._stopping:
                break
            now = time.monotonic_ns()
            least_pages = 0 if self._is_sync or now >= thorough_at else self._config.flush_least_pages
            if not least_pages:
                thorough_at = now + thorough_ns
            self._flush(least_pages)
            if now >= checkpoint_at:
                checkpoint_at = now + CHECKPOINT_NS
                self._write_checkpoint()
            self._wait(interval_ns, checkpoint_at)
        self._flush(0)
        self._write_checkpoint()
        for segment in self._segments[:-1]:
            segment.close()

    def _wait(self, interval_ns: int, checkpoint_at: int) -> None:
        """Sleep until it is time; under SYNC_FLUSH sync meanwhile whatever comes."""
        if self._is_sync and not self.has_failed:
            self._flush_groups(checkpoint_at)
            return
        marks = self._memory.watermarks
        is_idle = marks.appended == marks.flushed
        if is_idle:
            doorbell.want(self._bell, doorbell.APPENDED)  # before the last look at what is appended
        doorbell.will_sleep(self._bell)
        if load_word(self._duty_at + group_commit.WANTED) or (is_idle and marks.appended != marks.flushed):
            doorbell.is_awake(self._bell)
        else:
            doorbell.sleep(self._bell, self._idle_ns if is_idle else interval_ns)
        doorbell.want(self._bell, 0)

    def _flush_groups(self, until_ns: int) -> None:
        """Let the kernel sync groups in the current file."""
        duty, segment = self._duty, self._segments[-1]
        duty["address"], duty["begin"], duty["end"] = segment.address, segment.start, segment.end
        is_idle = self._memory.watermarks.appended == self._memory.watermarks.flushed
        duty["until_ns"] = max(until_ns, time.monotonic_ns() + (self._idle_ns if is_idle else CHECKPOINT_NS))
        self._listeners.wake(
            doorbell.FLUSHED
        )  # who came lately is in nobody's list: what it waits for may be there
        duty["changes_seen"] = self._listeners.changes
        group_commit.flush_groups(self._duty_at)
        self._flushed_ms = int(duty["store_ms"]) or self._flushed_ms
        if duty["error"]:
            self._fail(f"cannot sync {segment.path}: {os.strerror(int(duty['error']))}")

    @property
    def _idle_ns(self) -> int:
        """How long to sleep while nothing is appended: not for long before the checkpoint says all that it will."""
        marks = self._memory.watermarks
        is_vouched = self._vouched == (self._flushed_ms, marks.queues_ms, marks.full_keys_ms)
        return IDLE_NS if is_vouched or not self._flushed_ms else CHECKPOINT_NS

    def _prepare_duty(self) -> None:
        memory, duty = self._memory, self._duty
        duty["watermarks"] = memory.place("watermarks")
        duty["page"] = memory.place("writer")
        duty["dispatcher_bell"] = self._dispatcher_bell
        duty["bell"] = self._bell
        duty["listeners"] = self._listeners.address
        duty["changes"] = memory.sessions.changes_address

    def _flush(self, least_pages: int) -> None:
        while not self._changes.empty():
            self._segments.append(self._changes.get())
        marks = self._memory.watermarks
        store_ms = load_word(self._memory.place("writer") + STORE_MS)
        appended, flushed = marks.appended, marks.flushed
        if self.has_failed:
            return
        if appended == flushed:
            self._flushed_ms = store_ms  # the last sync may have looked for it a moment too early
            return
        if appended // PAGE_BYTES - flushed // PAGE_BYTES < least_pages:
            return
        appended = min(appended, self._segments[-1].end)  # the writer has just moved on: the rest comes next
        try:
            flush_range(self._segments, flushed, appended)
        except StoreError as error:
            self._fail(str(error))
            return
        marks.move(FLUSHED, appended)
        self._flushed_ms = store_ms
        while self._segments[0].end <= appended and len(self._segments) > 1:
            self._let_go(self._segments.pop(0))
        self._tell_flushed()

    def _tell_flushed(self) -> None:
        self._listeners.wake(doorbell.FLUSHED)
        if self._is_sync:
            doorbell.ring_bell(self._dispatcher_bell)

    def _let_go(self, segment: Segment) -> None:
        """Close a full file that is on disk, whose age counts from now: not all systems note when a mapping is written."""
        try:
            os.utime(segment.descriptor)
        except OSError as error:
            self._log.warning("a file keeps its time", path=str(segment.path), reason=error.strerror)
        segment.close()

    def _write_checkpoint(self) -> None:
        if self.has_failed or not self._flushed_ms:
            return
        marks = self._memory.watermarks
        vouched = flushed_ms, queues_ms, keys_ms = self._flushed_ms, marks.queues_ms, marks.full_keys_ms
        try:
            self._checkpoint.write(
                replace(
                    self._checkpoint.read(),
                    log_timestamp_ms=flushed_ms,
                    queues_timestamp_ms=queues_ms,
                    index_timestamp_ms=keys_ms,
                    confirmed_position=marks.flushed,
                )
            )
            self._vouched = vouched
        except StoreError as error:
            self._log.error("the checkpoint stays as it was", reason=str(error))

    def _fail(self, reason: str) -> None:
        store_word(self._failed_at, 1)
        self._log.critical(
            "the disk failed: no message is taken until the broker is started anew", reason=reason
        )
        self.tell_writer()
        try:
            self._sync_failed.write_text(reason, encoding="utf-8")
        except OSError as error:
            self._log.error(
                "recovery will not know of it", path=str(self._sync_failed), reason=error.strerror
            )

    def tell_writer(self) -> None:
        """Have the writer look at everything again."""
        store_word(self.news, 1)
        doorbell.ring_bell(self._writer_bell)
