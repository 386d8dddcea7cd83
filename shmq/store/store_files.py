"""What lies in a store's directory beside the log: names and sizes, the lock, the mark of an unclean exit.

    commitlog/      records, one sequence of files of `commit_log_file_bytes`
    consumequeue/   <topic>/<queue id>/, sequences of files of `consume_queue_file_bytes`
    consumequeue_ext/  <topic>/<queue id>/, units that queue entries lead to, files of `queue_extension_file_bytes`
    index/          hash indexes of keys
    config/         JSON documents, each with its .bak; timercheck, how far timers have come
    timerlog/       units of timers, one sequence of files of `timer_log_file_bytes`
    timerwheel      from a moment to its timers
    checkpoint      from where recovery may start
    queues.checkpoint  what every queue was at the last clean end; RocketMQ does not look here
    index.checkpoint  how far the key index is on disk; RocketMQ does not look here
    abort           exists while the store is open, and after a crash; holds a process id
    lock            its first byte is locked by whoever has the store open
    filters.shared  the expressions of consumers, for the dispatcher; RocketMQ does not look here
    sync.failed     what the system said when the log could not be synced; RocketMQ does not look here
    quarantine/     bytes that recovery cut off; RocketMQ does not look here

A start goes in this order: `check_layout` (reads only), `StoreLock` (before any file is read), `was_left_open`,
`mark_open` (durable before the first write, recovery's own included). A clean end goes `mark_closed`, then the
lock. A crash in between leaves `abort`, whatever else it leaves.
"""

import contextlib
import errno
import fcntl
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shmq.config.settings import Config
from shmq.errors import StoreError
from shmq.store.key_shape import KeyIndexShape

COMMIT_LOG_FILE_BYTES: Final = 1 << 30
CONSUME_QUEUE_FILE_BYTES: Final = 6_000_000
CONSUME_QUEUE_UNIT_BYTES: Final = 20

_LOCK_TEXT: Final = b"lock"
_FIRST_DUTY: Final = 1
_DUTIES_MAX: Final = 1024
_FLOCK: Final = struct.Struct("hhqqi4x")  # struct flock, as 64-bit Linux has it
_FREE_BYTES_MIN: Final = 16 << 20
"""Below this a start would fail half-way, at the first queue file or document."""


@dataclass(frozen=True, slots=True)
class StorePaths:
    """Where everything of a store lies below its root."""

    root: Path
    commit_log_directory: Path | None = None

    @classmethod
    def of(cls, config: Config) -> "StorePaths":
        """Where a configuration puts them."""
        directory = config.commit_log_directory
        return cls(Path(config.store_root), Path(directory) if directory else None)

    @property
    def commitlog(self) -> Path:
        """The directory of the commit log, which alone may lie elsewhere."""
        return self.commit_log_directory or self.root / "commitlog"

    @property
    def consumequeue(self) -> Path:
        """The directory of the queues, by topic and queue id."""
        return self.root / "consumequeue"

    @property
    def extensions(self) -> Path:
        """The directory of the extensions of the queues, by topic and queue id."""
        return self.root / "consumequeue_ext"

    @property
    def shared_filters(self) -> Path:
        """The file by which the dispatcher learns the expressions of consumers; RocketMQ does not know it."""
        return self.root / "filters.shared"

    @property
    def index(self) -> Path:
        """The directory of the key indexes."""
        return self.root / "index"

    @property
    def index_checkpoint(self) -> Path:
        """The file that says how far the key index is on disk; RocketMQ does not know it."""
        return self.root / "index.checkpoint"

    @property
    def config(self) -> Path:
        """The directory of the documents."""
        return self.root / "config"

    @property
    def timer_log(self) -> Path:
        """The directory of the units of timers."""
        return self.root / "timerlog"

    @property
    def timer_wheel(self) -> Path:
        """The file that leads from a moment to its timers."""
        return self.root / "timerwheel"

    @property
    def timer_check(self) -> Path:
        """The file that says how far timers have come."""
        return self.config / "timercheck"

    @property
    def flights(self) -> Path:
        """The file of popped messages, of SQLite; RocketMQ does not know it."""
        return self.root / "pop" / "pop.db"

    @property
    def checkpoint(self) -> Path:
        """The file that says where recovery may start."""
        return self.root / "checkpoint"

    @property
    def queues_checkpoint(self) -> Path:
        """The file that says what every queue was when the store was closed; RocketMQ does not know it."""
        return self.root / "queues.checkpoint"

    @property
    def abort(self) -> Path:
        """The file that marks an open store."""
        return self.root / "abort"

    @property
    def lock(self) -> Path:
        """The file whose first byte is locked."""
        return self.root / "lock"

    @property
    def sync_failed(self) -> Path:
        """The file that says that what the system has cached of the log may not be what is on disk."""
        return self.root / "sync.failed"

    @property
    def quarantine(self) -> Path:
        """The directory of what recovery cut off."""
        return self.root / "quarantine"


@dataclass(frozen=True, slots=True)
class StoreSizes:
    """The sizes that no file of a store states: all who open it must agree on them."""

    commit_log_file_bytes: int = COMMIT_LOG_FILE_BYTES
    consume_queue_file_bytes: int = CONSUME_QUEUE_FILE_BYTES
    key_index: KeyIndexShape = KeyIndexShape()  # noqa: RUF009 - it is immutable
    extension_file_bytes: int = 0  # 0: queues get no extensions

    @classmethod
    def of(cls, config: Config) -> "StoreSizes":
        """The sizes that a configuration states."""
        key_index = KeyIndexShape(config.key_index_slots, config.key_index_entries)
        extension_bytes = config.queue_extension_file_bytes if config.queue_extension_enable else 0
        return cls(config.commit_log_file_bytes, config.consume_queue_file_bytes, key_index, extension_bytes)

    def __post_init__(self) -> None:
        assert 0 < self.commit_log_file_bytes < 1 << 31
        assert 0 < self.consume_queue_file_bytes < 1 << 31
        assert self.consume_queue_file_bytes % CONSUME_QUEUE_UNIT_BYTES == 0


class StoreLock:
    """The exclusive right to a store, held against Java brokers too.

    It is a POSIX record lock, as Java takes it. The kernel drops it when this process ends, or closes any
    descriptor of the file: so nobody else here may open `lock`. Children do not inherit it.

    Raises:
        StoreError: another process has the store open.
    """

    def __init__(self, paths: StorePaths) -> None:
        self._descriptor = os.open(paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 0)
        except OSError as error:
            os.close(self._descriptor)
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise StoreError(
                    f"the store {paths.root} is open in another broker{_holder(paths)}"
                ) from error
            raise
        os.pwrite(self._descriptor, _LOCK_TEXT, 0)

    def wait_for_heirs(self, on_wait: Callable[[int], None]) -> None:
        """Wait until the processes of a dead supervisor have ended, which may still write to the store.

        Args:
            on_wait: told the pid of one of them, where there is any.
        """
        everybody = (_DUTIES_MAX, _FIRST_DUTY)
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, *everybody)
        except (BlockingIOError, PermissionError):
            on_wait(self._first_holder())
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX, *everybody)
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, *everybody)

    def _first_holder(self) -> int:
        return _holder_of(self._descriptor, _FIRST_DUTY, _DUTIES_MAX) or 0

    def release(self) -> None:
        """Give the store back; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)  # which also drops the lock
            self._descriptor = -1


def take_duty(paths: StorePaths, duty: int) -> None:
    """Take the exclusive right to one duty in a store, for as long as this process lives.

    Each process of a broker locks a byte of its own of `lock`, behind the one that keeps other brokers away. So a
    successor waits here for its predecessor's end, and a new supervisor for that of a dead one's children.
    """
    assert 0 <= duty < _DUTIES_MAX
    descriptor = os.open(paths.lock, os.O_RDWR | os.O_CLOEXEC)  # open until the end: closing it would unlock
    fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, _FIRST_DUTY + duty)


def find_holder(paths: StorePaths) -> int | None:
    """The pid of a process that has the store open, or has a duty in it; 0 for one of another pid namespace.

    Changes nothing. Who holds the lock may not ask: the answer would not count its own, and end them.
    """
    try:
        descriptor = os.open(paths.lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"cannot see whether the store is open: {paths.lock}: {error.strerror}") from error
    try:
        return _holder_of(descriptor, 0, _FIRST_DUTY + _DUTIES_MAX)
    finally:
        os.close(descriptor)


def read_abort(paths: StorePaths) -> int | None:
    """The pid of whoever opened the store last and did not close it; None where it is closed, or nobody knows."""
    try:
        text = paths.abort.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return int(text) if text.isdigit() else None


def check_layout(paths: StorePaths) -> None:
    """Find out, changing nothing but an absent root, whether a store can be kept here.

    Raises:
        StoreError: a name is taken by something of another kind, a directory cannot be written, or the disk is full.
    """
    try:
        make_directory(paths.root)
    except OSError as error:
        raise StoreError(f"the store directory {paths.root} cannot be made: {error.strerror}") from error
    for directory in (
        paths.root,
        paths.commitlog,
        paths.consumequeue,
        paths.extensions,
        paths.index,
        paths.config,
        paths.quarantine,
    ):
        if _is_there(directory):
            if not directory.is_dir():
                raise StoreError(f"{directory} must be a directory")
            if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
                raise StoreError(f"{directory} must be readable and writable to this user")
    for file in (
        paths.checkpoint,
        paths.queues_checkpoint,
        paths.index_checkpoint,
        paths.abort,
        paths.lock,
    ):
        if _is_there(file) and not file.is_file():
            raise StoreError(f"{file} must be a file")
    disk = os.statvfs(paths.root)
    free_bytes = disk.f_bavail * disk.f_frsize
    if free_bytes < _FREE_BYTES_MIN:
        raise StoreError(f"only {free_bytes} bytes are free for the store {paths.root}")


def was_left_open(paths: StorePaths) -> bool:
    """Whether the last owner ended without `mark_closed`."""
    return paths.abort.exists()


def mark_open(paths: StorePaths) -> None:
    """Leave the mark of an open store, durably."""
    descriptor = os.open(paths.abort, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, str(os.getpid()).encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(paths.root)


def mark_closed(paths: StorePaths) -> None:
    """Remove the mark: everything that was acknowledged is on disk and dispatched."""
    paths.abort.unlink(missing_ok=True)
    sync_directory(paths.root)


def make_directory(path: Path) -> None:
    """Make a directory where it is missing, and those above it, so that a power cut leaves their names.

    Raises:
        OSError: something else has the name, or the disk refuses.
    """
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(exist_ok=True)
    with contextlib.suppress(
        PermissionError
    ):  # where we may make a name and not read, nothing more can be done
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_there(path: Path) -> bool:
    """Whether a name is taken; a link to a disk that is not mounted takes one, and is no empty store."""
    if path.is_symlink() and not path.exists():
        raise StoreError(f"{path} is a symbolic link to nothing: is the disk mounted?")
    return path.exists()


def _holder(paths: StorePaths) -> str:
    pid = read_abort(paths)
    return f", process {pid}" if pid is not None else ""


def _holder_of(descriptor: int, begin: int, size_bytes: int) -> int | None:
    """The pid of a process that has locked any byte of a range; None where nobody has."""
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, begin, size_bytes, 0)
    kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else max(pid, 0)
