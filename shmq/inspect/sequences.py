"""Files of fixed size that follow each other: log and queues. Which of them are there, and what does not belong."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from shmq.inspect.finding import Finding, FindingKind
from shmq.store.position import NONE
from shmq.store.segment import file_name, is_file_name, list_files


class SequenceFile(NamedTuple):
    """A file of a sequence: what its name says, and how long it is, which may be other than it should be."""

    path: Path
    start: int
    size_bytes: int


def list_sequence(directory: Path, file_bytes: int) -> list[SequenceFile]:
    """The files that belong to a sequence and hold anything, in order."""
    return [
        SequenceFile(path, int(path.name), size_bytes)
        for path, size_bytes in _sizes(directory)
        if size_bytes > 0 and _belongs(path, file_bytes)
    ]


def check_sequence(directory: Path, file_bytes: int, *, is_log: bool, is_clean: bool) -> Iterator[Finding]:
    """Find files that are foreign, empty, of another size, or missing.

    Args:
        directory: where they lie.
        file_bytes: their size.
        is_log: whether starts are positions of the log.
        is_clean: whether the last owner closed the store; else an empty last file is removed by recovery.
    """
    sizes = _sizes(directory)
    expected: int | None = None
    for path, size_bytes in sizes:
        if not _belongs(path, file_bytes):
            text = f"no file of {file_bytes} bytes has such a name here"
            yield Finding(FindingKind.FILE_FOREIGN, str(path), 0, NONE, text)
            continue
        start = int(path.name)
        position = start if is_log else NONE
        if expected is not None and start != expected:
            missing = directory / file_name(expected)
            text = f"the next file there is {path.name}"
            yield Finding(FindingKind.FILE_MISSING, str(missing), 0, expected if is_log else NONE, text)
        expected = start + file_bytes
        if size_bytes == 0 and path == sizes[-1][0]:
            text = "there is nothing in it"
            yield Finding(FindingKind.FILE_EMPTY, str(path), 0, position, text, not is_clean)
        elif size_bytes != file_bytes:
            text = f"it has {size_bytes} bytes where {file_bytes} are usual"
            yield Finding(FindingKind.FILE_SIZE, str(path), min(size_bytes, file_bytes), position, text)


def _sizes(directory: Path) -> list[tuple[Path, int]]:
    return [(path, path.stat().st_size) for path in list_files(directory)]


def _belongs(path: Path, file_bytes: int) -> bool:
    return is_file_name(path.name) and int(path.name) % file_bytes == 0
