"""Limits that follow from several settings at once."""

from shmq.config.settings import Config
from shmq.ring.spsc import payload_bytes_max
from shmq.shared.submission import HEAD_SIZE
from shmq.store.record import BLANK_BYTES_MIN


def append_bytes_max(config: Config) -> int:
    """Return the longest run of records that one append can take: it must fit a log file, and a ring."""
    return min(
        config.commit_log_file_bytes - BLANK_BYTES_MIN,
        payload_bytes_max(config.submit_ring_bytes) - HEAD_SIZE,
    )
