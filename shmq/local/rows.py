"""Bodies as arrays: one array of equal rows, or one run of bytes and where each body begins."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shmq.jit import Bytes, Words
from shmq.memory.block import address_of


@dataclass(frozen=True, slots=True)
class Rows:
    """Bodies in memory, for the kernels.

    Attributes:
        content: keeps the bytes alive.
        address: where the first body begins.
        stride: how long each is; of no meaning with offsets.
        offsets: where each begins, counted from `address`, and behind them where the last ends; None: equal rows.
        count: how many.
    """

    content: NDArray[Any]
    address: int
    stride: int
    offsets: Words | None
    count: int

    @property
    def offsets_address(self) -> int:
        """Where the offsets lie; 0 without."""
        return 0 if self.offsets is None else address_of(self.offsets)


def rows_of(array: NDArray[Any], offsets: Sequence[int] | NDArray[Any] | None = None) -> Rows:
    """The bodies that an array holds.

    Args:
        array: two-dimensional: each row is a body, whatever its type; one-dimensional and structured: each
            element is one; one-dimensional bytes with offsets: each body ends where the next begins.
        offsets: count + 1 numbers that do not decrease.

    Raises:
        ValueError: it is none of these.
    """
    if offsets is not None:
        return _ragged(np.ascontiguousarray(array), np.ascontiguousarray(offsets, dtype=np.int64))
    content = np.ascontiguousarray(array)
    if content.ndim == 1 and content.dtype.names is not None:
        stride = content.dtype.itemsize
    elif content.ndim == 2:
        stride = content.dtype.itemsize * content.shape[1]
    else:
        raise ValueError(
            "an array of messages has two dimensions, or one of structured elements, or comes with offsets; "
            f"this one has {content.ndim} of {content.dtype}"
        )
    if content.dtype.hasobject:
        raise ValueError("an array of Python objects has no bytes to send")
    return Rows(content, address_of(content), stride, None, len(content))


def joined(bodies: Sequence[Any]) -> Rows:
    """Bodies of any kind that gives bytes, copied behind each other."""
    content = np.frombuffer(b"".join(bodies), dtype=np.uint8)
    sizes = [memoryview(body).nbytes for body in bodies]
    offsets = np.array(list(accumulate(sizes, initial=0)), dtype=np.int64)
    return Rows(content, address_of(content), 0, offsets, len(sizes))


def _ragged(content: Bytes, offsets: Words) -> Rows:
    if content.ndim != 1 or content.dtype.itemsize != 1:
        raise ValueError("with offsets, the bodies are one run of bytes")
    if offsets.ndim != 1 or len(offsets) < 1:
        raise ValueError("offsets are count + 1 numbers in one dimension")
    if len(offsets) > 1 and (
        offsets[0] < 0 or offsets[-1] > len(content) or bool((np.diff(offsets) < 0).any())
    ):
        raise ValueError("offsets lie within the bytes and do not decrease")
    return Rows(content, address_of(content), 0, offsets, len(offsets) - 1)
