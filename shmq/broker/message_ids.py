"""The two ids of a message: where it lies, and what its producer calls it; here they are made.

An offset id names the broker and the place in its log; clients dial the address in it to see the message again. A
unique id is the producer's own and opaque, and the broker makes one only for a message that came without. Tools read
the time out of it.
"""

import random
from datetime import UTC, datetime

from shmq.store.host import Host
from shmq.wire import message


def offset_id(store_host: Host, position: int) -> str:
    """Return the id of the message at a position of this broker's log."""
    return message.offset_message_id(message.Host(*store_host), position)


class UniqueIds:
    """Makes ids that nobody else makes: two numbers of its own keep it apart from other makers of the host."""

    def __init__(self, source: random.Random) -> None:
        self._process = source.getrandbits(16)
        self._salt = source.getrandbits(32)
        self._counter = 0

    def make(self, address: bytes, now_ms: int) -> str:
        """Return a new id that names this address and moment."""
        self._counter += 1
        return message.unique_message_id(address, self._process, self._salt, _month_ms(now_ms), self._counter)


def _month_ms(now_ms: int) -> int:
    """Return the ms since the month began where this broker runs."""
    now = datetime.fromtimestamp(now_ms // 1000, tz=UTC).astimezone()
    begin = now.replace(day=1, hour=0, minute=0, second=0)
    return int((now - begin).total_seconds()) * 1000 + now_ms % 1000
