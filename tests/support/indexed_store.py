"""A small store whose records have keys, with its key index and what that must hold."""

import struct

from shmq.store.key_build import KeyBuild
from shmq.store.key_files import KeyFiles, list_key_files
from shmq.store.key_shape import KeyIndexShape
from shmq.store.log import LogReader
from tests.support.key_index_model import KeyIndexModel
from tests.support.small_store import SmallStore

SHAPE = KeyIndexShape(slots=5, entries=11)
START_MS = 1_700_000_000_000
ROLLED_BACK = 0xC
FOR_ALL = 1 << 40


class IndexedStore(SmallStore):
    """Records with keys, an index of them, and a model of that index."""

    def __init__(self, root, *, shape=SHAPE, **sizes):
        super().__init__(root, **sizes)
        self.shape = shape
        self.model = KeyIndexModel(*shape)
        self.now_ms = START_MS
        self.start_indexer()

    @property
    def index(self):
        return self.root / "index"

    def start_indexer(self):
        """A new indexer over the same files."""
        self.keys = KeyFiles(self.index, self.shape)
        self.build = KeyBuild(LogReader(self.root / "commitlog", self.log_file_bytes), self.keys)

    def add(self, unique="", keys="", *, topic="T", sys_flag=0, after_ms=700, extra=()):
        """Write a record, and tell the model; return its position."""
        self.now_ms += after_ms
        pairs = [("TAGS", "TagA"), *extra]
        pairs += [(name, value) for name, value in (("KEYS", keys), ("UNIQ_KEY", unique)) if value]
        text = "".join(f"{name}\x01{value}\x02" for name, value in pairs).encode()
        position, _ = self.append(topic.encode(), store_ms=self.now_ms, sys_flag=sys_flag, properties=text)
        if sys_flag != ROLLED_BACK:
            self.model.put_message(topic, unique, keys, position, self.now_ms)
        return position

    def run_index(self, begin=0, end=None, bytes_max=FOR_ALL):
        """Index to the end, in steps; return where the last one came."""
        end = self.end if end is None else end
        while begin < end:
            step = self.build.step(begin, end, bytes_max, self.now_ms)
            assert begin < step.reached <= end
            begin = step.reached
        return begin

    @property
    def index_files(self):
        return [path.read_bytes() for path in list_key_files(self.index)]

    def check_index(self):
        """Every byte of every file is as the specification has it."""
        assert self.index_files == [bytes(file.content) for file in self.model.files]

    def patch(self, file, at, layout, *values):
        """Overwrite some bytes of an index file."""
        path = list_key_files(self.index)[file]
        content = bytearray(path.read_bytes())
        struct.pack_into(layout, content, at, *values)
        with path.open("r+b") as opened:  # the file itself: it may be mapped
            opened.write(content)
