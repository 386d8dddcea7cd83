"""A commit log of any size, written as fast as a disk takes it: real records, whole, each in its place.

A block of records is encoded once; a file is that block again and again, with what differs patched for all of them at
once: queue id, queue offset, position, store time, and the digits of the unique id. Records go round the queues.
"""

import os
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shmq.store import record
from shmq.store.host import Host
from shmq.store.record import NewRecord
from shmq.store.segment import file_name

TOPIC = b"big"
BASE_MS = 1_700_000_000_000
RECORDS_A_MS = 20
BODIES = (1 << 10,) * 48 + (4 << 10,) * 12 + (16 << 10,) * 3 + (64 << 10,)
_HOST = Host(bytes([127, 0, 0, 1]), 10911)
_ID_DIGITS = 16
_HEX = np.frombuffer(b"0123456789ABCDEF", dtype=np.uint8)


class BigLog:
    """Its directory, and how far it is written.

    Attributes:
        end: the position behind the last record.
        records: how many there are.
    """

    def __init__(
        self,
        directory: Path,
        file_bytes: int,
        queues: int,
        records_a_ms: float = RECORDS_A_MS,
        bodies: tuple[int, ...] = BODIES,
    ) -> None:
        """Write nothing yet.

        Args:
            directory: of the log.
            file_bytes: the size of a file.
            queues: how many queues of `TOPIC` the records go round.
            records_a_ms: how many were stored in a millisecond.
            bodies: the sizes of the bodies, in turn.
        """
        self._directory = directory
        self._file_bytes = file_bytes
        self._queues = queues
        self._records_a_ms = records_a_ms
        self._block, self._places, self._ids = _block(bodies)
        self.end = self.records = 0

    @property
    def newest_ms(self) -> int:
        """When the last record was stored."""
        return BASE_MS + int((self.records - 1) / self._records_a_ms)

    def write_file(self, fill: float = 1.0) -> None:
        """Write the next file, whole but for what it leaves behind its last record; of a last one, a part."""
        start = -(-self.end // self._file_bytes) * self._file_bytes
        path = self._directory / file_name(start)
        blocks = int((self._file_bytes - record.BLANK_BYTES_MIN) * fill) // len(self._block)
        rows = np.tile(self._block, (blocks, 1))
        first = self.records + len(self._places) * np.arange(blocks, dtype=np.int64)
        for number, (at, id_at) in enumerate(zip(self._places, self._ids, strict=True)):
            serial = first + number
            position = start + at + len(self._block) * np.arange(blocks, dtype=np.int64)
            _patch(rows, at + record.QUEUE_ID, (serial % self._queues).astype(">i4"))
            _patch(rows, at + record.QUEUE_OFFSET, (serial // self._queues).astype(">i8"))
            _patch(rows, at + record.PHYSICAL_OFFSET, position.astype(">i8"))
            _patch(
                rows,
                at + record.STORE_TIMESTAMP,
                (BASE_MS + (serial / self._records_a_ms).astype(np.int64)).astype(">i8"),
            )
            for digit in range(_ID_DIGITS):
                rows[:, id_at + digit] = _HEX[(serial >> (4 * (_ID_DIGITS - 1 - digit))) & 15]
        self.records += blocks * len(self._places)
        self.end = start + rows.size
        self._directory.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, self._file_bytes)
            rows.tofile(file)
            if fill == 1.0:
                file.write(struct.pack(">ii", self._file_bytes - rows.size, record.BLANK_MAGIC))


def _block(bodies: tuple[int, ...]) -> tuple[NDArray[np.uint8], list[int], list[int]]:
    """The bytes of a block, where its records begin, and where the digits of their unique ids do."""
    content = bytearray()
    places, ids = [], []
    for number, size in enumerate(bodies):
        body = np.random.default_rng(number).bytes(size)
        properties = b"TAGS\x01TagA\x02UNIQ_KEY\x01" + b"0" * _ID_DIGITS + b"\x02"
        new = NewRecord(TOPIC, 0, 0, 0, BASE_MS, _HOST, _HOST, 0, 0, body, properties)
        places.append(len(content))
        content += bytes(record.size_of(new))
        record.encode_into(new, memoryview(content), places[-1])
        ids.append(len(content) - _ID_DIGITS - 1)
    return np.frombuffer(bytes(content), dtype=np.uint8), places, ids


def _patch(rows: NDArray[np.uint8], at: int, values: NDArray[np.generic]) -> None:
    """Write a value into each row."""
    width = values.dtype.itemsize
    rows[:, at : at + width] = values.view(np.uint8).reshape(-1, width)
