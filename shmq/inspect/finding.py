"""What a check of a store reports: one inconsistency, where it lies, and whether the next start mends it.

After an end that was not clean some things are as they must be: a torn tail, records without queue entries. Recovery
puts them right, so they are *pending*. `Mending` knows from where on it does: as `store/recover.py` begins its walk.
"""

from enum import StrEnum
from typing import NamedTuple


class FindingKind(StrEnum):
    """What is wrong; the word that programs read."""

    FILE_FOREIGN = "file-foreign"
    FILE_EMPTY = "file-empty"
    FILE_SIZE = "file-size"
    FILE_MISSING = "file-missing"
    NOT_ZERO = "not-zero"
    RECORD_MAGIC = "record-magic"
    RECORD_SIZE = "record-size"
    RECORD_CHECKSUM = "record-checksum"
    RECORD_POSITION = "record-position"
    RECORD_TIME = "record-time"
    RECORD_QUEUE = "record-queue"
    RECORD_QUEUE_OFFSET = "record-queue-offset"
    LOG_HOLE = "log-hole"
    LOG_BLANK = "log-blank"
    QUEUE_GAP = "queue-gap"
    QUEUE_DUPLICATE = "queue-duplicate"
    ENTRY_MISSING = "entry-missing"
    ENTRY_RECORD = "entry-record"
    ENTRY_TAG = "entry-tag"
    ENTRY_STRAY = "entry-stray"
    INDEX_HEADER = "index-header"
    INDEX_SLOT = "index-slot"
    INDEX_CHAIN = "index-chain"
    INDEX_HASH = "index-hash"
    INDEX_POSITION = "index-position"
    INDEX_TIME = "index-time"
    INDEX_STRAY = "index-stray"
    INDEX_MISSING = "index-missing"
    CHECKPOINT = "checkpoint"
    INDEX_MARK = "index-mark"
    DOCUMENT = "document"


class Finding(NamedTuple):
    """One inconsistency.

    Attributes:
        kind: what is wrong.
        path: the file, or directory, in which it lies.
        offset: the byte in that file; 0 where it is about the whole.
        position: of the record that it is about, in the log; NONE where it is about none.
        text: what is there and what should be, for people.
        is_pending: whether the next start of a broker is certain to mend it.
    """

    kind: FindingKind
    path: str
    offset: int
    position: int
    text: str
    is_pending: bool = False


class Mending(NamedTuple):
    """What the next start mends.

    Attributes:
        is_clean: whether the last owner closed the store: then nothing should have to be mended.
        begin: from which position of the log on, after another end, records are checked and queues written again.
    """

    is_clean: bool
    begin: int

    def mends(self, position: int) -> bool:
        """Whether what the queues say of a record at a position is written again, or zeroed where there is none."""
        return not self.is_clean and position >= self.begin
