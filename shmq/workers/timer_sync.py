"""A thread of the conductor's process that makes timers durable: first log and wheel, then the file that says how far.

It works on descriptors of its own. The conductor gives it what the check file is to say, taken before the sync, and looks
now and then whether it is done: so the file never says more than is on disk.
"""

import queue
import threading
from typing import Any

from shmq.errors import StoreError
from shmq.store.store_files import StorePaths
from shmq.store.timer_check import TimerCheck, write_timer_check
from shmq.store.timer_store import TimerStore
from shmq.workers.tended_thread import TendedThread


class TimerSync:
    """Owned by the conductor, which calls everything but `_run`.

    Attributes:
        written: what the check file says by now.
    """

    def __init__(self, store: TimerStore, paths: StorePaths, log: Any) -> None:
        """Prepare; `start` starts the thread."""
        self.written = store.check
        self._store = store
        self._path = paths.timer_check
        self._log = log
        self._jobs: queue.SimpleQueue[TimerCheck | None] = queue.SimpleQueue()
        self._is_working = False
        self._problem = ""
        self._thread = TendedThread("timer-sync", self._run, threading.Event().set)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def offer(self, check: TimerCheck) -> bool:
        """Have this written once what it speaks of is on disk; False where the thread is still at the one before."""
        assert self._thread.is_running, "the timer sync thread has died"
        if self._is_working or check == self.written:
            return False
        self._is_working = True
        self._jobs.put(check)
        return True

    def close(self, check: TimerCheck) -> None:
        """End the thread; what is said last is written by the caller's own."""
        self._jobs.put(None)
        if self._thread.ident is not None:
            self._thread.join()
        self._write(check)

    def _run(self) -> None:
        while (check := self._jobs.get()) is not None:
            self._write(check)
            self._is_working = False

    def _write(self, check: TimerCheck) -> None:
        try:
            self._store.log.sync(self.written.log_flushed, check.log_flushed)
            self._store.wheel.sync()
            write_timer_check(self._path, check, is_durable=True)
        except (OSError, StoreError) as error:
            if str(error) != self._problem:
                self._problem = str(error)
                self._log.error("timers could not be made durable", reason=self._problem)
            return
        self.written = check
