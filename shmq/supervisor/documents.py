"""Whether the broker's documents can be read, before anything of the store is changed.

The conductor reads them when it starts. What it could not read would have it die again and again, which tells an
operator less than one line does that names the file.
"""

import time
from contextlib import closing
from typing import Any

from shmq.broker.effects import DocumentName
from shmq.broker.metadata import Metadata
from shmq.broker.offsets import Tables
from shmq.broker.store_reader import StoreReader
from shmq.config.settings import Config
from shmq.errors import ShmqError, StoreError
from shmq.shared import broker_memory
from shmq.store.documents import Document
from shmq.store.log import LogReader
from shmq.store.read import QueueReader
from shmq.store.store_files import StorePaths, StoreSizes
from shmq.wire import fastjson
from shmq.workers.flight_store import check_flights


def check_documents(config: Config, paths: StorePaths) -> None:
    """Load every document as the conductor will, into tables that nobody sees; and look at the popped messages.

    Raises:
        StoreError: one is not what it must be, nor is its .bak; the message names it, and what to do.
    """
    check_flights(paths.flights)
    try:
        loaded = {
            name: Document[Any](paths.config / name, fastjson.loads, _never).load() for name in DocumentName
        }
        memory = broker_memory.create_unnamed(config)
        tables = Tables(memory.topic_names, memory.group_names, memory.queues, memory.offsets)
        with closing(LogReader(paths.commitlog, config.commit_log_file_bytes)) as log:
            reader = QueueReader(paths.consumequeue, StoreSizes.of(config), memory.queues, log)
            Metadata(config, tables, loaded, StoreReader(reader), time.time_ns() // 1_000_000)
    except ShmqError as error:
        raise StoreError(
            f"a document in {paths.config} cannot be used: {error}. Put it right, or put back a copy; where it is moved "
            "away, what it says is lost"
        ) from error


def _never(value: Any) -> bytes:
    raise AssertionError(f"nothing is written here, and so not {value!r:.40}")
