"""Kernel: serve a frame, or leave it to Python. The index of the fast path."""

from typing import Final

from shmq.jit import kernel

DONE: Final = 0
"""The frame is served: answered, submitted to the writer, or parked."""
SLOW: Final = 1
"""The frame is for Python; nothing was done."""


@kernel
def serve(desk: int, row: int, frame: int, frame_bytes: int) -> int:  # noqa: ARG001 - the contract
    """Serve a whole frame that lies at an address, its two length words included; DONE or SLOW."""
    return SLOW
