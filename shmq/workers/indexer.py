"""The indexer: follows the dispatched log and puts messages' keys into the key index; alone moves `indexed`.

It is a thread of the dispatcher's process, since the queues must not wait for it: a key may be found some milliseconds
after its message can be consumed. While messages come it looks every few milliseconds, and nobody has to wake it; when
none has come for a while, it sleeps until the dispatcher rings. Behind a crash, or where index files were lost, it
comes to the log's end in steps, as fast as it can, while the broker serves. What the dispatcher has seen to have no
keys it passes over without a look.

When files of the log have gone it lets go of the oldest index files. The mark that counts them no more is written first:
so no crash makes recovery miss one.

A full disk is an error that it tells of once, and it tries again: what is to be indexed is in the log. What it wrote is
synced by the dispatcher's thread for that; behind each sync the mark is written from which recovery
knows how much of the index to believe. Killed, a successor begins at `indexed`.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from shmq import logs
from shmq.config.settings import Config
from shmq.errors import StoreError
from shmq.memory.syscalls import set_timer_slack
from shmq.memory.words import load_word
from shmq.ring import doorbell
from shmq.shared import gates, plan
from shmq.shared.broker_memory import BrokerMemory
from shmq.store.key_build import KeyBuild
from shmq.store.key_files import KeyFiles
from shmq.store.key_mark import KeyMark, write_key_mark
from shmq.store.log import LogDirectory, LogReader
from shmq.store.position import NONE
from shmq.store.segment import Segment
from shmq.store.store_files import StorePaths, StoreSizes, sync_directory
from shmq.store.watermarks import FULL_KEYS_MS, INDEXED
from shmq.workers.sync_pause import sync_pause_ns
from shmq.workers.tended_thread import TendedThread

STEP_BYTES: Final = 4 * 1024 * 1024
NAP_NS: Final = 10_000_000
IDLE_AFTER_NS: Final = 100_000_000
"""When nothing has come for so long it has to be woken."""
IDLE_NS: Final = 60_000_000_000
RETRY_NS: Final = 1_000_000_000
SYNC_NS: Final = 10_000_000_000
"""A sync writes most of a large table: there is one in so long at most, and a crash costs so much of the log to be
indexed again, or what `sync_pause.py` makes of it."""
TIMER_SLACK_NS: Final = 1_000_000


class Indexer:
    """Owned by the dispatcher, which calls everything but `_run`."""

    def __init__(
        self,
        config: Config,
        memory: BrokerMemory,
        log: LogReader,
        keyed_end: Callable[[], int],
        on_end: Callable[[], None],
    ) -> None:
        """Map the newest index file.

        Args:
            config: the settings.
            memory: for the watermarks.
            log: the dispatcher's.
            keyed_end: says behind which position of what is dispatched no record has keys.
            on_end: called when the thread has ended.
        """
        paths = StorePaths.of(config)
        self._marks = memory.watermarks
        self._keyed_end = keyed_end
        self._paths = paths
        self._log = logs.get("indexer")
        self._bell = memory.bell(plan.BELL_INDEXER)
        self._files = KeyFiles(paths.index, StoreSizes.of(config).key_index)
        self._reader = LogReader(paths.commitlog, config.commit_log_file_bytes, lender=log)
        self._build = KeyBuild(self._reader, self._files)
        self._stopping = False
        self._problem = ""
        self._moved_ns = 0
        self._directory = LogDirectory(paths.commitlog, config.commit_log_file_bytes)
        self._cleanups_at = memory.place("gates") + gates.CLEANUPS
        self._cleanups = NONE
        self._synced = 0
        self._sync_at_ns = 0
        self._is_syncing = False
        self._sync: Callable[[Callable[[], None]], None] = _refuse
        self._thread = TendedThread("indexer", self._run, on_end)

    def start(self, sync: Callable[[Callable[[], None]], None]) -> None:
        """Begin at `indexed`.

        Args:
            sync: has a thread call what it is given, which raises OSError or StoreError where the disk fails.
        """
        self._sync = sync
        self._synced = self._marks.indexed
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether the thread is there."""
        return self._thread.is_running

    @property
    def is_done(self) -> bool:
        """Whether it has come as far as the dispatcher, or cannot."""
        return self._marks.indexed >= self._marks.dispatched or bool(self._problem) or not self.is_running

    def stop(self) -> None:
        """End the thread, and have what it did synced."""
        self._stopping = True
        doorbell.ring_bell(self._bell)
        self._thread.join()
        self._hand_over()
        self._files.close()
        self._reader.close()

    def _run(self) -> None:
        set_timer_slack(TIMER_SLACK_NS)
        while not self._stopping:
            if self._has_to_let_go and not self._is_syncing:
                self._let_go()
            begin, end = self._marks.indexed, self._marks.dispatched
            now_ns = time.monotonic_ns()
            if begin < end and self._index(begin, end):
                self._moved_ns = now_ns
            else:
                self._rest(end, now_ns)
            if now_ns >= self._sync_at_ns and self._synced < self._marks.indexed and not self._is_syncing:
                self._hand_over()

    def _index(self, begin: int, end: int) -> bool:
        """Index a stretch of the log; False where that is not possible now."""
        # Read after the watermark `end`, so it is true for all below that.
        keyed_end = min(self._keyed_end(), end)
        if begin >= keyed_end:
            self._marks.move(INDEXED, end)
            return True
        try:
            step = self._build.step(begin, keyed_end, STEP_BYTES, time.time_ns() // 1_000_000)
        except StoreError as error:
            if str(error) != self._problem:
                self._problem = str(error)
                self._log.error("cannot index keys", reason=self._problem)
            return False
        self._problem = ""
        if step.skipped != NONE:
            self._log.warning(
                "the rest of a log file has no keys: no record lies there", position=step.skipped
            )
        self._marks.move(INDEXED, step.reached)
        return True

    def _rest(self, seen: int, now_ns: int) -> None:
        """Sleep until there may be something to do."""
        bell = self._bell
        timeout_ns = RETRY_NS if self._problem else NAP_NS
        is_idle = not (self._problem or self._has_to_let_go) and now_ns - self._moved_ns > IDLE_AFTER_NS
        if is_idle:
            timeout_ns = max(self._sync_at_ns - now_ns, NAP_NS) if self._synced < seen else IDLE_NS
            doorbell.want(bell, doorbell.DISPATCHED)
        doorbell.will_sleep(bell)
        has_news = self._marks.dispatched != seen or self._has_to_let_go
        if self._stopping or (is_idle and has_news):
            doorbell.is_awake(bell)
        else:
            doorbell.sleep(bell, timeout_ns)
        doorbell.want(bell, 0)

    @property
    def _has_to_let_go(self) -> bool:
        return load_word(self._cleanups_at) != self._cleanups

    def _log_begin(self) -> int:
        """Where the log on disk begins: after a death of all processes what is still there is served again."""
        return min(self._directory.begin(), self._marks.trimmed)

    def _let_go(self) -> None:
        """Unmap log files that are gone, and have index files removed whose records all are."""
        self._cleanups = load_word(self._cleanups_at)  # before anything is looked at
        self._reader.forget_below(self._marks.trimmed)
        removed = self._files.forget_below(self._log_begin())
        if removed:
            self._hand_over(removed)

    def _hand_over(self, removed: Sequence[Path] = ()) -> None:
        """Have what was written synced, and the mark written; then have files removed that it does not count."""
        indexed = self._marks.indexed
        if indexed == self._synced and not removed:
            return
        mark, full_ms = self._files.mark(indexed), self._files.full_ms
        segments = self._files.take_unsynced()
        self._synced = indexed
        self._is_syncing = True
        self._sync(lambda: self._vouch(segments, mark, full_ms, removed))

    def _vouch(self, segments: list[Segment], mark: KeyMark, full_ms: int, removed: Sequence[Path]) -> None:
        """In the other thread: sync files, then write what they hold for certain."""
        begin_ns = time.monotonic_ns()
        for segment in segments:
            os.fdatasync(segment.descriptor)
        if segments:
            sync_directory(self._paths.index)
        write_key_mark(self._paths.index_checkpoint, mark)
        if full_ms > self._marks.full_keys_ms:
            self._marks.move(FULL_KEYS_MS, full_ms)
        self._remove(removed)
        now_ns = time.monotonic_ns()
        self._sync_at_ns = now_ns + sync_pause_ns(SYNC_NS, now_ns - begin_ns)
        self._is_syncing = False

    def _remove(self, paths: Sequence[Path]) -> None:
        """In the other thread: remove files, the oldest first; what stays is found by a successor."""
        try:
            for path in paths:
                path.unlink(missing_ok=True)
        except OSError as error:
            self._log.error("index files stay", reason=str(error))


def _refuse(_work: Callable[[], None]) -> None:
    raise AssertionError("the indexer was not started")
