"""Batches of records as Arrow has them: columns made by kernels and NumPy, with no object for a message.

Importing it needs pyarrow, which is an extra.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shmq.errors import ConfigError
from shmq.memory.block import address_of
from shmq.store import properties
from shmq.store.record_batch import RecordBatch
from shmq.store.text_columns import PropertyColumns, Rows, Texts, gather_bodies, gather_properties

try:
    import pyarrow as pa
except ImportError as error:
    raise ConfigError("Arrow and Parquet need pyarrow, an extra: pip install 'shmq[arrow]'") from error

_TIME: Final = pa.timestamp("ms", tz="UTC")
SCHEMA: Final = pa.schema(
    [
        pa.field("position", pa.int64(), nullable=False),
        pa.field("record_bytes", pa.int32(), nullable=False),
        pa.field("topic", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("queue_id", pa.int32(), nullable=False),
        pa.field("queue_offset", pa.int64(), nullable=False),
        pa.field("stored", _TIME, nullable=False),
        pa.field("born", _TIME, nullable=False),
        pa.field("flag", pa.int32(), nullable=False),
        pa.field("sys_flag", pa.int32(), nullable=False),
        pa.field("reconsume_times", pa.int32(), nullable=False),
        pa.field("prepared_position", pa.int64(), nullable=False),
        pa.field("body_crc", pa.int32(), nullable=False),
        pa.field("unique_id", pa.string()),
        pa.field("tag", pa.string()),
        pa.field("keys", pa.list_(pa.field("item", pa.string(), nullable=False)), nullable=False),
        pa.field(
            "properties",
            pa.map_(pa.string(), pa.field("value", pa.string(), nullable=False)),
            nullable=False,
        ),
        pa.field("body", pa.large_binary(), nullable=False),
    ]
)
"""All columns: `properties` are those that have no column of their own, `body` is as stored (see `sys_flag`)."""

_OF_PROPERTIES: Final = ("unique_id", "tag", "keys", "properties")
_NUMBERS: Final[Mapping[str, str]] = {"stored": "store_ms", "born": "born_ms"}
_TEXT_GROWTH: Final = 3  # a byte that is replaced by U+FFFD


def arrow_batch(batch: RecordBatch, columns: Sequence[str] | None = None) -> "pa.RecordBatch":
    """The columns of a batch that are wanted, in this order; None for all.

    Raises:
        ValueError: there is no such column, or one is named twice.
    """
    schema = schema_of(columns)
    of_properties = _property_arrays(batch) if set(schema.names) & set(_OF_PROPERTIES) else {}
    arrays = [of_properties[name] if name in of_properties else _array(batch, name) for name in schema.names]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def schema_of(columns: Sequence[str] | None) -> "pa.Schema":
    """The schema of these columns, in this order; None for all.

    Raises:
        ValueError: there is no such column, or one is named twice.
    """
    names = SCHEMA.names if columns is None else list(columns)
    if not set(names) <= set(SCHEMA.names) or len(set(names)) < len(names):
        raise ValueError(f"columns are some of {', '.join(SCHEMA.names)}, each once")
    return pa.schema([SCHEMA.field(name) for name in names])


def _array(batch: RecordBatch, name: str) -> "pa.Array":
    """A column that is not made of properties."""
    if name == "body":
        return _bodies(batch)
    if name == "topic":
        names = pa.array(batch.topics, type=pa.string())
        return pa.DictionaryArray.from_arrays(pa.array(batch.rows["topic_id"]), names)
    numbers = np.ascontiguousarray(batch.rows[_NUMBERS.get(name, name)])
    return pa.Array.from_buffers(SCHEMA.field(name).type, len(batch), [None, pa.py_buffer(numbers)])


def _bodies(batch: RecordBatch) -> "pa.Array":
    offsets = np.zeros(len(batch) + 1, dtype=np.int64)
    np.cumsum(batch.rows["body_bytes"], out=offsets[1:])
    content = np.empty(int(offsets[-1]), dtype=np.uint8)
    gather_bodies(_rows_of(batch), address_of(content))
    return _binary(pa.large_binary(), len(batch), offsets, content)


def _property_arrays(batch: RecordBatch) -> dict[str, "pa.Array"]:
    """The columns that are made of properties."""
    count = len(batch)
    size_bytes = int(batch.rows["properties_bytes"].sum(dtype=np.int64))
    parts_max = size_bytes // 2 + count  # a key and what separates it from the next one
    tags, unique, keys, names, values = (
        _Column(parts, size_bytes * _TEXT_GROWTH) for parts in (count, count, parts_max, parts_max, parts_max)
    )
    key_ends, pair_ends = np.zeros(count + 1, dtype=np.int32), np.zeros(count + 1, dtype=np.int32)
    has_tags, has_unique = np.empty(count, dtype=np.uint8), np.empty(count, dtype=np.uint8)
    pairs = np.empty(properties.PAIRS_MAX * properties.PAIR_WORDS, dtype=np.int64)
    key_count, pair_count = gather_properties(
        _rows_of(batch),
        PropertyColumns(
            tags=tags.texts,
            has_tags=address_of(has_tags),
            unique=unique.texts,
            has_unique=address_of(has_unique),
            keys=keys.texts,
            key_ends=address_of(key_ends),
            names=names.texts,
            values=values.texts,
            pair_ends=address_of(pair_ends),
            pairs=address_of(pairs),
        ),
    )
    keys_of, pairs_of = SCHEMA.field("keys").type, SCHEMA.field("properties").type
    pair_children = pa.StructArray.from_arrays(
        [names.array(pair_count), values.array(pair_count)],
        fields=[pairs_of.key_field, pairs_of.item_field],
    )
    return {
        "tag": tags.array(count, has_tags),
        "unique_id": unique.array(count, has_unique),
        "keys": _nested(keys_of, count, key_ends, keys.array(key_count)),
        "properties": _nested(pairs_of, count, pair_ends, pair_children),
    }


class _Column:
    """Room for a column of texts that a kernel fills."""

    def __init__(self, count_max: int, bytes_max: int) -> None:
        # Pages that nobody writes to cost nothing.
        self._offsets = np.empty(count_max + 1, dtype=np.int32)
        self._offsets[0] = 0
        self._content = np.empty(bytes_max, dtype=np.uint8)

    @property
    def texts(self) -> Texts:
        return Texts(address_of(self._offsets), address_of(self._content))

    def array(self, count: int, is_there: NDArray[np.uint8] | None = None) -> "pa.Array":
        """Its first values; what is not there is null."""
        content = self._content[: int(self._offsets[count])]
        return _binary(pa.string(), count, self._offsets[: count + 1], content, is_there)


def _rows_of(batch: RecordBatch) -> Rows:
    return Rows(address_of(batch.rows), len(batch), address_of(batch.log), len(batch.log))


def _binary(
    kind: Any,
    count: int,
    offsets: NDArray[Any],
    content: NDArray[np.uint8],
    is_there: NDArray[np.uint8] | None = None,
) -> "pa.Array":
    validity = None
    if is_there is not None and not is_there.all():
        validity = pa.py_buffer(np.packbits(is_there, bitorder="little"))
    return pa.Array.from_buffers(kind, count, [validity, pa.py_buffer(offsets), pa.py_buffer(content)])


def _nested(kind: Any, count: int, ends: NDArray[np.int32], children: "pa.Array") -> "pa.Array":
    """A column of lists or maps."""
    return pa.Array.from_buffers(kind, count, [None, pa.py_buffer(ends)], children=[children])
