"""A small store in which everything agrees, for tests that spoil one thing of it."""

import json
import os
import struct
from contextlib import closing
from pathlib import Path

import numpy as np

from shmq.inspect.finding import Finding
from shmq.inspect.verify import verify_store
from shmq.store.checkpoint import Checkpoint, CheckpointFile
from shmq.store.dispatch import SCHEDULE_TOPIC
from shmq.store.key_build import KeyBuild
from shmq.store.key_files import KeyFiles
from shmq.store.key_index import entry_at
from shmq.store.key_mark import write_key_mark
from shmq.store.key_shape import KeyIndexShape
from shmq.store.log import LogReader
from shmq.store.name_table import NameTable, format_name_table, name_table_bytes
from shmq.store.position import NONE
from shmq.store.queue_table import QueueTable, format_queue_table, queue_table_bytes
from shmq.store.rebuild import Rebuilding, rebuild_store
from shmq.store.recover import Recovered, Tables, recover
from shmq.store.segment import file_name
from shmq.store.store_files import StorePaths, StoreSizes, mark_closed, mark_open, was_left_open
from tests.support.indexed_store import FOR_ALL, IndexedStore
from tests.support.small_store import DELAYS_MS, SLOTS

SHAPE = KeyIndexShape(slots=7, entries=21)
START_MS = 1_700_000_000_000
TOPICS = (b"A", b"A", b"B", SCHEDULE_TOPIC)
PREPARED, ROLLED_BACK = 0x4, 0xC
QUEUE_UNIT = 20


class SoundStore(IndexedStore):
    """Records of all kinds in three queues and a half, dispatched, indexed and closed.

    Attributes:
        paths: where it lies.
        sizes: of its files.
    """

    def __init__(self, root: Path, messages: int = 60) -> None:
        super().__init__(root, shape=SHAPE)
        self.paths = StorePaths(root)
        self.sizes = StoreSizes(self.log_file_bytes, self.queue_file_bytes, SHAPE)
        for number in range(messages):
            self.put(number)
        self.settle()

    def put(self, number: int, **given: object) -> tuple[int, int]:
        """Write a record; return its position and size."""
        self.now_ms += 700
        topic = TOPICS[number % len(TOPICS)]
        pairs = [(b"TAGS", b"tag%d" % (number % 3)), (b"UNIQ_KEY", b"U%04d" % number)]
        if number % 2:
            pairs.append((b"KEYS", b"k%d  all" % number))
        if topic == SCHEDULE_TOPIC:
            pairs.append((b"DELAY", b"%d" % (1 + number % 4)))
        kind = {7: PREPARED, 9: ROLLED_BACK}.get(number % 10, 0)
        settings = {
            "topic": topic,
            "queue_id": number % 2 if topic == b"A" else 0,
            "store_ms": self.now_ms,
            "sys_flag": kind,
            "body": b"%04d" % number * 10,
            "properties": b"".join(b"%s\x01%s\x02" % pair for pair in pairs),
            **given,
        }
        return self.append(**settings)

    def settle(self) -> None:
        """Dispatch and index what is there, and write down that it is so."""
        step = self.run()
        assert not step.problem
        self.run_index()
        write_key_mark(self.paths.index_checkpoint, self.keys.mark(self.end))
        times = Checkpoint(self.now_ms, self.now_ms, 0, 0, self.records[-1][0])
        with closing(CheckpointFile(self.paths.checkpoint)) as file:
            file.write(times)
        self.paths.config.mkdir(exist_ok=True)
        for name in ("topics.json", "topics.json.bak", "consumerOffset.json"):
            (self.paths.config / name).write_text(json.dumps({"offsetTable": {"T@G": {"0": 5}}}))
        (self.paths.config / "delayOffset.json").write_text('{"offsetTable":{3:12,18:0}}')  # as Java does

    def verify(self) -> list[Finding]:
        """All findings, in the order in which they come."""
        return list(verify_store(self.paths, self.sizes, delay_levels_ms=DELAYS_MS))

    def crash(self) -> None:
        """Leave the mark of an unclean end, and a checkpoint that vouches for the first file alone."""
        mark_open(self.paths)

    def recover(self) -> int:
        """Start as a broker does, and close again; return from where on keys are to be put in."""
        memories = name_table_bytes(SLOTS), queue_table_bytes(SLOTS)
        names, rows = (np.zeros(size, dtype=np.uint8) for size in memories)
        format_name_table(names, SLOTS)
        format_queue_table(rows, SLOTS)
        tables = Tables(NameTable(names), QueueTable(rows), DELAYS_MS)
        is_clean = not was_left_open(self.paths)
        recovered = recover(self.paths, self.sizes, tables, is_clean, 2 * self.now_ms, lambda _: None)
        keys = KeyFiles(self.paths.index, SHAPE)
        with closing(keys), closing(LogReader(self.paths.commitlog, self.log_file_bytes)) as log:
            build = KeyBuild(log, keys)
            position = recovered.indexed
            while position < recovered.end:
                position = build.step(position, recovered.end, FOR_ALL, self.now_ms).reached
            write_key_mark(self.paths.index_checkpoint, keys.mark(recovered.end))
        mark_closed(self.paths)
        return recovered.indexed

    def rebuild(self) -> Recovered:
        """Build queues and index anew."""
        wanted = Rebuilding(queues=True, index=True, delay_levels_ms=DELAYS_MS)
        return rebuild_store(self.paths, self.sizes, wanted, 2 * self.now_ms, lambda _: None, lambda *_: None)

    def log_file(self, position: int) -> Path:
        """The file that holds a position."""
        return self.paths.commitlog / file_name(position - position % self.log_file_bytes)

    def patch_log(self, position: int, content: bytes) -> None:
        """Overwrite some bytes of the log."""
        patch(self.log_file(position), position % self.log_file_bytes, content)

    def unit(self, topic: bytes, queue_id: int, offset: int) -> tuple[Path, int]:
        """Where the entry of a queue offset lies."""
        at = offset * QUEUE_UNIT
        start = at - at % self.queue_file_bytes
        return self.consumequeue / os.fsdecode(topic) / str(queue_id) / file_name(start), at - start

    def index_entry(self, number: int) -> int:
        """Where an entry lies in its file of the index."""
        return entry_at(SHAPE.slots, number)

    def record_of(self, topic: bytes, queue_id: int, offset: int) -> tuple[int, int]:
        """Position and size of the record that has a queue offset."""
        for position, size, *name, _, content in self.records:
            if name == [topic, queue_id, offset] and not struct.unpack_from(">i", content, 36)[0] & 0xC:
                return position, size
        raise AssertionError("there is no such record")


def patch(path: Path, at: int, content: bytes) -> None:
    """Overwrite some bytes of a file."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


def told(finding: Finding) -> tuple[str, str, int, int]:
    """What tests compare: kind, name of the file, offset, position of the record."""
    return finding.kind.value, Path(finding.path).name, finding.offset, finding.position


NOWHERE = NONE
