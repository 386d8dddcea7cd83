"""Recovery of transactions: what a new conductor finds out about those that are open, a few at a time.

First from the two queues, once all is in them that a predecessor had submitted: the half queue tells the copies, the
operation queue what is closed. Then final records are held against that: one whose transaction is open lacks its
operation, and gets it.

A copy that lies behind an operation of its transaction in the log was made to open it again (RESUME_CHECK_HALF).
"""

from typing import Final

from shmq.broker.delays import Reader
from shmq.broker.names import HALF_OPERATION_TOPIC, HALF_TOPIC, TRANSACTION_GROUP
from shmq.broker.offsets import Offsets
from shmq.broker.transactions.half_messages import HALF_QUEUE, find_half, offsets_of_operation
from shmq.broker.transactions.table import Transactions
from shmq.memory.words import load_word
from shmq.store.position import NONE
from shmq.store.queue_table import QueueTable, max_address, min_address
from shmq.store.record import StoredRecord

STEPS_MAX: Final = 2048  # of one call, so that the conductor comes to other things


class TransactionRecovery:
    """Fills a table of transactions; for one start."""

    def __init__(self, table: Transactions, queues: QueueTable, offsets: Offsets, reader: Reader) -> None:
        """Begin where the offsets of RocketMQ's group stand."""
        self._table = table
        self._reader = reader
        self._copies: dict[
            int, tuple[int, int]
        ] = {}  # root -> offset of its newest copy, and where that lies
        self._roots: dict[int, int] = {}  # of copies, by their offsets
        self._half_at, self._half_end = _range(queues, offsets, table.places.half_slot, HALF_TOPIC)
        self._operation_at, self._operation_end = _range(
            queues, offsets, table.places.operation_slot, HALF_OPERATION_TOPIC
        )
        table.half_offset, table.operation_offset = self._half_at, self._operation_at

    def read_some(self) -> bool:
        """Read on in the queues; return whether all is read, and the table tells what is open."""
        for _ in range(STEPS_MAX):
            if self._half_at < self._half_end:
                self._read_half(self._half_at)
                self._half_at += 1
            elif self._operation_at < self._operation_end:
                self._read_operation(self._operation_at)
                self._operation_at += 1
            else:
                self._conclude()
                return True
        return False

    def take_final(self, position: int, half_position: int) -> None:
        """Take what may be a final record into account, which lies behind `settled`: its transaction is committed.

        Args:
            position: where it lies.
            half_position: where it says that its half message lies.
        """
        half = find_half(self._reader.message(half_position))
        final = self._reader.message(position)
        if half is None or final is None or not half.is_final(final):
            return  # a message may have been sent with the flag of a final record
        root = half.root
        if self._table.may_be_decided(root) and not self._table.is_under_way(root):
            self._table.begin_again(root)
            self._table.close(root, half.message.queue_offset, half.message.store_host)

    def _read_half(self, offset: int) -> None:
        slot = self._table.places.half_slot
        half = find_half(self._reader.queued(slot, HALF_TOPIC, HALF_QUEUE, offset))
        if half is not None and half.root != offset:
            self._copies[half.root] = offset, half.message.position
            self._roots[offset] = half.root

    def _read_operation(self, offset: int) -> None:
        slot = self._table.places.operation_slot
        message = self._reader.queued(slot, HALF_OPERATION_TOPIC, HALF_QUEUE, offset)
        if message is None:
            return
        named = offsets_of_operation(message)
        self._table.note_operation(offset, max(named, default=NONE))
        self._table.mark_decided(named)
        for each in named:
            self._close_copy(self._roots.get(each, each), message)

    def _close_copy(self, root: int, operation: StoredRecord) -> None:
        copy, position = self._copies.get(root, (NONE, NONE))
        if copy != NONE and position < operation.position:
            del self._copies[root]
            self._table.mark_decided((root, copy))

    def _conclude(self) -> None:
        for root, (copy, _) in self._copies.items():
            self._table.copies[root] = copy
            self._table.expired.pop(root, None)
        for root in [root for root in self._table.expired if self._table.is_open(root)]:
            del self._table.expired[root]


def _range(queues: QueueTable, offsets: Offsets, slot: int, topic: str) -> tuple[int, int]:
    """From where on a queue is to be read, and where it ends."""
    least = load_word(min_address(queues.address, slot))
    end = load_word(max_address(queues.address, slot))  # pairs with the dispatcher's release
    # The log may have lost what lay behind an offset that was saved.
    return min(max(offsets.query(TRANSACTION_GROUP, topic, HALF_QUEUE), least), end), end
