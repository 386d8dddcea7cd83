"""Layout: how far each stage has come.

    offset  field         every byte of the log below it…                          moved by
    ------  ------------  -------------------------------------------------------  -------------
         0  appended      is a whole record, visible to other processes            commit writer
       128  flushed       survives a power cut                                     flush thread
       256  dispatched    can be found through its queue                           dispatcher
       384  replicated    is held by as many slaves as the policy asks             replicator
       512  trimmed       is gone                                                  conductor
       640  queues_ms     (a store time) has its queue entries on disk             dispatcher
       768  indexed       can be found by its keys                                 dispatcher
       896  wrote         is a whole record, perhaps in the transient pool alone   commit writer
      1024  full_keys_ms  (a store time) has its keys in a full file on disk       dispatcher
      1152

Each word is on a line of its own, has one writer and only grows. `confirmed`, up to which consumers may see,
is computed and never stored: `appended`, under SYNC_FLUSH `flushed`. With a transient pool (`transient_pool.py`) the
writer moves `wrote`, and `appended` is moved by the thread that writes the pool's bytes to the log's files; without
one `wrote` stays where recovery left it.

    indexed, trimmed <= dispatched <= confirmed <= appended; flushed, replicated <= appended
    with a transient pool: appended <= wrote
"""

from typing import Final

from shmq.memory.layout import LINE_BYTES, layout, offset_of
from shmq.memory.words import load_word, store_word

LAYOUT: Final = layout(
    9 * LINE_BYTES,
    appended=(0, "<i8"),
    flushed=(128, "<i8"),
    dispatched=(256, "<i8"),
    replicated=(384, "<i8"),
    trimmed=(512, "<i8"),
    queues_ms=(640, "<i8"),
    indexed=(768, "<i8"),
    wrote=(896, "<i8"),
    full_keys_ms=(1024, "<i8"),
)

SIZE: Final = LAYOUT.itemsize
APPENDED: Final = offset_of(LAYOUT, "appended")
FLUSHED: Final = offset_of(LAYOUT, "flushed")
DISPATCHED: Final = offset_of(LAYOUT, "dispatched")
REPLICATED: Final = offset_of(LAYOUT, "replicated")
TRIMMED: Final = offset_of(LAYOUT, "trimmed")
QUEUES_MS: Final = offset_of(LAYOUT, "queues_ms")
INDEXED: Final = offset_of(LAYOUT, "indexed")
WROTE: Final = offset_of(LAYOUT, "wrote")
FULL_KEYS_MS: Final = offset_of(LAYOUT, "full_keys_ms")


class Watermarks:
    """The words at an address, read by everybody and each moved by its owner."""

    def __init__(self, address: int, is_sync_flush: bool) -> None:
        self.address = address
        self._is_sync_flush = is_sync_flush

    @property
    def appended(self) -> int:
        """The end of the log as readers see it."""
        return load_word(self.address + APPENDED)

    @property
    def flushed(self) -> int:
        """The end of what is on disk."""
        return load_word(self.address + FLUSHED)

    @property
    def dispatched(self) -> int:
        """The end of what is in the queues."""
        return load_word(self.address + DISPATCHED)

    @property
    def indexed(self) -> int:
        """The end of what is in the key index."""
        return load_word(self.address + INDEXED)

    @property
    def wrote(self) -> int:
        """The end of what the writer has placed: with a transient pool, of what it has answered for."""
        return load_word(self.address + WROTE)

    @property
    def trimmed(self) -> int:
        """The beginning of the log."""
        return load_word(self.address + TRIMMED)

    @property
    def queues_ms(self) -> int:
        """The store time up to which queue entries are on disk."""
        return load_word(self.address + QUEUES_MS)

    @property
    def full_keys_ms(self) -> int:
        """The store time of the last record in the newest key index file that is full and on disk."""
        return load_word(self.address + FULL_KEYS_MS)

    @property
    def confirmed(self) -> int:
        """How far consumers may see, by the flush policy."""
        return self.flushed if self._is_sync_flush else self.appended

    @property
    def confirmed_address(self) -> int:
        """Where `confirmed` lies."""
        return self.address + (FLUSHED if self._is_sync_flush else APPENDED)

    def move(self, word: int, value: int) -> None:
        """Move one's own watermark forward; what it vouches for was stored before."""
        assert value >= load_word(self.address + word), "a watermark never goes back"
        store_word(self.address + word, value)

    def begin(self, trimmed: int, end: int, store_time_ms: int, indexed: int, full_keys_ms: int = 0) -> None:
        """Set all of them, after recovery and before any role starts."""
        for word in (WROTE, APPENDED, FLUSHED, DISPATCHED, REPLICATED):
            store_word(self.address + word, end)
        store_word(self.address + TRIMMED, trimmed)
        store_word(self.address + QUEUES_MS, store_time_ms)
        store_word(self.address + INDEXED, indexed)
        store_word(self.address + FULL_KEYS_MS, full_keys_ms)
