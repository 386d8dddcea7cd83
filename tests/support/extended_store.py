"""A small store whose queues have extensions with bit maps, and both ends of the table of expressions."""

import os

import numpy as np

from shmq.broker.bloom import bloom_of
from shmq.broker.filter_table import FilterTable
from shmq.config.settings import Config
from shmq.logs import get
from shmq.memory.block import address_of
from shmq.memory.words import load_word
from shmq.shared import gates
from shmq.store import watermarks
from shmq.store.bit_marks import ExtensionReader
from shmq.store.extension_files import ExtensionFiles, read_unit
from shmq.store.log import LogReader
from shmq.store.queue_entry import EXTENSION_MAX
from shmq.store.read import QueueReader
from shmq.store.store_files import StorePaths, StoreSizes
from shmq.wire.heartbeat_bodies import SubscriptionData
from shmq.workers.shared_filters import FilterPublisher, SharedFilters
from tests.support.small_store import SmallStore

NOW_MS = 1_000_000


class SharedWords:
    """The two regions of the shared memory that both ends look at."""

    def __init__(self):
        self._regions = {
            "gates": np.zeros(gates.SIZE // 8, dtype=np.int64),
            "watermarks": np.zeros(watermarks.LAYOUT.itemsize // 8, dtype=np.int64),
        }

    def place(self, name):
        return address_of(self._regions[name])

    def say_appended(self, position):
        self._regions["watermarks"][watermarks.APPENDED // 8] = position


class ExtendedStore(SmallStore):
    """A dispatcher that makes bit maps, a conductor's table, and readers."""

    def __init__(self, root, *, has_extensions=True, extension_bytes=400, **sizes):
        self.has_extensions = has_extensions
        self.extension_bytes = extension_bytes
        self.config = Config(store_root=str(root), queue_extension_enable=True, filter_bit_maps_enable=True)
        self.paths = StorePaths(root)
        self.words = SharedWords()
        self.effects = []
        self.version = 0
        self.bloom = bloom_of(self.config)
        super().__init__(root, **sizes)
        self.start_conductor()

    def start_dispatcher(self):
        super().start_dispatcher()
        if self.has_extensions:
            files = ExtensionFiles(self.paths.extensions, self.extension_bytes, self.consumequeue)
            self.shared = SharedFilters(self.config, self.words, self.paths, get("test"))
            self.dispatch.keep_extensions(files).source = self.shared

    def start_conductor(self, document=None):
        """A new conductor, which loads a document."""
        self.words.say_appended(self.end)
        self.table = FilterTable(self.config, self.effects)
        self.table.load(document, NOW_MS)
        self.publisher = FilterPublisher(self.config, self.words, self.paths, get("test"))
        self.publisher.begin(self.table)

    def subscribe(self, group, expression, topic="T"):
        """A heartbeat with one expression."""
        self.version += 1
        self.words.say_appended(self.end)
        said = SubscriptionData(topic, expression, version=self.version, expression_type="SQL92")
        self.table.hear(group, (said,), NOW_MS)

    def publish(self):
        self.publisher.publish(self.table, lambda _: False)

    def run(self, begin=0, bytes_max=1 << 40):
        if self.has_extensions:
            self.shared.refresh()
        return super().run(begin, bytes_max)

    def generation(self):
        return load_word(self.words.place("gates") + gates.FILTERS)

    def new_reader(self, *, is_extended=True):
        sizes = StoreSizes(self.log_file_bytes, self.queue_file_bytes)
        log = LogReader(self.root / "commitlog", self.log_file_bytes)
        reader = QueueReader(self.consumequeue, sizes, self.queues, log)
        if is_extended:
            reader.extensions = ExtensionReader(self.paths.extensions, self.extension_bytes, self.generation)
        return reader

    def units(self, topic=b"T", queue_id=0):
        """The unit of each entry of a queue; None where there is none."""
        folder = self.paths.extensions / os.fsdecode(topic) / str(queue_id)
        tags = [entry[2] for entry in self.entries(topic, queue_id)]
        return [
            read_unit(folder, self.extension_bytes, tag) if tag <= EXTENSION_MAX else None for tag in tags
        ]
