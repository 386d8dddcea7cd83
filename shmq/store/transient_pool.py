"""The transient pool: locked memory in which the writer places records before they are written to the log's files.

RocketMQ's transientStorePoolEnable. The writer then never touches a page of a file, so no writing back of the system's
can hold it up; what it costs is the memory, and that a message can be consumed only after it was written to the file
(`shared/pool_commit.py`).

A buffer holds one file of the log: the file that begins at position p has buffer p / file size mod count, for as long
as its bytes are not all in the file. The memory is made before any process is forked and shared by them all: a
successor of a writer, or of its thread, finds in it what its predecessor had placed. It is lost only where every
process of the broker dies at once, and then what was answered in the last moments (`commit_interval_ms`) with it.
"""

from shmq.memory.pages import lock_pages, populate_for_writing
from shmq.memory.region import Region, anonymous


class TransientPool:
    """Buffers for as many files of the log.

    Attributes:
        count: how many buffers there are.
        file_bytes: the size of each.
    """

    def __init__(self, count: int, file_bytes: int) -> None:
        """Reserve addresses, no memory yet; the processes forked from here on share them."""
        self.count = count
        self.file_bytes = file_bytes
        self._region: Region = anonymous(count * file_bytes)

    def address_of(self, position: int) -> int:
        """Where a position of the log lies, while its file has a buffer."""
        start = position - position % self.file_bytes
        buffer = start // self.file_bytes % self.count
        return self._region.address + buffer * self.file_bytes + position - start

    def is_free_for(self, start: int, committed: int) -> bool:
        """Whether the buffer of the file that begins here holds no bytes that are not in their file.

        Args:
            start: where the file begins.
            committed: how far the log's files hold what was placed.
        """
        return committed >= start - (self.count - 1) * self.file_bytes

    def lock(self, start: int) -> bool:
        """Have the buffer of a file in memory, and keep it there; False where it may be swapped out all the same."""
        address = self.address_of(start)
        if lock_pages(address, self.file_bytes):
            return True
        populate_for_writing(address, self.file_bytes)
        return False
