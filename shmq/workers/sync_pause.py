"""How long after a sync of many pages the next one begins.

Such a sync takes seconds, and each page that it writes must be made ready anew. So the next one begins when so many
times as long has passed, but not later than a bound: a crash costs recovery so much more to do again.
"""

from typing import Final

SYNC_PAUSES: Final = 20
SYNC_PAUSE_NS_MAX: Final = 60_000_000_000


def sync_pause_ns(least_ns: int, took_ns: int) -> int:
    """The pause after a sync that took so long, and never less than is asked for."""
    return max(least_ns, min(SYNC_PAUSES * took_ns, SYNC_PAUSE_NS_MAX))
