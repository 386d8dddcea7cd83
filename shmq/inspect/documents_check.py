"""Check the small files of a store: checkpoint, index.checkpoint, and the documents of `config/`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from shmq.errors import RequestError
from shmq.inspect.finding import Finding, FindingKind, Mending
from shmq.store import checkpoint as checkpoints
from shmq.store.checkpoint import read_checkpoint
from shmq.store.key_mark import LAYOUT as MARK_LAYOUT
from shmq.store.key_mark import read_key_mark
from shmq.store.key_recover import KeyBelief
from shmq.store.position import NONE
from shmq.store.store_files import StorePaths
from shmq.wire.fastjson import loads

_BACKUP: Final = ".bak"
_NEW: Final = ".new"
_JSON: Final = ".json"
_JSON_WITHOUT_SUFFIX: Final = frozenset({"timermetrics", "transactionMetrics"})


def check_checkpoint(
    paths: StorePaths, newest_ms: int, log_end: int, now_ms: int, mending: Mending
) -> Iterator[Finding]:
    """Does the checkpoint say anything that cannot be?

    Args:
        paths: where it lies.
        newest_ms: the store time of the log's last record; 0 without one.
        log_end: the position behind that.
        now_ms: the clock, which is the limit without one.
        mending: after an unclean end recovery believes no time from the future, and writes it anew.
    """
    path = paths.checkpoint
    if not path.exists():
        return
    size_bytes = path.stat().st_size
    if size_bytes < checkpoints.LAYOUT.itemsize:
        text = f"it has {size_bytes} bytes where {checkpoints.LAYOUT.itemsize} are usual"
        yield Finding(FindingKind.CHECKPOINT, str(path), size_bytes, NONE, text, not mending.is_clean)
    found = read_checkpoint(path)
    limit_ms = newest_ms or now_ms
    times = (
        ("log_timestamp", found.log_timestamp_ms),
        ("queues_timestamp", found.queues_timestamp_ms),
        ("index_timestamp", found.index_timestamp_ms),
    )
    assert checkpoints.LAYOUT.fields is not None
    for name, time_ms in times:
        if not 0 <= time_ms <= limit_ms:
            text = f"{name} is {time_ms}, and the newest record is of {limit_ms}"
            at = int(checkpoints.LAYOUT.fields[name][1])
            yield Finding(FindingKind.CHECKPOINT, str(path), at, NONE, text, not mending.is_clean)
    if found.confirmed_position > log_end:
        at = int(checkpoints.LAYOUT.fields["confirmed_position"][1])
        text = f"confirmed_position is {found.confirmed_position}, and the log ends at {log_end}"
        is_pending = not mending.is_clean
        yield Finding(FindingKind.CHECKPOINT, str(path), at, found.confirmed_position, text, is_pending)


def check_mark(paths: StorePaths, belief: KeyBelief, log_end: int, mending: Mending) -> Iterator[Finding]:
    """Does index.checkpoint agree with the files, and the log?

    Args:
        paths: where it lies.
        belief: what the next start believes.
        log_end: the position behind the last record.
        mending: after an unclean end the log may have lost what the index had.
    """
    path = paths.index_checkpoint
    if not path.exists():
        return
    mark = read_key_mark(path)
    assert MARK_LAYOUT.fields is not None

    def finding(name: str, text: str) -> Finding:
        at = int(MARK_LAYOUT.fields[name][1]) if MARK_LAYOUT.fields is not None else 0
        return Finding(FindingKind.INDEX_MARK, str(path), at, NONE, text, not mending.is_clean)

    if mark is None:
        yield finding("check", "its checksum is another: it vouches for nothing")
        return
    if mark.indexed > log_end:
        yield finding(
            "indexed", f"all below {mark.indexed} is said to be indexed, and the log ends at {log_end}"
        )
    if belief.is_any_missing:
        text = f"of its {mark.files} files, {mark.first_file} to {mark.last_file}, one is missing"
        yield finding("files", f"{text}: the next start builds all anew")._replace(is_pending=False)
    counted = {int(file.path.name): file.next_number for file in belief.sound}
    next_number = counted.get(mark.last_file)
    if next_number is not None and next_number < mark.next_number:
        text = f"{mark.next_number - 1} entries of {mark.last_file} are said to be there, its header counts "
        yield finding("next_number", f"{text}{next_number - 1}")


def check_documents(directory: Path) -> Iterator[Finding]:
    """Can the documents, and the copies before them, be read?"""
    if not directory.is_dir():
        return
    for path in sorted(directory.iterdir()):
        if path.name.endswith(_NEW):
            text = "it was not finished; the next writing replaces it"
            yield Finding(FindingKind.FILE_FOREIGN, str(path), 0, NONE, text, is_pending=True)
        name = path.name.removesuffix(_BACKUP)
        if path.is_file() and (name.endswith(_JSON) or name in _JSON_WITHOUT_SUFFIX):
            problem = _problem(path)
            if problem:
                yield Finding(FindingKind.DOCUMENT, str(path), 0, NONE, problem)


def _problem(path: Path) -> str:
    """Why a document cannot be read; empty where it can."""
    content = path.read_bytes()
    if not content.strip():
        return "there is nothing in it"
    try:
        loads(content)
    except RequestError as error:
        return f"it cannot be read: {error}"
    return ""
