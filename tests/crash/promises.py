"""What a store promises after a power cut, checked on what the cut left and recovery made of it."""

import hashlib
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import orjson

from shmq.errors import ShmqError
from shmq.inspect.finding import FindingKind
from shmq.inspect.verify import verify_store
from shmq.memory.block import address_of
from shmq.memory.region import anonymous
from shmq.store import record
from shmq.store.documents import Document
from shmq.store.key_build import KeyBuild
from shmq.store.key_files import KeyFiles
from shmq.store.key_mark import write_key_mark
from shmq.store.log import LogReader
from shmq.store.log_scan import verify_at
from shmq.store.name_table import NameTable, format_name_table, name_table_bytes
from shmq.store.queue_directory import list_queues, queue_path
from shmq.store.queue_entry import SIZE as ENTRY_BYTES
from shmq.store.queue_entry import decode, is_message
from shmq.store.queue_table import QueueTable, format_queue_table, queue_table_bytes
from shmq.store.recover import Recovered, Tables, recover
from shmq.store.segment import file_name, list_starts
from shmq.store.store_files import StorePaths, StoreSizes, mark_closed, was_left_open

CAPACITY: Final = 256
"""Topics and queues there may be."""
DELAY_LEVELS_MS: Final = tuple(1000 * level for level in range(1, 19))


class Sent(NamedTuple):
    """A message that was sent, with where the broker said it is; body is unique, number rises in each queue."""

    topic: str
    queue_id: int
    number: int
    body: bytes
    queue_offset: int
    position: int


class Stored(NamedTuple):
    """A message as it is found through its queue."""

    queue_offset: int
    position: int
    body: bytes
    properties: bytes

    @property
    def is_whole(self) -> bool:
        """Whether its properties are those that it was sent with, and the broker's own behind them."""
        text = self.properties
        return text.startswith(properties_of(self.body)) and text.endswith(b"\x02") and b"\0" not in text


@dataclass
class Verdict:
    """What was found wrong, in sentences; nothing is as promised where there is anything.

    Attributes:
        faults: what is wrong.
        lost: acknowledged messages that had to be there and are not.
        stored: how many messages are there.
        torn: how many of these have lost properties: no checksum covers them, here as in RocketMQ. What was synced is
            whole, so it is no fault where the message was not promised.
    """

    faults: list[str] = field(default_factory=list)
    lost: int = 0
    stored: int = 0
    torn: int = 0


def recover_once(root: Path, sizes: StoreSizes) -> tuple[Recovered, NameTable, QueueTable]:
    """Recover a store as a start of the broker does, and leave it open."""
    names = anonymous(name_table_bytes(CAPACITY)).bytes
    rows = anonymous(queue_table_bytes(CAPACITY)).bytes
    format_name_table(names, CAPACITY)
    format_queue_table(rows, CAPACITY)
    topics, queues = NameTable(names), QueueTable(rows)
    paths = StorePaths(root)
    recovered = recover(
        paths,
        sizes,
        Tables(topics, queues, DELAY_LEVELS_MS),
        not was_left_open(paths),
        time.time_ns() // 1_000_000,
        lambda _said: None,
    )
    return recovered, topics, queues


def check(
    root: Path, sizes: StoreSizes, promised: Iterable[Sent], attempted: set[bytes], *, is_sync: bool
) -> Verdict:
    """Recover what a cut left, and compare it with what was promised.

    Args:
        root: of the store.
        sizes: of its files.
        promised: messages that must be there, each where it was said to be.
        attempted: the bodies of all that was ever sent: nothing else may be there.
        is_sync: whether consumers were only given what was on disk: then no saved offset lies beyond a queue's end.
    """
    verdict = Verdict()
    try:
        recovered, topics, queues = recover_once(root, sizes)
    except ShmqError as error:
        verdict.faults.append(f"recovery refuses the store: {error}")
        verdict.lost = sum(1 for _ in promised)
        return verdict
    stored = _read_queues(root, sizes, topics, queues, verdict)
    verdict.stored = sum(map(len, stored.values()))
    _check_promised(stored, promised, verdict)
    _check_order(stored, attempted, verdict)
    _check_tail(root, sizes, recovered.end, verdict)
    if is_sync:
        _check_offsets(root, stored, verdict)
    _check_second(root, sizes, recovered, verdict)
    _check_closed(root, sizes, recovered, verdict)
    return verdict


def flushed_end(root: Path, sizes: StoreSizes) -> int:
    """Where the whole records end that lie in a log from its beginning on, with nothing recovered."""
    end = 0
    with closing(LogReader(root / "commitlog", sizes.commit_log_file_bytes)) as reader:
        while True:
            address, left_bytes = reader.address_of(end)
            size = verify_at(address, left_bytes, end, check_crc=True) if left_bytes else record.INVALID
            if size < 0 or (size > 0 and not _has_properties(reader, end, size)):
                return end
            end += size or left_bytes  # a blank fills the file


def _has_properties(reader: LogReader, position: int, size: int) -> bool:
    """Whether the next page, which no checksum of a record covers, was synced too."""
    stored = record.decode(reader.slice(position, size) or memoryview(b""))
    return Stored(0, position, bytes(stored.body), bytes(stored.properties)).is_whole


def _check_second(root: Path, sizes: StoreSizes, first: Recovered, verdict: Verdict) -> None:
    """Recovery changes nothing where it has just been."""
    before = _digest(root)
    try:
        again, _, _ = recover_once(root, sizes)
    except ShmqError as error:
        verdict.faults.append(f"a second recovery refuses what the first one left: {error}")
        return
    if again.end != first.end or _digest(root) != before:
        verdict.faults.append("a second recovery changed what the first one left")


def _check_closed(root: Path, sizes: StoreSizes, recovered: Recovered, verdict: Verdict) -> None:
    """Do what is left to a running broker, close the store: `shmq store verify` finds nothing."""
    paths = StorePaths(root)
    files = KeyFiles(paths.index, sizes.key_index)
    with closing(files), closing(LogReader(paths.commitlog, sizes.commit_log_file_bytes)) as reader:
        build = KeyBuild(reader, files)
        at = recovered.indexed
        while at < recovered.end:
            at = build.step(at, recovered.end, 1 << 30, time.time_ns() // 1_000_000).reached
        write_key_mark(paths.index_checkpoint, files.mark(at))
    mark_closed(paths)
    for finding in verify_store(paths, sizes, delay_levels_ms=DELAY_LEVELS_MS):
        if finding.kind is FindingKind.FILE_FOREIGN and finding.is_pending:
            continue  # a document's draft, which the next writing replaces
        verdict.faults.append(
            f"verify: {finding.kind} {Path(finding.path).relative_to(root)}: {finding.text}"
        )


def _read_queues(
    root: Path, sizes: StoreSizes, topics: NameTable, queues: QueueTable, verdict: Verdict
) -> dict[tuple[str, int], list[Stored]]:
    """Every message, through the entry of its queue."""
    paths = StorePaths(root)
    reader = LogReader(paths.commitlog, sizes.commit_log_file_bytes)
    found: dict[tuple[str, int], list[Stored]] = {}
    for queue in list_queues(paths.consumequeue):
        slot = queues.find(topics.find(queue[0]), queue[1])
        directory = queue_path(paths.consumequeue, *queue)
        starts = list_starts(directory, sizes.consume_queue_file_bytes)
        units = b"".join((directory / file_name(at)).read_bytes() for at in starts)
        first = starts[0] // ENTRY_BYTES if starts else 0
        minimum, maximum = int(queues.min[slot]), int(queues.max[slot])
        if int(queues.next[slot]) != maximum:
            verdict.faults.append(f"queue {queue}: the next offset is {queues.next[slot]}, not {maximum}")
        if any(units[(maximum - first) * ENTRY_BYTES :]):
            verdict.faults.append(f"queue {queue}: there is something behind its last entry")
        messages = found.setdefault((queue[0].decode(), queue[1]), [])
        for offset in range(minimum, maximum):
            at = (offset - first) * ENTRY_BYTES
            unit = np.frombuffer(units[at : at + ENTRY_BYTES], dtype=np.uint8)
            position, size, _ = decode(address_of(unit))
            data = reader.slice(position, size) if is_message(size) else None
            if data is None:
                verdict.faults.append(f"queue {queue}: offset {offset} stands for no message")
                continue
            stored = record.decode(data)
            if (stored.topic, stored.queue_id, stored.queue_offset) != (*queue, offset):
                verdict.faults.append(f"queue {queue}: offset {offset} stands for another queue's message")
            messages.append(Stored(offset, position, bytes(stored.body), bytes(stored.properties)))
    reader.close()
    return found


def _check_promised(
    stored: dict[tuple[str, int], list[Stored]], promised: Iterable[Sent], verdict: Verdict
) -> None:
    by_place = {
        (*queue, message.queue_offset): message for queue, messages in stored.items() for message in messages
    }
    for sent in promised:
        found = by_place.get((sent.topic, sent.queue_id, sent.queue_offset))
        if found is None or (found.position, found.body) != (sent.position, sent.body) or not found.is_whole:
            verdict.lost += 1
            if verdict.lost == 1:
                what = "nothing" if found is None else str(found._replace(body=found.body[:40]))
                verdict.faults.append(f"lost: {sent._replace(body=sent.body[:40])}; there is {what}")


def _check_order(
    stored: dict[tuple[str, int], list[Stored]], attempted: set[bytes], verdict: Verdict
) -> None:
    """Each message is there once, and in each queue in the order in which they were sent."""
    seen: set[bytes] = set()
    for queue, messages in stored.items():
        newest = -1
        for message in messages:
            if message.body not in attempted:
                verdict.faults.append(f"queue {queue}: {message.body[:40]!r} was never sent")
                continue
            if message.body in seen:
                verdict.faults.append(f"queue {queue}: {message.body[:40]!r} is there twice")
            seen.add(message.body)
            verdict.torn += not message.is_whole
            number = number_of(message.body)
            if number <= newest:
                verdict.faults.append(f"queue {queue}: {message.body[:40]!r} is out of order")
            newest = number


def body_of(topic: str, queue_id: int, number: int, size: int) -> bytes:
    """A body that is like no other."""
    head = f"{topic}/{queue_id}/{number}/".encode()
    return head + bytes((number + at) % 251 + 1 for at in range(max(0, size - len(head))))


def number_of(body: bytes) -> int:
    """Which message of its queue it was."""
    return int(body.split(b"/", 3)[2])


def properties_of(body: bytes) -> bytes:
    """The properties that a message with this body is sent with: its key."""
    return b"KEYS\x01" + b"-".join(body.split(b"/", 3)[:3]) + b"\x02"


def _check_tail(root: Path, sizes: StoreSizes, end: int, verdict: Verdict) -> None:
    paths = StorePaths(root)
    for start in list_starts(paths.commitlog, sizes.commit_log_file_bytes):
        if any((paths.commitlog / file_name(start)).read_bytes()[max(end - start, 0) :]):
            verdict.faults.append(f"the log file {start} holds something behind the log's end {end}")


def _check_offsets(root: Path, stored: dict[tuple[str, int], list[Stored]], verdict: Verdict) -> None:
    document = Document(root / "config" / "consumerOffset.json", orjson.loads, orjson.dumps).load() or {}
    for key, queues in document.get("offsetTable", {}).items():
        topic = key.partition("@")[0]
        for queue_id, offset in queues.items():
            end = len(stored.get((topic, int(queue_id)), []))
            if offset > end:
                verdict.faults.append(
                    f"{key} has consumed {offset} messages of queue {queue_id}, which has {end}"
                )


def _digest(root: Path) -> str:
    """Of all that the log and the queues hold."""
    total = hashlib.sha256()
    for folder in ("commitlog", "consumequeue"):
        for path in sorted((root / folder).rglob("*")):
            total.update(str(path).encode() + (path.read_bytes() if path.is_file() else b""))
    return total.hexdigest()
