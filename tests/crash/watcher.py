"""The watcher: it is the disk of a watched broker, and keeps its journal.

Before each call that changes a name or a size, and at the beginning and the end of each sync, it looks at the whole
store. A sync itself it answers in the system's place, after a while like that of a disk: what was seen at its beginning
is what it made durable, and before it is answered nobody may rely on it. A rule may have calls fail, or have syncs
answered that never take place.
"""

import array
import contextlib
import heapq
import os
import queue
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import count
from pathlib import Path
from random import Random
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from tests.crash.journal import PAGE_BYTES, ROOT, Change, Edit, File, Journal
from tests.crash.system_calls import Call, Listener, mapped_file, path_of

_WAIT_MS: Final = 100
_CONNECT_S: Final = 30.0
_MS_SYNC: Final = 4
_BY_DESCRIPTOR: Final = {"fsync", "fdatasync", "ftruncate", "fallocate", "pwrite64", "syncfs"}
_PAGES_MAX: Final = 1 << 40
_IDLE: Final = 8
"""A file that was looked at so often in vain is looked at more seldom,"""
_SELDOM: Final = 16
"""once in so many moments, and whenever it is synced."""


class Lie(Enum):
    """How a disk may be worse than what the broker relies on."""

    NEVER = auto()
    """A sync is answered, and nothing was written."""
    EARLY = auto()
    """A sync is answered at its beginning, as if whoever waits for it did not wait."""


Rule = Callable[[str, str], Lie | int | None]
"""From the name of a call and the path it is for, an error number to fail with, a lie, or None."""


@dataclass(slots=True)
class _Watched:
    """A file that is open here; idle: how many times it was looked at in vain."""

    descriptor: int
    inode: int
    size: int = -1
    idle: int = 0
    content: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))


def launched_under(socket_path: Path) -> list[str | Path]:
    """What to put before a command so that the watcher of that socket watches it."""
    return [sys.executable, Path(__file__).with_name("under_watch.py"), socket_path]


def _receive(listener: Listener, calls: "queue.SimpleQueue[Call | None]") -> None:
    """Take calls from the system as they come; None when nobody is left to make any."""
    with contextlib.suppress(EOFError):
        while True:
            call = listener.receive(_WAIT_MS)
            if call is not None:
                calls.put(call)
    calls.put(None)


class Watcher:
    """Watches whoever runs under `under_watch`, from a thread of its own.

    Attributes:
        journal: of everything so far; whole once the context has been left.
        socket_path: where `under_watch` is to hand its listener over.
        rule: may be replaced at any time.
    """

    def __init__(self, root: Path, seed: int, sync_s: float = 0.004, rule: Rule | None = None) -> None:
        """Begin with what is there, all of it durable.

        Args:
            root: the store's directory, all on one filesystem.
            seed: of how long each sync takes.
            sync_s: at the most.
            rule: how the disk misbehaves.
        """
        self.rule = rule
        self.journal = Journal()
        self.socket_path = root.with_name(root.name + ".watch")
        self.faults = 0
        self._root = root
        self._random = Random(seed)
        self._sync_s = sync_s
        self._lock = threading.Lock()
        self._numbers: dict[int, int] = {}
        self._fresh = count(ROOT + 1)
        self._tree: dict[tuple[int, str], int] = {}
        self._found: list[tuple[int, str, int, str]] = []
        self._watched: dict[int, _Watched] = {}
        self._resized: set[int] = set()
        self._due: list[tuple[float, int, Call, Callable[[int], None], int]] = []
        self._order = count()
        self._error: BaseException | None = None
        root.mkdir(parents=True, exist_ok=True)
        self._prefix = f"{root.resolve()}/"
        self._numbers[root.stat().st_ino] = ROOT
        self._look()
        self._sync_all(self.journal.moment)
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self.socket_path))
        self._server.listen(1)
        self._server.settimeout(_CONNECT_S)
        self._thread = threading.Thread(target=self._run, name="watcher")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the end of all who are watched."""
        self._thread.join()
        self._server.close()
        self.socket_path.unlink()
        for watched in self._watched.values():
            os.close(watched.descriptor)
        if self._error is not None:
            raise self._error

    def note(self, what: object) -> None:
        """Put into the journal what happened outside, now."""
        with self._lock:
            self.journal.notes.append((self.journal.moment, what))

    # The thread.

    def _run(self) -> None:
        try:
            connection, _ = self._server.accept()
            with connection:
                _, rights, _, _ = connection.recvmsg(1, socket.CMSG_SPACE(4))
            listener = Listener(array.array("i", rights[0][2])[0])
        except BaseException as error:  # noqa: BLE001 - raised again by who waits for the end
            self._error = error
            return
        calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        # In a thread of its own: until a call has been received, a signal ends it with EINTR, as no disk would.
        receiver = threading.Thread(target=_receive, args=(listener, calls), name="receiver")
        receiver.start()
        while True:
            call: Call | None = None
            with contextlib.suppress(queue.Empty):
                call = calls.get(timeout=self._wait_s())
                if call is None:
                    break
            if self._error is not None and call is not None:
                listener.go_on(call)
                continue
            try:
                with self._lock:
                    self._finish(listener)
                    if call is not None:
                        self._take(listener, call)
            except BaseException as error:  # noqa: BLE001 - whoever is watched must not hang for it
                self._error = error
                for _, _, waiting, _, _ in self._due:
                    listener.succeed(waiting)
                self._due.clear()
                if call is not None:
                    listener.go_on(call)
        receiver.join()
        with self._lock:
            self._look()
        listener.close()

    def _wait_s(self) -> float:
        return max(0.0, self._due[0][0] - time.monotonic()) if self._due else _WAIT_MS / 1000

    def _take(self, listener: Listener, call: Call) -> None:
        path, inode, at = self._target(call)
        if path is not None and path != self._prefix[:-1] and not path.startswith(self._prefix):
            listener.go_on(call)
            return
        verdict = self.rule(call.name, path) if self.rule is not None and path is not None else None
        if isinstance(verdict, int):
            self.faults += 1
            listener.fail(call, verdict)
            return
        self._look()
        begin_sync = self._sync_of(call, inode, at)
        if begin_sync is None:
            listener.go_on(call)
            return
        shown = self.journal.moment
        if verdict is Lie.NEVER:
            listener.succeed(call)
            return
        if verdict is Lie.EARLY:
            listener.succeed(call)
        due = time.monotonic() + self._random.random() * self._sync_s
        heapq.heappush(self._due, (due, next(self._order), call, begin_sync, shown))

    def _finish(self, listener: Listener) -> None:
        """Answer the syncs whose time is over."""
        while self._due and self._due[0][0] <= time.monotonic():
            _, _, call, sync, shown = heapq.heappop(self._due)
            self._look()
            sync(shown)
            self.journal.syncs.append((self.journal.moment, call.name))
            listener.succeed(call)

    def _target(self, call: Call) -> tuple[str | None, int, int]:
        """The path that a call is for, as far as that is easily known, its inode, and where a mapped range begins."""
        if call.name == "msync":
            return mapped_file(call.thread, call.arguments[0])
        if call.name in _BY_DESCRIPTOR:
            path = path_of(call.thread, call.arguments[0])
            try:
                return path, Path(f"/proc/{call.thread}/fd/{call.arguments[0]}").stat().st_ino, 0
            except OSError:
                return path, 0, 0
        return None, 0, 0

    def _sync_of(self, call: Call, inode: int, at: int) -> Callable[[int], None] | None:
        """What a call makes durable; None where it does not sync."""
        match call.name:
            case "msync" if call.arguments[2] & _MS_SYNC:
                number = self._numbers.get(inode)
                if number is None:  # of a file that has no name any more
                    return lambda _shown: None
                self._read(number)
                first, end = at // PAGE_BYTES, -(-(at + call.arguments[1]) // PAGE_BYTES)
                return lambda shown: self.journal.sync_pages(number, first, end, shown)
            case "fsync" | "fdatasync":
                return self._sync_of_descriptor(self._number_of(call, inode))
            case "sync" | "syncfs":
                for each in self._watched:
                    self._read(each)
                return self._sync_all
            case "ftruncate" | "fallocate":
                number = self._number_of(call, inode)
                if number is not None:
                    self._resized.add(number)
        return None

    def _sync_of_descriptor(self, number: int | None) -> Callable[[int], None] | None:
        if number is None:
            return None
        if number in self.journal.directories:
            return lambda shown: self.journal.sync_names(number, shown)
        self._read(number)
        return lambda shown: self.journal.sync_pages(number, 0, _PAGES_MAX, shown)

    def _number_of(self, call: Call, inode: int) -> int | None:
        """Which file a descriptor is open on, also one that has no name yet; None where who calls has just been killed."""
        number = self._numbers.get(inode)
        if number is None:
            number = self._add(inode, f"/proc/{call.thread}/fd/{call.arguments[0]}")
            if number in self._watched:
                self._read(number)
        return number

    def _sync_all(self, shown: int) -> None:
        for number in self.journal.files:
            self.journal.sync_pages(number, 0, _PAGES_MAX, shown)
        self.journal.sync_names(None, shown)

    # To look at the store.

    def _look(self) -> None:
        """Begin a moment: note what has changed."""
        self.journal.moment += 1
        found = list(self._walk())
        while found != self._found:  # until it is the same twice: somebody may be at it
            self._found, found = found, list(self._walk())
        tree: dict[tuple[int, str], int] = {}
        for parent, name, inode, path in found:
            number = self._numbers.get(inode)
            if number is None:
                number = self._add(inode, path)
            if number is not None:
                tree[self._numbers[parent], name] = number
        self._compare(tree)
        for number, watched in self._watched.items():
            if watched.idle < _IDLE or (number + self.journal.moment) % _SELDOM == 0:
                self._read(number)

    def _walk(self) -> Iterator[tuple[int, str, int, str]]:
        """Directory's inode, name, inode and path of everything below the root, directories first."""
        left = [(self._root.stat().st_ino, str(self._root))]
        while left:
            inode, path = left.pop()
            try:
                entries = sorted(os.scandir(path), key=lambda each: each.name)
            except FileNotFoundError:
                continue
            for entry in entries:
                yield inode, entry.name, entry.inode(), entry.path
                if entry.is_dir(follow_symlinks=False):
                    left.append((entry.inode(), entry.path))

    def _add(self, inode: int, path: str) -> int | None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # it has just gone
            return None
        number = self._numbers[inode] = next(self._fresh)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            self.journal.directories.add(number)
        else:
            self.journal.files[number] = File(number)
            self._watched[number] = _Watched(descriptor, inode)
        return number

    def _compare(self, tree: dict[tuple[int, str], int]) -> None:
        """Note the changes of names; forget what has none any more."""
        if tree == self._tree:
            return
        edits: dict[int, list[Edit]] = {}
        for key, child in self._tree.items():
            if key not in tree:
                edits.setdefault(child, []).append(Edit(*key, None))
        for key, child in tree.items():
            if self._tree.get(key) != child:
                edits.setdefault(child, []).append(Edit(*key, child))
        for together in edits.values():
            self.journal.changes.append(Change(self.journal.moment, tuple(together)))
        named = set(tree.values())
        gone = set(self._tree.values()) - named
        self._tree = tree
        self._numbers = {inode: number for inode, number in self._numbers.items() if number not in gone}
        for number in gone & set(self._watched):
            os.close(self._watched.pop(number).descriptor)

    def _read(self, number: int) -> None:
        """Note what has changed in a file."""
        watched = self._watched[number]
        size = os.fstat(watched.descriptor).st_size
        if size != watched.size:
            watched.size = size
            self.journal.see_size(number, size, is_set=number in self._resized)
            self._resized.discard(number)
        room = max(-(-size // PAGE_BYTES) * PAGE_BYTES, len(watched.content))
        watched.idle += 1
        fresh = np.zeros(room, np.uint8)
        if size:
            os.preadv(watched.descriptor, [memoryview(fresh)[:size]], 0)
        before = watched.content
        if len(before) < room:
            before = np.concatenate([before, np.zeros(room - len(before), np.uint8)])
        words = PAGE_BYTES // 8
        differs = fresh.view(np.int64).reshape(-1, words) != before.view(np.int64).reshape(-1, words)
        for page in np.flatnonzero(differs.any(axis=1)).tolist():
            watched.idle = 0
            begin = page * PAGE_BYTES
            self.journal.see_page(number, page, fresh[begin : begin + PAGE_BYTES].tobytes())
        watched.content = fresh
