"""Recovery of the key index: which of its files may be believed, and from where on the log is to be indexed again.

The index is derived from the log, so whatever cannot be believed is dropped, and the dispatcher's process builds it
again while the broker serves. What may be believed is said by our own mark (`key_mark.py`):

    after a clean end    all files, if those that the mark knows of are there
    after another end    files older than the mark's last one, and of that one the entries below the mark's number
    without a mark       (the store of a RocketMQ broker) after a clean end all files; else those that RocketMQ's
                         checkpoint vouches for

A file of another size than the configured one, or whose header cannot be, ends what is believed, as does a missing one.
Entries for records at and behind the end of the log go too. The slots of a file that was cut are made anew from its
entries: a power cut may have kept a slot and lost what it names.

The order on disk is: new mark -> files removed -> newest file cut. So recovery may be killed anywhere. A mark that says
what is already true is left alone.
"""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from shmq.errors import StoreError
from shmq.memory.endian import load_i32, load_i64, store_i64
from shmq.store.checkpoint import Checkpoint
from shmq.store.key_files import list_key_files
from shmq.store.key_index import (
    BEGIN_POSITION,
    COUNT,
    END_POSITION,
    END_TIMESTAMP,
    FIRST_NUMBER,
    POSITION,
    entry_at,
    first_number_from,
    rebuild_slots,
)
from shmq.store.key_mark import KeyMark, read_key_mark, write_key_mark
from shmq.store.key_shape import KeyIndexShape
from shmq.store.log import LogReader
from shmq.store.position import NONE
from shmq.store.record import store_timestamp
from shmq.store.segment import Segment
from shmq.store.store_files import StorePaths, sync_directory


class LogExtent(NamedTuple):
    """The log as recovery found it: its files, and where its first and behind its last record are."""

    reader: LogReader
    begin: int
    end: int


class KeyFile(NamedTuple):
    """A file: its name as a number, the entry number up to which it is believed, and where its records lie."""

    path: Path
    name: int
    next_number: int
    begin_position: int
    last_position: int
    end_timestamp_ms: int


class KeyBelief(NamedTuple):
    """What may be believed of the key index.

    Attributes:
        resume: from which position of the log on records are to be indexed.
        files: the files that stay, oldest first, and how much of each.
        sound: those that can be what their names say, as a whole.
        listed: all that are there.
        mark: what it was read from; None where there is none that can be true.
        is_any_missing: whether a file is gone that the mark knows of.
    """

    resume: int
    files: list[KeyFile]
    sound: list[KeyFile]
    listed: list[Path]
    mark: KeyMark | None
    is_any_missing: bool


def recover_keys(
    paths: StorePaths,
    shape: KeyIndexShape,
    log: LogExtent,
    checkpoint: Checkpoint,
    clean_exit: bool,
    progress: Callable[[str], None],
) -> int:
    """Drop what cannot be believed; return the position from which on the log is to be indexed.

    Args:
        paths: where everything lies.
        shape: of an index file, as configured.
        log: what is there to be indexed.
        checkpoint: RocketMQ's.
        clean_exit: whether the last owner closed the store.
        progress: told what goes on, in sentences for an operator.

    Raises:
        StoreError: a file cannot be read, or the disk refuses.
    """
    belief = assess_keys(paths, shape, log, checkpoint, clean_exit)
    if belief.is_any_missing:
        progress("a file of the key index is missing: building it anew")
    believed = belief.files
    _settle(paths, belief)
    if believed and (not clean_exit or believed[-1] not in belief.sound):
        progress(f"checking the key index {believed[-1].path.name}")
        _cut(believed[-1], shape, log.reader)
    if belief.resume < log.end:
        progress(f"the keys of messages from position {belief.resume} on are being indexed")
    return belief.resume


def assess_keys(
    paths: StorePaths, shape: KeyIndexShape, log: LogExtent, checkpoint: Checkpoint, clean_exit: bool
) -> KeyBelief:
    """Find out what may be believed, changing nothing; the arguments are those of `recover_keys`."""
    mark = read_key_mark(paths.index_checkpoint)
    listed = list_key_files(paths.index)
    sound = _sound(listed, shape)
    believed = sound
    is_any_missing = mark is not None and _is_any_missing(listed, believed, mark, log.begin)
    if is_any_missing:
        believed, mark = [], None
    elif not clean_exit:
        believed = _vouched_for(believed, mark, checkpoint)
    believed = _below(believed, shape, log.end)
    resume = max(_resume_at(believed, mark, log.end), log.begin)
    return KeyBelief(resume, believed, sound, listed, mark, is_any_missing)


def _sound(listed: list[Path], shape: KeyIndexShape) -> list[KeyFile]:
    """The files before the first that cannot be what its name says."""
    found: list[KeyFile] = []
    for path in listed:
        try:
            head = _head(path, shape)
        except StoreError:  # of another size, or not to be read: it is derived, and made anew
            break
        is_sound = head.next_number <= shape.entries and 0 <= head.begin_position <= head.last_position
        if not is_sound or (found and head.begin_position < found[-1].last_position):
            break
        found.append(head)
    return found


def _head(path: Path, shape: KeyIndexShape) -> KeyFile:
    with closing(Segment.open(path, 0, shape.file_bytes, writable=False)) as segment:
        file = segment.address
        count = max(load_i32(file + COUNT), FIRST_NUMBER)
        begin_position = load_i64(file + BEGIN_POSITION)
        last_position = begin_position
        if FIRST_NUMBER < count <= shape.entries:
            last_position = load_i64(file + entry_at(shape.slots, count - 1) + POSITION)
        return KeyFile(
            path, int(path.name), count, begin_position, last_position, load_i64(file + END_TIMESTAMP)
        )


def _is_any_missing(listed: list[Path], believed: list[KeyFile], mark: KeyMark, log_begin: int) -> bool:
    """Whether a file is gone that the mark knows of, but for old ones of records that the log has no more."""
    names = [int(path.name) for path in listed if int(path.name) <= mark.last_file]
    if len(names) >= mark.files:
        return False
    if not names or not believed or names[-1] != mark.last_file:
        return True
    return names[0] == mark.first_file or believed[0].begin_position > log_begin


def _vouched_for(found: list[KeyFile], mark: KeyMark | None, checkpoint: Checkpoint) -> list[KeyFile]:
    """What is on disk for certain, after an end that was not clean."""
    if mark is None:
        limit_ms = checkpoint.index_timestamp_ms
        return [
            file for file in found if file.end_timestamp_ms <= limit_ms and file.next_number > FIRST_NUMBER
        ]
    kept = [file for file in found if file.name < mark.last_file]
    newest = [file for file in found if file.name == mark.last_file and file.next_number >= mark.next_number]
    return kept + [file._replace(next_number=mark.next_number) for file in newest]


def _below(found: list[KeyFile], shape: KeyIndexShape, log_end: int) -> list[KeyFile]:
    """The files without entries for records at and behind the end of the log."""
    kept = list(found)
    while kept and (kept[-1].begin_position >= log_end or kept[-1].next_number == FIRST_NUMBER):
        kept.pop()
    if kept:
        last = kept[-1]
        with closing(Segment.open(last.path, 0, shape.file_bytes, writable=False)) as segment:
            count = first_number_from(segment.address, shape.slots, last.next_number, log_end)
            position = load_i64(segment.address + entry_at(shape.slots, count - 1) + POSITION)
        kept[-1] = last._replace(next_number=count, last_position=position)
    return kept


def _resume_at(believed: list[KeyFile], mark: KeyMark | None, log_end: int) -> int:
    """Where the first record lies that may have no entries."""
    last = believed[-1] if believed else None
    resume = last.last_position if last is not None else 0
    if mark is None:
        return resume
    is_as_marked = mark.files == 0 or (
        last is not None and (last.name, last.next_number) >= (mark.last_file, mark.next_number)
    )
    return max(resume, min(mark.indexed, log_end)) if is_as_marked else resume


def _settle(paths: StorePaths, belief: KeyBelief) -> None:
    """Write what is believed, then remove the files that are not."""
    resume, believed = belief.resume, belief.files
    now = KeyMark(resume)
    if believed:
        now = KeyMark(resume, believed[0].name, believed[-1].name, len(believed), believed[-1].next_number)
    if now != belief.mark:
        write_key_mark(paths.index_checkpoint, now)
    kept = {file.path for file in believed}
    removed = [path for path in belief.listed if path not in kept]
    for path in removed:
        path.unlink()
    if removed:
        sync_directory(paths.index)


def _cut(last: KeyFile, shape: KeyIndexShape, log: LogReader) -> None:
    """Make the newest file say what its entries up to a number say."""
    with closing(Segment.open(last.path, 0, shape.file_bytes, writable=True)) as segment:
        file = segment.address
        rebuild_slots(file, shape.slots, last.next_number)
        store_i64(file + END_POSITION, last.last_position)
        address, _ = log.address_of(last.last_position)
        if address != NONE:
            store_i64(file + END_TIMESTAMP, store_timestamp(address))
