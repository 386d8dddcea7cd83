"""A file of Parquet or Arrow that is written batch by batch, and has its name only when it is whole.

Until then it lies beside that name as `.NAME.PID.partial`; it goes where the writing fails, and stays where the process
is killed. Importing this needs pyarrow, which is an extra.
"""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from shmq.errors import StoreError
from shmq.store.arrow import schema_of  # first: it tells what to install where pyarrow is missing
from shmq.store.record_batch import RecordBatch
from shmq.store.store_files import sync_directory

import pyarrow as pa  # isort: skip
import pyarrow.parquet as pq  # isort: skip


class ArrowFile:
    """The file, while it is written.

    Attributes:
        count: how many messages are in it.

    Raises:
        ValueError: there is no such column.
    """

    def __init__(self, path: Path, kind: str, columns: Sequence[str] | None) -> None:
        """Open nothing yet.

        Args:
            path: its name.
            kind: parquet or arrow.
            columns: those that it has; None for all.
        """
        self.count = 0
        self._path = path
        self._kind = kind
        self._schema = schema_of(columns)
        self._partial = path.parent / f".{path.name}.{os.getpid()}.partial"
        self._sink: Any = None
        self._writer: Any = None

    def __enter__(self) -> Self:
        try:
            self._sink = self._partial.open("wb")
            self._writer = self._begin()
        except OSError as error:
            self._drop()
            raise self._failure(error) from error
        return self

    def _begin(self) -> Any:
        if self._kind == "parquet":
            return pq.ParquetWriter(self._sink, self._schema, compression="zstd")
        # Batches name more topics as the scan meets them.
        options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
        return pa.ipc.new_file(self._sink, self._schema, options=options)

    def write(self, batch: RecordBatch) -> None:
        """Append a batch."""
        try:
            self._writer.write_batch(batch.to_arrow(self._schema.names))
        except OSError as error:
            raise self._failure(error) from error
        self.count += len(batch)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        except OSError as failed:
            raise self._failure(failed) from failed
        finally:
            self._drop()

    def _drop(self) -> None:
        """Let go of the file, and remove it where it has not got its name."""
        with contextlib.suppress(
            OSError, ValueError
        ):  # what a writer still writes goes with the partial file
            if self._writer is not None:
                self._writer.close()
        if self._sink is not None:
            with contextlib.suppress(OSError):
                self._sink.close()
            self._partial.unlink(missing_ok=True)

    def _finish(self) -> None:
        self._writer.close()
        self._sink.flush()
        os.fsync(self._sink.fileno())
        self._partial.replace(self._path)
        sync_directory(self._path.parent)

    def _failure(self, error: OSError) -> StoreError:
        return StoreError(f"cannot write {self._path}: {error.strerror or error}")
