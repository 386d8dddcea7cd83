"""Furnish a network worker's desk with what it shares with other processes."""

from typing import Final

from shmq.config.settings import Config
from shmq.fastpath import desk
from shmq.memory.block import view
from shmq.shared.broker_memory import BrokerMemory
from shmq.shared.plan import BELL_WRITER

_PLACES: Final = ("watermarks", "topic_names", "group_names", "queues", "offsets")


def furnish(address: int, config: Config, memory: BrokerMemory, index: int, epoch: int) -> None:
    """Write down where a worker's rings and the shared tables lie.

    Args:
        address: the desk.
        config: the broker's settings.
        memory: its segment.
        index: which network worker it is.
        epoch: of this life of it.
    """
    words = view(address, desk.SIZE).view(desk.LAYOUT)[0]
    for name in _PLACES:
        words[name] = memory.place(name)
    words["submit"] = memory.place(f"submit/{index}")
    words["completions"] = memory.place(f"completions/{index}")
    words["writer_bell"] = memory.bell(BELL_WRITER)
    words["epoch"] = epoch
    words["is_sync_flush"] = config.flush_disk_type == "SYNC_FLUSH"
    words["flush_wait_ms"] = config.sync_flush_timeout_ms
    words["message_bytes_max"] = config.message_bytes_max
