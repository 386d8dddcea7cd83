"""Which descriptors are ready, whatever their numbers: select() takes none above 1023, and a long session has those."""

import select
from collections.abc import Sequence
from typing import Any


def is_writable(peer: Any) -> bool:
    """Whether a send would not wait."""
    return bool(_ready([peer], select.POLLOUT, 0))


def is_readable(peer: Any) -> bool:
    """Whether there is anything to be received, an end as well."""
    return bool(_ready([peer], select.POLLIN, 0))


def wait_readable(peers: Sequence[Any], timeout_s: float) -> bool:
    """Sleep until one of them has something to be received; False when the time is over."""
    return bool(_ready(peers, select.POLLIN, timeout_s))


def _ready(peers: Sequence[Any], events: int, timeout_s: float) -> list[tuple[int, int]]:
    poll = select.poll()
    for peer in peers:
        poll.register(peer, events)
    return poll.poll(timeout_s * 1000)
