"""A whole store around a log of any size: queues dispatched and keys indexed by the real code, then ended as wanted."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from shmq.memory.region import anonymous
from shmq.store.checkpoint import Checkpoint, CheckpointFile
from shmq.store.close_mark import write_close_mark
from shmq.store.closed_queues import closed_queues
from shmq.store.key_build import KeyBuild
from shmq.store.key_files import KeyFiles
from shmq.store.key_mark import write_key_mark
from shmq.store.log import LogReader
from shmq.store.name_table import NameTable, format_name_table, name_table_bytes
from shmq.store.queue_table import QueueTable, format_queue_table, queue_table_bytes
from shmq.store.recover import Recovered, Tables, recover
from shmq.store.store_files import StorePaths, StoreSizes, mark_closed, mark_open
from tests.support.big_log import RECORDS_A_MS, BigLog

TOPICS_MAX = 64
QUEUES_MAX = 65_536
INDEX_STEP_BYTES = 1 << 28


@dataclass
class BigStore:
    """Its files, and what the last start made of them."""

    paths: StorePaths
    sizes: StoreSizes
    log: BigLog
    topics: NameTable = field(init=False)
    queues: QueueTable = field(init=False)
    said: list[str] = field(default_factory=list)
    paces: list[tuple[str, int, int, str]] = field(default_factory=list)

    @classmethod
    def make(
        cls, root: Path, sizes: StoreSizes, files: float, queues: int, records_a_ms: float = RECORDS_A_MS
    ) -> "BigStore":
        """Write so many files of log, the last of them perhaps in part, and all that is derived from them."""
        root.mkdir(parents=True, exist_ok=True)
        paths = StorePaths(root)
        log = BigLog(paths.commitlog, sizes.commit_log_file_bytes, queues, records_a_ms)
        made = cls(paths, sizes, log)
        for _ in range(int(files)):
            log.write_file()
        if files % 1:
            log.write_file(files % 1)
        assert made.start(clean_exit=True).records == log.records
        made.index_keys()
        made.close()
        return made

    def start(self, clean_exit: bool, tell: Callable[[str], None] | None = None) -> Recovered:
        """Recover into new tables."""
        names = anonymous(name_table_bytes(TOPICS_MAX)).bytes
        rows = anonymous(queue_table_bytes(QUEUES_MAX)).bytes
        format_name_table(names, TOPICS_MAX)
        format_queue_table(rows, QUEUES_MAX)
        self.topics, self.queues = NameTable(names), QueueTable(rows)
        self.said.clear()
        self.paces.clear()
        return recover(
            self.paths,
            self.sizes,
            Tables(self.topics, self.queues, [1000]),
            clean_exit,
            time.time_ns() // 1_000_000,
            tell or self.said.append,
            pace=lambda *pace: self.paces.append(pace),
        )

    def index_keys(self) -> None:
        """Index the whole log, and vouch for it."""
        with closing(LogReader(self.paths.commitlog, self.sizes.commit_log_file_bytes)) as reader:
            files = KeyFiles(self.paths.index, self.sizes.key_index)
            build = KeyBuild(reader, files)
            reached = 0
            while reached < self.log.end:
                reached = build.step(reached, self.log.end, INDEX_STEP_BYTES, self.log.newest_ms).reached
            write_key_mark(self.paths.index_checkpoint, files.mark(reached))
            files.close()

    def close(self) -> None:
        """End as the supervisor does when all went well."""
        closed = closed_queues(self.topics, self.queues, self.paths.consumequeue)
        write_close_mark(self.paths.queues_checkpoint, 0, closed)
        mark_closed(self.paths)

    def crash(self) -> None:
        """End without closing the store, a moment after a checkpoint."""
        with closing(CheckpointFile(self.paths.checkpoint)) as file:
            file.write(Checkpoint(self.log.newest_ms, self.log.newest_ms))
        mark_open(self.paths)
