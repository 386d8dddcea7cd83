"""Ground: what the conductor's chores have of memory and store."""

from dataclasses import dataclass

from shmq.shared.broker_memory import BrokerMemory
from shmq.store.read import QueueReader
from shmq.store.store_files import StorePaths


@dataclass(frozen=True, slots=True)
class Ground:
    """The segment, where files lie, and the conductor's own readers of queues and log."""

    memory: BrokerMemory
    paths: StorePaths
    queues: QueueReader
