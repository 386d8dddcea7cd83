"""LogEnd: where the writer places records, and which watermark says that it has: the log's own files, or the pool.

`MappedEnd` is the log's current file, mapped, and `appended`. The other is the transient pool (`pool_committer.py`),
whose thread moves `appended` behind the writer.
"""

from typing import Protocol

from shmq.shared.broker_memory import BrokerMemory
from shmq.store.segment import Segment
from shmq.store.watermarks import APPENDED


class LogEnd(Protocol):
    """What the commit writer wants of the place where it writes.

    Attributes:
        word: address of the watermark that the writer moves.
        bell: of who waits for it.
    """

    word: int
    bell: int

    @property
    def is_running(self) -> bool:
        """Whether its thread is there, if it has one."""

    def start(self) -> None:
        """Begin."""

    def address_of(self, position: int, segment: Segment) -> int:
        """Where a position of a file of the log is to be written to, or lies, if the writer has placed it."""

    def is_free_for(self, start: int) -> bool:
        """Whether the file that begins here can be begun; the writer is told when that changes."""

    def begin_blank(self, position: int, size_bytes: int) -> None:
        """The rest of a file, from a position on, will never hold a record."""

    def stop(self) -> None:
        """End, with everything that was placed in the log's files."""


class MappedEnd:
    """The log's current file, mapped for writing: what is placed there is in the log."""

    def __init__(self, memory: BrokerMemory, follower_bell: int) -> None:
        self.word = memory.place("watermarks") + APPENDED
        self.bell = follower_bell

    @property
    def is_running(self) -> bool:
        """There is no thread that could end."""
        return True

    def start(self) -> None:
        """Nothing is to be done."""

    def address_of(self, position: int, segment: Segment) -> int:
        """In the mapping."""
        return segment.address + position - segment.start

    def is_free_for(self, start: int) -> bool:  # noqa: ARG002
        """Whenever there is a file."""
        return True

    def begin_blank(self, position: int, size_bytes: int) -> None:
        """It is zeros already."""

    def stop(self) -> None:
        """Nothing is to be done."""
