"""What a dead conductor may have left: submissions that the writer has not taken, and final records of transactions."""

from collections.abc import Iterator
from typing import Final

from shmq.ring import spsc
from shmq.shared.broker_memory import BrokerMemory
from shmq.store.position import NONE
from shmq.store.record_batch import RecordBatch
from shmq.store.scanning import scan
from shmq.store.store_files import StorePaths, StoreSizes
from shmq.wire.flags import TRANSACTION_COMMIT, TRANSACTION_MASK

SCAN_MESSAGES: Final = 4096  # at a time, so that the conductor comes to other things


class Predecessor:
    """What a dead conductor may have left: submissions, and what they become."""

    def __init__(self, memory: BrokerMemory, paths: StorePaths) -> None:
        """Take the conductor's submit ring, before anything is submitted in this life."""
        self._ring = memory.place(f"submit/{memory.plan.conductor_sender}")
        self._produced = spsc.produced_position(self._ring)
        self._watermarks = memory.watermarks
        self._paths = paths
        self._end = NONE

    @property
    def is_settled(self) -> bool:
        """Whether all that it had submitted is in the queues."""
        if self._end == NONE and spsc.consumed_position(self._ring) >= self._produced:
            self._end = max(self._watermarks.appended, self._watermarks.wrote)
        return self._end != NONE and self._watermarks.dispatched >= self._end

    def finals(self, begin: int, sizes: StoreSizes) -> Iterator[list[tuple[int, int]]]:
        """What may be final records from a position on, some records at a time: where each lies, and its half message.

        Raises:
            StoreError: the log cannot be read.
        """
        begin = max(begin, self._watermarks.trimmed)
        columns = ("position", "sys_flag", "prepared_position")
        batches = scan(
            self._paths,
            columns=columns,
            batch_messages=SCAN_MESSAGES,
            sizes=sizes,
            begin=begin,
            end=self._end,
        )
        for batch in batches:
            yield _finals(batch)


def _finals(batch: RecordBatch) -> list[tuple[int, int]]:
    """Where the records of a batch lie that have the flag of a final one, and where their half messages."""
    rows = batch.rows
    flagged = rows[rows["sys_flag"] & TRANSACTION_MASK == TRANSACTION_COMMIT]
    return list(zip(flagged["position"].tolist(), flagged["prepared_position"].tolist(), strict=True))
