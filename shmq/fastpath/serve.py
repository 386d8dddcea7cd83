"""Kernel: serve a frame, or leave it to Python. The index of the fast path."""

from shmq.fastpath.outcomes import SLOW
from shmq.jit import kernel


@kernel
def serve(desk: int, row: int, frame: int, frame_bytes: int) -> int:  # noqa: ARG001 - the contract
    """Serve a whole frame that lies at an address, its two length words included; DONE or SLOW."""
    return SLOW
