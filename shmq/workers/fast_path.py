"""What a network worker's kernels work with, in one hand: their tables, on one desk, and kept up to date."""

from shmq.broker.replica import Replica
from shmq.broker.updates import Update
from shmq.fastpath import desk
from shmq.fastpath.groups import FastGroups
from shmq.fastpath.parked_rows import ParkedRows
from shmq.fastpath.reading import Reading
from shmq.fastpath.tables import FastTables
from shmq.memory.endian import load_native_i64, store_native_i64
from shmq.shared.broker_memory import BrokerMemory
from shmq.store.position import NONE
from shmq.wire.flags import PERM_READ


class FastPath:
    """The tables of one worker's kernels; they must outlive every use of its desk."""

    def __init__(self, at_desk: int, memory: BrokerMemory, replica: Replica, index: int, epoch: int) -> None:
        """Make empty tables, and note them on the desk.

        Args:
            at_desk: the worker's desk.
            memory: the broker's segment.
            replica: what the worker knows from the conductor, and its reader.
            index: which network worker it is.
            epoch: of this life of it.
        """
        config, reader = replica.config, replica.reader
        wait_ms = NONE if config.long_polling_enable else config.short_polling_ms
        is_readable = bool(config.broker_permission & PERM_READ)
        self._desk = at_desk
        self._reading = Reading(reader, is_readable=is_readable, wait_ms=wait_ms)
        self._groups = FastGroups(at_desk, memory.group_names, memory.topic_names)
        self._parked = ParkedRows(at_desk, memory.queues.capacity)
        self._tables = FastTables(at_desk, memory, replica, index, epoch)
        store_native_i64(at_desk + desk.LOG_FILES, reader.log.mappings.address)
        store_native_i64(at_desk + desk.QUEUE_FILES, reader.mappings.address)
        store_native_i64(at_desk + desk.READING, self._reading.address)

    @property
    def in_flight(self) -> int:
        """How many submissions of the kernels have no answer yet."""
        return self._tables.in_flight

    @property
    def served(self) -> int:
        """How many requests were answered without Python."""
        return load_native_i64(self._desk + desk.SERVED)

    def apply(self, update: Update) -> None:
        """Take over what the conductor says."""
        self._tables.apply(update)
        self._groups.apply(update)
