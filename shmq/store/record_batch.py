"""RecordBatch: some records of one file of the log as data: their numbers in an array, their bytes where they lie.

What is no number is not copied: rows say where body, topic and properties lie in the mapped file, which stays mapped
for as long as the batch, or anything sliced from it, lives.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from shmq.store import properties
from shmq.store.record_rows import ROW_LAYOUT

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS: Final[tuple[str, ...]] = tuple(ROW_LAYOUT.names or ())
"""All that an array of records can have."""


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Records in the order in which they were read.

    Attributes:
        rows: a row a record, with all fields of `shmq.store.record_rows.ROW_LAYOUT`.
        columns: those that were asked for; where `tag_hash` was not, it is 0 in every row.
        log: the bytes of the mapped file, read-only.
        start: the position in the log of the file's first byte.
        topics: the names of the topics by topic id. All batches of a scan share it; names are only ever added.
    """

    rows: NDArray[Any]
    columns: tuple[str, ...]
    log: NDArray[np.uint8]
    start: int
    topics: Sequence[str]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def records(self) -> NDArray[Any]:
        """A row a record, with the columns that were asked for."""
        return self.rows if self.columns == COLUMNS else self.rows[list(self.columns)]

    @property
    def end(self) -> int:
        """The position behind the last record; `start` without one."""
        if len(self.rows) == 0:
            return self.start
        return int(self.rows["position"][-1]) + int(self.rows["record_bytes"][-1])

    def record(self, index: int) -> memoryview:
        """A whole record as it is stored, not copied."""
        at = int(self.rows["position"][index]) - self.start
        return self.log[at : at + int(self.rows["record_bytes"][index])].data

    def body(self, index: int) -> memoryview:
        """A body as it is stored, not copied: whether it is compressed, `sys_flag` says."""
        return self._part(index, "body")

    def topic(self, index: int) -> str:
        """The name of a record's topic."""
        return self.topics[int(self.rows["topic_id"][index])]

    def properties(self, index: int) -> dict[str, str]:
        """All properties of a record, tags, keys and unique id included."""
        return properties.parse(bytes(self._part(index, "properties")))

    def to_arrow(self, columns: Sequence[str] | None = None) -> "pa.RecordBatch":
        """The records as Arrow has them, bodies copied; the columns are those of `shmq.store.arrow.SCHEMA`.

        Args:
            columns: those that are wanted, in this order; None for all.

        Raises:
            ConfigError: pyarrow is not installed.
            ValueError: there is no such column.
        """
        # Apart, because pyarrow is an extra, and takes longer to import than all of this.
        from shmq.store.arrow import arrow_batch  # noqa: PLC0415

        return arrow_batch(self, columns)

    def _part(self, index: int, name: str) -> memoryview:
        at = int(self.rows[f"{name}_at"][index])
        return self.log[at : at + int(self.rows[f"{name}_bytes"][index])].data
