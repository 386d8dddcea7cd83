"""A record's dtype as the one source of its offsets.

`layout(20, position=(0, ">i8"), ...)` states size, fields and their byte offsets; `offset_of` reads one
back for a kernel's constant, `word_of` likewise as an index of 64-bit words.
"""

import numpy as np

LINE_BYTES = 128
"""Words of different writers lie so far apart: two cache lines, as processors fetch them in pairs."""


def layout(size_bytes: int, /, **fields: tuple[int, str]) -> np.dtype[np.void]:
    """A dtype of exactly this size with the fields at the given offsets."""
    return np.dtype(
        {
            "names": list(fields),
            "formats": [form for _, form in fields.values()],
            "offsets": [offset for offset, _ in fields.values()],
            "itemsize": size_bytes,
        }
    )


def offset_of(record: np.dtype[np.void], name: str) -> int:
    """The byte offset of a field."""
    assert record.fields is not None
    return int(record.fields[name][1])


def round_up(value: int, unit: int) -> int:
    """The smallest multiple of unit that is not below value."""
    return -(-value // unit) * unit
