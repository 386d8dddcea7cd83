"""A store whose key index is whole and marked, and what recovery makes of it after something happened to it."""

from contextlib import closing
from dataclasses import dataclass, field

from shmq.store.checkpoint import Checkpoint
from shmq.store.key_files import list_key_files
from shmq.store.key_mark import write_key_mark
from shmq.store.key_recover import LogExtent, recover_keys
from shmq.store.log import LogReader
from shmq.store.store_files import StorePaths
from tests.support.indexed_store import IndexedStore

MESSAGES = 34  # with a unique id and a key each: 10 entries a file, so 7 files, the last with 8 entries


@dataclass
class Ground:
    """A store whose index is whole and marked, and what recovery says of it."""

    store: IndexedStore
    said: list[str] = field(default_factory=list)

    @property
    def paths(self):
        return StorePaths(self.store.root)

    @property
    def files(self):
        return list_key_files(self.store.index)

    def mark(self, indexed=None):
        write_key_mark(self.paths.index_checkpoint, self.store.keys.mark(indexed or self.store.end))

    def recover(self, *, clean=False, checkpoint=Checkpoint(), begin=0, end=None, shape=None):  # noqa: B008
        """Where the indexer must begin; it is begun there, and the index must be whole afterwards."""
        self.said.clear()
        store = self.store
        end = store.end if end is None else end
        with closing(LogReader(store.root / "commitlog", store.log_file_bytes)) as reader:
            extent = LogExtent(reader, begin, end)
            resume = recover_keys(
                self.paths, shape or store.shape, extent, checkpoint, clean, self.said.append
            )
        assert begin <= resume <= max(end, begin)
        return resume

    def finish(self, resume):
        """Index the rest, and compare with the model."""
        self.store.start_indexer()
        self.store.run_index(resume)
        self.store.check_index()


def made_ground(root):
    made = Ground(IndexedStore(root, log_file_bytes=1 << 16))
    for number in range(MESSAGES):
        made.store.add(f"u{number}", f"k{number % 4}")
    made.store.run_index()
    assert len(made.files) == 7
    made.mark()
    return made
